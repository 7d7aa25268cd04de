/* From path and method to a function: 404, 405, HEAD, OPTIONS, {id}, body caps, failures, CORS. */
#include "http/router.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/config.h"
#include "fake_transport.h"
#include "plain_entry.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static enum error answer_list(struct app *app, struct request *request, struct response *response)
{
    (void)app;
    struct json_writer *json = response_data(response, 200);
    json_member_string(json, "route", "list");
    json_member_text(json, "id", request->id);
    response_data_end(response);
    return ERROR_OK;
}

static enum error answer_item(struct app *app, struct request *request, struct response *response)
{
    (void)app;
    struct json_writer *json = response_data(response, 200);
    json_member_string(json, "route", "item");
    json_member_text(json, "id", request->id);
    response_data_end(response);
    return ERROR_OK;
}

static enum error answer_body(struct app *app, struct request *request, struct response *response)
{
    (void)app;
    json_member_int(response_data(response, 201), "bytes", (int64_t)request->body.len);
    response_data_end(response);
    return ERROR_OK;
}

static enum error fail_half_way(struct app *app, struct request *request, struct response *response)
{
    (void)app;
    (void)request;
    json_member_string(response_data(response, 200), "half", "built");
    return ERROR_INTERNAL;
}

static enum error write_too_much(struct app *app, struct request *request,
                                 struct response *response)
{
    (void)app;
    (void)request;
    response_data(response, 200);
    buffer_reserve(&response->body, RESPONSE_BYTES_MAX);
    response_data_end(response);
    return ERROR_OK;
}

static enum error stream_then_fail(struct app *app, struct request *request,
                                   struct response *response)
{
    (void)app;
    (void)request;
    struct buffer *out = response_stream(response, "text/plain");
    buffer_append_string(out, "first");
    return ERROR_DATABASE_UNAVAILABLE;
}

/* --- answers that come later --- */

static void start_at_once(struct app *app, struct exchange *exchange)
{
    (void)app;
    response_empty(exchange->response, 204);
    router_answer(exchange, ERROR_OK);
}

static void *answer_elsewhere(void *argument)
{
    struct exchange *exchange = argument;
    usleep(20000);
    json_member_int(response_data(exchange->response, 201), "bytes",
                    (int64_t)exchange->request->body.len);
    response_data_end(exchange->response);
    router_answer(exchange, ERROR_OK);
    return NULL;
}

static void start_elsewhere(struct app *app, struct exchange *exchange)
{
    pthread_t thread;
    (void)app;
    assert_int_equal(pthread_create(&thread, NULL, answer_elsewhere, exchange), 0);
    pthread_detach(thread);
}

static void start_and_fail(struct app *app, struct exchange *exchange)
{
    (void)app;
    json_member_string(response_data(exchange->response, 200), "half", "built");
    router_answer(exchange, ERROR_INTERNAL);
}

static const struct router_entry ENTRIES[] = {
    {"GET", "/things", PLAIN(answer_list)},
    {"POST", "/things", PLAIN(answer_body)},
    {"DELETE", "/things/{id}", PLAIN(answer_item)},
    {"GET", "/things/special", PLAIN(answer_list)},
    {"POST", "/things/{id}/upload", PLAIN(answer_body)}, /* taken to the letter: {id} comes last */
    {"POST", "/small", PLAIN(answer_body), .body_max = 10},
    {"GET", "/fail", PLAIN(fail_half_way)},
    {"GET", "/much", PLAIN(write_too_much)},
    {"GET", "/stream", PLAIN(stream_then_fail)},
    {"GET", "/later/at-once", .serve = start_at_once},
    {"POST", "/later/elsewhere", .body_max = 10, .serve = start_elsewhere},
    {"GET", "/later/fail", .serve = start_and_fail},
};

static const struct router_table TABLE = {
    .name = "test", .entries = ENTRIES, .entry_count = COUNT(ENTRIES)};

static struct config config = {.allowed_origins = "https://a.example"};
static struct app app = {.handler = "test", .config = &config};

struct fixture {
    struct fake_transport fake;
    struct request request;
    struct response response;
    struct router *router;
};

static void start(struct fixture *f, const char *method, const char *path)
{
    fake_init(&f->fake);
    f->fake.params[0] = (struct fake_param){"REQUEST_METHOD", method};
    f->fake.params[1] = (struct fake_param){"DOCUMENT_URI", path};
    request_init(&f->request);
    response_init(&f->response);
    f->router = router_new(&app, &TABLE);
    assert_non_null(f->router);
}

