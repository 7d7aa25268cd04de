/*
 * The answer to one request: built whole in memory, then sent once; or streamed where it has no
 * bound. Nothing here is shared between threads.
 *
 * Success is {"success":true,"data":{...}}, failure {"success":false,"error":...,"code":...,
 * "message":...} (openapi.yaml). X-Request-Id and the security headers are nginx's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/json_writer.h"
#include "http/transport.h"

struct response {
    const struct transport *transport;
    int status;
    const char *content_type; /* NULL without a body */
    /* Cache-Control of the answer: a constant, or NULL for none. A failure is never stored. */
    const char *cache_control;
    struct buffer headers; /* whole lines, "Name: value\r\n" */
    struct buffer body;
    struct json_writer json;
    /* WWW-Authenticate of a 401: a constant, or NULL when the caller cannot be somebody else. */
    const char *challenge;
    bool streaming;    /* the header went out; body is a window of what follows */
    bool write_failed; /* the client or nginx is gone */

    /* What a failure tells beyond its row in ERROR_TABLE; empty or zero when it has nothing. */
    char field[64];
    char detail[256];
    int wait_seconds;
    bool has_balance; /* the answer of ERROR_INSUFFICIENT_TOKENS tells the balance */
    int balance;
};

void response_init(struct response *response);
void response_done(struct response *response);
void response_begin(struct response *response, const struct transport *transport);

/* Adds a header line. name and value: without line breaks (asserted; never pass request data). */
void response_header(struct response *response, const char *name, const char *value);

/*
 * Starts {"success":true,"data":{ with a status; the caller writes the members of data and calls
 * response_data_end.
 */
struct json_writer *response_data(struct response *response, int status);
void response_data_end(struct response *response);

/* Starts an answer whose JSON the caller writes from its first brace. */
struct json_writer *response_json(struct response *response, int status);

/* An answer without a body, such as 204. */
void response_empty(struct response *response, int status);

/* A body of another type, written by the caller into the buffer returned. */
struct buffer *response_plain(struct response *response, int status, const char *content_type);

/*
 * Says which body field or parameter is wrong and what was expected, and returns err, so that a
 * handler ends with: return response_invalid(response, ERROR_INVALID_FIELD, "quality", "...").
 */
enum error response_invalid(struct response *response, enum error err, const char *field,
                            const char *expected) MUST_CHECK;

/* Rate limited: fills waitTime and the headers; returns ERROR_RATE_LIMITED. */
enum error response_rate_limited(struct response *response, int wait_seconds) MUST_CHECK;
/* RateLimit header of an answer that was allowed (draft-ietf-httpapi-ratelimit-headers-06). */
void response_rate_limit(struct response *response, int limit, int remaining, int reset_seconds);

/* Replaces whatever was built by the failure's answer. english: the language of "error". */
void response_fail(struct response *response, enum error err, bool english);

/*
 * Starts a streamed answer of status 200; then the caller fills the buffer returned and calls
 * response_stream_flush now and then. Returns false once the client is gone: stop then.
 */
struct buffer *response_stream(struct response *response, const char *content_type);
bool response_stream_flush(struct response *response);

/* Sends what is not sent yet. Returns false when it could not. */
bool response_send(struct response *response);
