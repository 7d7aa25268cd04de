/*
 * A request as the handlers see it. Everything text is borrowed until the request is finished;
 * nothing here is shared between threads.
 */
#pragma once

#include <stdbool.h>

#include "auth/identity.h"
#include "base/app.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"
#include "http/transport.h"

struct request {
    const struct transport *transport;
    struct text method;
    struct text path;           /* decoded and normalised by nginx, without the query */
    struct text query;          /* as it came, percent-encoded, without the question mark */
    struct text request_id;     /* from nginx, never from the client */
    struct text client_address; /* from nginx, after trusted proxies */
    struct text id;             /* what {id} of the route's path matched; absent without one */
    struct buffer body;         /* read to its end */
    bool english;               /* Accept-Language prefers English to Russian */
};

/* Prepares the memory a slot reuses from request to request. */
void request_init(struct request *request);
void request_done(struct request *request);

/*
 * Reads parameters and language; not the body. default_path: the path when the transport names
 * none, as on a command line.
 */
void request_begin(struct request *request, const struct transport *transport,
                   const char *default_path);

/*
 * Reads the body to its end. ERROR_BODY_TOO_LARGE: more than body_max bytes; the rest is unread and
 * the connection cannot be used again. ERROR_CLIENT_GONE: it ended before CONTENT_LENGTH.
 */
enum error request_read_body(struct request *request, size_t body_max) MUST_CHECK;

/* A parameter such as "HTTP_ORIGIN"; absent when it did not come. */
struct text request_param(const struct request *request, const char *name);

/* Whether a parameter came more than once. */
bool request_param_repeated(const struct request *request, const char *name);

/* The key of a calling service, borrowed; ERROR_UNAUTHORIZED without one. */
enum error request_service_key(const struct request *request, struct text *ret_key) MUST_CHECK;

/* Identity from the headers, once the body is read; errors as identity_read. */
enum error request_identity(const struct request *request, const struct app *app,
                            struct identity *ret_identity) MUST_CHECK;

/* A value of the query string that is asked for, and the room for it, decoded. */
struct query_field {
    const char *name;
    char *buffer;
    size_t size;
};

/*
 * Reads it. Returns ERROR_OK with the absent text when it is not there; ERROR_INVALID_PARAMETER
 * when it is badly encoded, not UTF-8, has a NUL, or is longer than the room. The first of several
 * counts. ret_value borrows the buffer.
 */
enum error request_query(const struct request *request, const struct query_field *field,
                         struct text *ret_value) MUST_CHECK;