static bool serve(struct fixture *f)
{
    return router_serve(f->router, &f->fake.transport, &f->request, &f->response);
}

static bool answered(const struct fixture *f, const char *part)
{
    return strstr(fake_sent(&f->fake), part) != NULL;
}

static void finish(struct fixture *f)
{
    router_free(f->router);
    request_done(&f->request);
    response_done(&f->response);
    fake_done(&f->fake);
}

static void test_routes(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path;
        int status;
        const char *part;
    } ROWS[] = {
        {"GET", "/things", 200, "{\"route\":\"list\",\"id\":null}"},
        {"HEAD", "/things", 200, "\"list\""},
        {NULL, NULL, 200, "\"list\""}, /* a command line: GET of the first route */
        {"POST", "/things", 201, "{\"bytes\":0}"},
        {"DELETE", "/things/x", 200, "{\"route\":\"item\",\"id\":\"x\"}"},
        {"DELETE", "/things/a.b-c%20", 200, "\"id\":\"a.b-c%20\""},
        {"DELETE", "/things/'; DROP TABLE users; --", 200, "DROP TABLE"},
        {"GET", "/things/special", 200, "{\"route\":\"list\",\"id\":null}"},
        {"PUT", "/things", 405, "Allow: GET, HEAD, POST, OPTIONS\r\n"},
        {"get", "/things", 405, "\"method_not_allowed\""},
        {"", "/things", 200, "\"list\""},
        {"GET", "/things/x", 405, "Allow: DELETE, OPTIONS\r\n"},
        {"HEAD", "/small", 405, "Allow: POST, OPTIONS\r\n"},
        {"PUT", "/things/special", 405, "Allow: DELETE, GET, HEAD, OPTIONS\r\n"},
        {"OPTIONS", "/things", 204, "Allow: GET, HEAD, POST, OPTIONS\r\n"},
        {"OPTIONS", "/nothing", 404, "\"not_found\""},
        {"GET", "/", 404, "\"not_found\""},
        {"GET", "/thing", 404, "\"not_found\""},
        {"GET", "/things/", 404, "\"not_found\""},
        {"GET", "/Things", 404, "\"not_found\""},
        {"DELETE", "/things/", 404, "\"not_found\""},
        {"DELETE", "/things/x/y", 404, "\"not_found\""},
        {"DELETE", "/things//", 404, "\"not_found\""},
        {"DELETE", "/things", 405, "Allow: GET, HEAD, POST, OPTIONS\r\n"},
        {"GET", "/fail", 500, "\"internal_error\""},
        {"GET", "/much", 503, "Retry-After: 1\r\n"},
        {"GET", "/later/at-once", 204, "Status: 204"},
        {"POST", "/later/elsewhere", 201, "{\"bytes\":0}"},
        {"GET", "/later/elsewhere", 405, "Allow: POST, OPTIONS\r\n"},
        {"GET", "/later/fail", 500, "\"internal_error\""},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct fixture f;
        char status[32];
        start(&f, ROWS[i].method, ROWS[i].path);
        assert_true(serve(&f));
        snprintf(status, sizeof(status), "Status: %d\r\n\r\n", ROWS[i].status);
        if (!answered(&f, status) || !answered(&f, ROWS[i].part))
            fail_msg("%s %s:\n%s", ROWS[i].method, ROWS[i].path, fake_sent(&f.fake));
        assert_int_equal(f.response.status, ROWS[i].status);
        assert_false(answered(&f, "half"));
        finish(&f);
    }
}

static void test_body_caps(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        size_t sent;
        int status;
    } ROWS[] = {
        {"/small", 10, 201},
        {"/small", 11, 413},
        {"/later/elsewhere", 10, 201},
        {"/later/elsewhere", 11, 413},
        {"/things", BODY_BYTES_MAX, 201},
        {"/things", BODY_BYTES_MAX + 1, 413},
        {"/nothing", BODY_BYTES_MAX, 404}, /* read to its end all the same */
        {"/nothing", BODY_BYTES_MAX + 1, 413},
    };
    char *content = calloc(1, BODY_BYTES_MAX + 1);
    assert_non_null(content);
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct fixture f;
        start(&f, "POST", ROWS[i].path);
        f.fake.body = (struct text){content, ROWS[i].sent};
        bool keep = serve(&f);
        assert_int_equal(f.response.status, ROWS[i].status);
        assert_int_equal(keep, ROWS[i].status != 413);
        assert_true(ROWS[i].status == 413 || f.fake.body_read == ROWS[i].sent);
        finish(&f);
    }
    free(content);
}

