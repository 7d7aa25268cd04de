/*
 * HTTP requests to other services, by libcurl. One easy handle a thread, reused, so connections and
 * TLS sessions are kept. https only; plain http to a loopback address, for tests. No redirects.
 * Thread-safe. Never called with a database connection borrowed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

/*
 * Prepares the libraries, as the first call does otherwise. A program that will make calls does it
 * at start, when a lack of memory can still end the process without any harm. Returns false on a
 * lack of memory.
 */
bool http_client_library_init(void) MUST_CHECK;

struct http_call {
    const char *method; /* "GET" or "POST" */
    const char *url;
    const char *const *headers; /* whole lines without line break; NULL-terminated; may be NULL */
    const char *user_password;  /* "user:password" for Basic authentication, or NULL */
    struct text body;           /* absent for none */
    long timeout_ms;            /* for the whole call */
    size_t answer_bytes_max;
};

struct http_answer {
    long status;            /* 0 when no answer came */
    bool maybe_sent;        /* without an answer: the request may have arrived */
    int64_t retry_after_ms; /* of the header Retry-After, 0 without; at most RETRY_AFTER_MS_MAX */
    struct buffer body;     /* owned; buffer_done */
};

/*
 * Makes a call and waits. ERROR_OK: an answer came, of any status. ERROR_OVERLOADED: none came in
 * time, or the connection failed; maybe_sent says whether the request may have arrived.
 * ERROR_INVALID_PARAMETER: the URL is not https. ERROR_NO_MEMORY. ret_answer is initialised in
 * every case and always needs buffer_done.
 */
enum error http_client_call(const struct http_call *call,
                            struct http_answer *ret_answer) MUST_CHECK;

/* Whether http_client_call would take a base URL. */
bool http_client_url_allowed(const char *url);
