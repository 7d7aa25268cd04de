#include "support/stub_handler.h"

#include "base/config.h"
#include "http/body.h"
#include "http/page.h"
#include "../unit/http/plain_entry.h"

/* An answer stays far below the buffer of the socket pair of driver fastcgi. */
enum { ECHO_BYTES_MAX = 512 };

static struct text shortened(struct text text)
{
    if (text.len > ECHO_BYTES_MAX)
        text.len = ECHO_BYTES_MAX;
    return text;
}

static enum error echo(struct app *app, struct request *request, struct response *response)
{
    char buffer[64];
    struct text value;
    (void)app;
    enum error err =
        request_query(request, &(struct query_field){"q", buffer, sizeof(buffer)}, &value);
    if (err)
        return response_invalid(response, err, "q", "expected at most 63 bytes of UTF-8");
    struct json_writer *json = response_data(response, 200);
    json_member_text(json, "method", shortened(request->method));
    json_member_text(json, "path", shortened(request->path));
    json_member_text(json, "query", shortened(request->query));
    json_member_text(json, "address", shortened(request->client_address));
    json_member_text(json, "id", shortened(request->id));
    json_member_text(json, "q", value);
    json_member_boolean(json, "english", request->english);
    response_data_end(response);
    return ERROR_OK;
}

static enum error post(struct app *app, struct request *request, struct response *response)
{
    static const struct body_text_rule NAME = {
        .name = "name", .required = true, .bytes_max = 200, .characters_max = 50};
    static const struct body_text_rule KIND = {
        .name = "kind", .bytes_max = 10, .choices = "1K,2K,4K"};
    struct body *body = NULL;
    struct text name;
    struct text kind;
    (void)app;
    enum error err = body_parse(request, response, &body);
    if (!err)
        err = body_text(body, &NAME, &name);
    if (!err)
        err = body_text(body, &KIND, &kind);
    if (!err) {
        struct json_writer *json = response_data(response, 201);
        json_member_text(json, "name", name);
        json_member_text(json, "kind", kind);
        response_data_end(response);
    }
    body_free(body);
    return err;
}

static enum error list(struct app *app, struct request *request, struct response *response)
{
    struct page page;
    (void)app;
    enum error err = page_read(request, response, &page);
    if (err)
        return err;
    struct json_writer *json = response_data(response, 200);
    json_member_int(json, "limit", page.limit);
    page_write_cursor(json, &page, &page.before);
    response_data_end(response);
    return ERROR_OK;
}

static enum error who(struct app *app, struct request *request, struct response *response)
{
    struct identity identity;
    enum error err = request_identity(request, app, &identity);
    if (err)
        return err;
    struct json_writer *json = response_data(response, 200);
    json_member_text(json, "key", identity_key(&identity));
    response_data_end(response);
    return ERROR_OK;
}

static enum error stream(struct app *app, struct request *request, struct response *response)
{
    (void)app;
    struct buffer *out = response_stream(response, "application/x-ndjson");
    for (int i = 0; i < 3 && response_stream_flush(response); i++) {
        struct json_writer json;
        json_writer_init(&json, out);
        json_begin_object(&json);
        json_member_text(&json, "path", shortened(request->path));
        json_end_object(&json);
        buffer_append_char(out, '\n');
    }
    return ERROR_OK;
}

static enum error empty(struct app *app, struct request *request, struct response *response)
{
    (void)app;
    (void)request;
    response_empty(response, 204);
    return ERROR_OK;
}

static enum error limited(struct app *app, struct request *request, struct response *response)
{
    (void)app;
    (void)request;
    response_rate_limit(response, 60, 0, 7);
    return response_rate_limited(response, 7);
}

static const struct router_entry ENTRIES[] = {
    {"GET", "/api/stub", PLAIN(echo)},
    {"POST", "/api/stub", PLAIN(post)},
    {"GET", "/api/stub/{id}", PLAIN(echo)},
    {"DELETE", "/api/stub/{id}", PLAIN(empty)},
    {"GET", "/api/stub/list", PLAIN(list)},
    {"GET", "/api/stub/list/who", PLAIN(who)},
    {"GET", "/api/stub/list/stream", PLAIN(stream)},
    {"POST", "/api/stub/list/small", PLAIN(post), .body_max = 16},
    {"POST", "/api/stub/list/limited", PLAIN(limited)},
};

const struct router_table STUB_TABLE = {
    .name = "stub",
    .entries = ENTRIES,
    .entry_count = sizeof(ENTRIES) / sizeof(ENTRIES[0]),
};

const char STUB_ORIGINS[] = "https://app.example, https://b.example/";
static const struct config CONFIG = {.allowed_origins = STUB_ORIGINS};
struct app STUB_APP = {.handler = "stub", .config = &CONFIG};