/* A body that is compressed cannot be read; one that is not there is not compressed. */
static void test_content_encoding(void **state)
{
    (void)state;
    static const struct {
        const char *path, *encoding, *body;
        int status;
    } ROWS[] = {
        {"/things", NULL, "{}", 201},       {"/things", "identity", "{}", 201},
        {"/things", "Identity", "{}", 201}, {"/things", "", "{}", 201},
        {"/things", "gzip", "", 201},       {"/things", "gzip", "{}", 415},
        {"/things", "br", "{}", 415},       {"/things", "identity, gzip", "{}", 415},
        {"/nothing", "gzip", "{}", 404},    {"/later/elsewhere", "gzip", "{}", 415},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct fixture f;
        start(&f, "POST", ROWS[i].path);
        f.fake.params[2] = (struct fake_param){"HTTP_CONTENT_ENCODING", ROWS[i].encoding};
        f.fake.body = text_from(ROWS[i].body);
        assert_true(serve(&f));
        if (f.response.status != ROWS[i].status)
            fail_msg("row %zu: %s", i, fake_sent(&f.fake));
        assert_int_equal(answered(&f, "Accept-Encoding: identity\r\n"), ROWS[i].status == 415);
        assert_int_equal(answered(&f, "\"unsupported_encoding\""), ROWS[i].status == 415);
        finish(&f);
    }
}

/* Nobody is there to read an answer, and the connection is not used again. */
static void test_client_gone(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, "POST", "/things");
    f.fake.params[2] = (struct fake_param){"CONTENT_LENGTH", "10"};
    f.fake.body = TEXT_LITERAL("12345");
    assert_false(serve(&f));
    assert_int_equal(f.fake.sent.len, 0);
    finish(&f);
    start(&f, "GET", "/things");
    f.fake.writes_left = 0;
    assert_false(serve(&f));
    finish(&f);
}

/* The answer ends short: no second header, and the connection is not kept. */
static void test_failed_stream(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, "GET", "/stream");
    assert_false(serve(&f));
    assert_true(answered(&f, "Status: 200"));
    assert_false(answered(&f, "Status: 503"));
    assert_false(answered(&f, "success"));
    finish(&f);
}

/* Every answer to a listed origin says so, or its page could not even read the failure. */
static void test_cors_on_every_answer(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path;
        size_t body;
        int status;
    } ROWS[] = {
        {"GET", "/things", 0, 200},     {"GET", "/nothing", 0, 404}, {"PUT", "/things", 0, 405},
        {"OPTIONS", "/things", 0, 204}, {"POST", "/small", 11, 413}, {"GET", "/fail", 0, 500},
        {"GET", "/stream", 0, 200},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct fixture f;
        start(&f, ROWS[i].method, ROWS[i].path);
        f.fake.params[2] = (struct fake_param){"HTTP_ORIGIN", "https://a.example"};
        f.fake.body = (struct text){"0123456789A", ROWS[i].body};
        serve(&f);
        assert_int_equal(f.response.status, ROWS[i].status);
        const char *first = strstr(fake_sent(&f.fake), "Access-Control-Allow-Origin: ");
        if (!first)
            fail_msg("%s %s:\n%s", ROWS[i].method, ROWS[i].path, fake_sent(&f.fake));
        assert_null(strstr(first + 1, "Access-Control-Allow-Origin: "));
        finish(&f);
    }
}

static void test_language_of_failures(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, "GET", "/nothing");
    serve(&f);
    assert_true(answered(&f, "\"error\":\"Не найдено\""));
    finish(&f);
    start(&f, "GET", "/nothing");
    f.fake.params[2] = (struct fake_param){"HTTP_ACCEPT_LANGUAGE", "en-GB"};
    serve(&f);
    assert_true(answered(&f, "\"error\":\"Not found\""));
    finish(&f);
}

/* One worker, one request after another: nothing of one is in the next. */
static void test_reuse(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, "DELETE", "/things/first");
    assert_true(serve(&f));
    f.fake.params[0].value = "GET";
    f.fake.params[1].value = "/things";
    buffer_reset(&f.fake.sent, 0);
    assert_true(serve(&f));
    assert_true(answered(&f, "{\"route\":\"list\",\"id\":null}"));
    assert_false(answered(&f, "first"));
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_body_caps),
        cmocka_unit_test(test_content_encoding),
        cmocka_unit_test(test_client_gone),
        cmocka_unit_test(test_failed_stream),
        cmocka_unit_test(test_cors_on_every_answer),
        cmocka_unit_test(test_language_of_failures),
        cmocka_unit_test(test_reuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
