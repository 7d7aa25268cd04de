#include "http/response.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"

#define JSON_TYPE "application/json; charset=utf-8"

enum {
    HEADER_BYTES_TOTAL_MAX = 16 * KIB,
    STREAM_WINDOW_BYTES = 32 * KIB,
    /* An answer that says what failed: its header lines, and its body. */
    RESERVED_BYTES = 2 * KIB,
};

void response_init(struct response *response)
{
    *response = (struct response){.transport = NULL};
    buffer_init(&response->headers, HEADER_BYTES_TOTAL_MAX);
    buffer_init(&response->body, RESPONSE_BYTES_MAX);
    /* So that the answer about a lack of memory needs none; without it the answer tries again. */
    (void)buffer_reserve(&response->headers, RESERVED_BYTES);
    (void)buffer_reserve(&response->body, RESERVED_BYTES);
}

void response_done(struct response *response)
{
    buffer_done(&response->headers);
    buffer_done(&response->body);
}

void response_begin(struct response *response, const struct transport *transport)
{
    response->transport = transport;
    response->status = 500;
    response->content_type = NULL;
    response->cache_control = NULL;
    response->challenge = NULL;
    response->streaming = false;
    response->write_failed = false;
    response->field[0] = '\0';
    response->detail[0] = '\0';
    response->wait_seconds = 0;
    response->has_balance = false;
    buffer_reset(&response->headers, HEADER_BYTES_TOTAL_MAX);
    buffer_reset(&response->body, RESPONSE_KEEP_BYTES);
}

void response_header(struct response *response, const char *name, const char *value)
{
    size_t name_len = strlen(name);
    size_t value_len = strlen(value);
    assert(!strpbrk(name, "\r\n:") && !strpbrk(value, "\r\n"));
    char *to = buffer_reserve(&response->headers, name_len + value_len + 4);
    if (!to)
        return;
    memcpy(to, name, name_len);
    memcpy(to + name_len, ": ", 2);
    memcpy(to + name_len + 2, value, value_len);
    memcpy(to + name_len + 2 + value_len, "\r\n", 2);
    buffer_commit(&response->headers, name_len + value_len + 4);
}

struct json_writer *response_json(struct response *response, int status)
{
    response->status = status;
    response->content_type = JSON_TYPE;
    buffer_reset(&response->body, RESPONSE_KEEP_BYTES);
    json_writer_init(&response->json, &response->body);
    return &response->json;
}

struct json_writer *response_data(struct response *response, int status)
{
    struct json_writer *json = response_json(response, status);
    json_begin_object(json);
    json_member_boolean(json, "success", true);
    json_key(json, "data");
    json_begin_object(json);
    return json;
}

void response_data_end(struct response *response)
{
    json_end_object(&response->json);
    json_end_object(&response->json);
}

void response_empty(struct response *response, int status)
{
    response->status = status;
    response->content_type = NULL;
    buffer_reset(&response->body, RESPONSE_KEEP_BYTES);
}

struct buffer *response_plain(struct response *response, int status, const char *content_type)
{
    response->status = status;
    response->content_type = content_type;
    buffer_reset(&response->body, RESPONSE_KEEP_BYTES);
    return &response->body;
}

enum error response_invalid(struct response *response, enum error err, const char *field,
                            const char *expected)
{
    snprintf(response->field, sizeof(response->field), "%s", field);
    snprintf(response->detail, sizeof(response->detail), "%s: %s", field, expected);
    return err;
}

void response_rate_limit(struct response *response, int limit, int remaining, int reset_seconds)
{
    char value[96];
    snprintf(value, sizeof(value), "limit=%d, remaining=%d, reset=%d", limit, remaining,
             reset_seconds);
    response_header(response, "RateLimit", value);
}

enum error response_rate_limited(struct response *response, int wait_seconds)
{
    response->wait_seconds = wait_seconds;
    snprintf(response->detail, sizeof(response->detail), "Please wait %d seconds", wait_seconds);
    return ERROR_RATE_LIMITED;
}

void response_fail(struct response *response, enum error err, bool english)
{
    const struct error_info *info = error_describe(err);
    if ((info->status == 502 || info->status == 503) && response->wait_seconds == 0)
        response_header(response, "Retry-After", "1");
    if (response->wait_seconds > 0) {
        char seconds[16];
        snprintf(seconds, sizeof(seconds), "%d", response->wait_seconds);
        response_header(response, "Retry-After", seconds);
    }
    if (info->status == 401 && response->challenge)
        response_header(response, "WWW-Authenticate", response->challenge);
    response->cache_control = "no-store";
    struct json_writer *json = response_json(response, info->status);
    json_begin_object(json);
    json_member_boolean(json, "success", false);
    json_member_string(json, "error", english ? info->english : info->russian);
    json_member_string(json, "code", info->code);
    json_member_string(json, "message", response->detail[0] ? response->detail : info->message);
    if (response->field[0])
        json_member_string(json, "field", response->field);
    if (response->wait_seconds > 0)
        json_member_int(json, "waitTime", response->wait_seconds);
    if (response->has_balance) {
        json_key(json, "data");
        json_begin_object(json);
        json_member_int(json, "balance", response->balance);
        json_end_object(json);
    }
    json_end_object(json);
}

static void number_header(struct buffer *headers, struct text name, int64_t value)
{
    buffer_append_text(headers, name);
    buffer_append_int(headers, value);
    buffer_append(headers, "\r\n", 2);
}

/* The header lines, sent in one piece with what there is of the body. */
static bool send_all(struct response *response, bool with_length)
{
    struct buffer *headers = &response->headers;
    struct text body = buffer_text(&response->body);
    if (response->cache_control)
        response_header(response, "Cache-Control", response->cache_control);
    if (response->content_type)
        response_header(response, "Content-Type", response->content_type);
    if (with_length && response->status != 204 && response->status != 304)
        number_header(headers, TEXT_LITERAL("Content-Length: "), (int64_t)body.len);
    number_header(headers, TEXT_LITERAL("Status: "), response->status);
    buffer_append(headers, "\r\n", 2);
    const struct transport *transport = response->transport;
    if (buffer_error(headers) ||
        !transport->write(transport->context, headers->data, headers->len) ||
        (body.len > 0 && !transport->write(transport->context, body.data, body.len)))
        response->write_failed = true;
    return !response->write_failed;
}

struct buffer *response_stream(struct response *response, const char *content_type)
{
    response_plain(response, 200, content_type);
    /* nginx: pass on what comes, store nothing on disk. */
    response_header(response, "X-Accel-Buffering", "no");
    response->streaming = true;
    send_all(response, false);
    buffer_reset(&response->body, RESPONSE_KEEP_BYTES);
    return &response->body;
}

static bool flush_window(struct response *response)
{
    const struct transport *transport = response->transport;
    struct buffer *body = &response->body;
    if (buffer_error(body) || !transport->write(transport->context, body->data, body->len))
        response->write_failed = true;
    buffer_reset(body, RESPONSE_KEEP_BYTES);
    return !response->write_failed;
}

bool response_stream_flush(struct response *response)
{
    if (response->write_failed)
        return false;
    return response->body.len < STREAM_WINDOW_BYTES || flush_window(response);
}

bool response_send(struct response *response)
{
    if (response->write_failed)
        return false;
    if (response->streaming)
        return (response->body.len == 0 && !buffer_error(&response->body)) ||
               flush_window(response);
    return send_all(response, true);
}
