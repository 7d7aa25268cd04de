/* The exact bytes of every kind of answer, and what happens when they cannot be written. */
#include "http/response.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/limits.h"
#include "fake_transport.h"

#define JSON_TYPE "Content-Type: application/json; charset=utf-8\r\n"

struct fixture {
    struct fake_transport fake;
    struct response response;
};

static void start(struct fixture *f)
{
    fake_init(&f->fake);
    response_init(&f->response);
    response_begin(&f->response, &f->fake.transport);
}

static void finish(struct fixture *f)
{
    response_done(&f->response);
    fake_done(&f->fake);
}

static void send_and_compare(struct fixture *f, const char *expected)
{
    assert_true(response_send(&f->response));
    assert_string_equal(fake_sent(&f->fake), expected);
    finish(f);
}

static void test_success(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    struct json_writer *json = response_data(&f.response, 201);
    json_member_int(json, "balance", 7);
    response_data_end(&f.response);
    response_header(&f.response, "Pragma", "no-cache");
    send_and_compare(&f, "Pragma: no-cache\r\n" JSON_TYPE "Content-Length: 37\r\n"
                         "Status: 201\r\n\r\n{\"success\":true,\"data\":{\"balance\":7}}");
}

static void test_empty(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    response_empty(&f.response, 204);
    send_and_compare(&f, "Status: 204\r\n\r\n");
    start(&f);
    response_empty(&f.response, 202);
    send_and_compare(&f, "Content-Length: 0\r\nStatus: 202\r\n\r\n");
}

static void test_plain(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    buffer_append_string(response_plain(&f.response, 200, "text/plain; version=0.0.4"), "up 1\n");
    send_and_compare(&f, "Content-Type: text/plain; version=0.0.4\r\nContent-Length: 5\r\n"
                         "Status: 200\r\n\r\nup 1\n");
}

static void test_failures(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    response_fail(&f.response, ERROR_UNAUTHORIZED, false);
    send_and_compare(&f, "Cache-Control: no-store\r\n" JSON_TYPE "Content-Length: 98\r\n"
                         "Status: 401\r\n\r\n{\"success\":false,\"error\":\"Unauthorized\","
                         "\"code\":\"unauthorized\",\"message\":\"Authentication required\"}");
    start(&f);
    response_fail(&f.response, ERROR_NOT_FOUND, false);
    send_and_compare(&f, "Cache-Control: no-store\r\n" JSON_TYPE "Content-Length: 110\r\n"
                         "Status: 404\r\n\r\n{\"success\":false,\"error\":\"Не найдено\","
                         "\"code\":\"not_found\",\"message\":\"There is no such object or path\"}");
    start(&f);
    response_fail(&f.response, ERROR_DATABASE_UNAVAILABLE, true);
    send_and_compare(&f, "Retry-After: 1\r\nCache-Control: no-store\r\n" JSON_TYPE
                         "Content-Length: 148\r\nStatus: 503\r\n\r\n"
                         "{\"success\":false,\"error\":\"Database unavailable\","
                         "\"code\":\"database_unavailable\",\"message\":\"Nothing was changed or "
                         "the change is kept once; try again\"}");
}

static void test_invalid_names_the_field(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    enum error err = response_invalid(&f.response, ERROR_INVALID_FIELD, "quality", "expected 1K");
    assert_int_equal(err, ERROR_INVALID_FIELD);
    response_fail(&f.response, err, true);
    send_and_compare(&f, "Cache-Control: no-store\r\n" JSON_TYPE "Content-Length: 115\r\n"
                         "Status: 400\r\n\r\n{\"success\":false,\"error\":\"Invalid field\","
                         "\"code\":\"invalid_field\",\"message\":\"quality: expected 1K\","
                         "\"field\":\"quality\"}");
}

static void test_rate_limit(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    response_rate_limit(&f.response, 10, 0, 42);
    enum error err = response_rate_limited(&f.response, 42);
    assert_int_equal(err, ERROR_RATE_LIMITED);
    response_fail(&f.response, err, false);
    send_and_compare(&f, "RateLimit: limit=10, remaining=0, reset=42\r\nRetry-After: 42\r\n"
                         "Cache-Control: no-store\r\n" JSON_TYPE "Content-Length: 118\r\n"
                         "Status: 429\r\n\r\n{\"success\":false,\"error\":\"Rate limit exceeded\","
                         "\"code\":\"rate_limited\",\"message\":\"Please wait 42 seconds\","
                         "\"waitTime\":42}");
    start(&f);
    response_rate_limit(&f.response, 10, 3, 5);
    response_empty(&f.response, 204);
    send_and_compare(&f, "RateLimit: limit=10, remaining=3, reset=5\r\nStatus: 204\r\n\r\n");
}

/* A failure replaces what was built, and a later request sees nothing of an earlier one. */
static void test_failure_replaces_and_reuse_forgets(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    json_member_string(response_data(&f.response, 200), "secret", "half");
    enum error err = response_rate_limited(&f.response, 2);
    response_fail(&f.response, response_invalid(&f.response, err, "x", "y"), false);
    assert_null(strstr(buffer_text(&f.response.body).data, "half"));
    response_begin(&f.response, &f.fake.transport);
    response_fail(&f.response, ERROR_CONFLICT, true);
    assert_true(response_send(&f.response));
    assert_non_null(strstr(fake_sent(&f.fake), "\"The object was changed meanwhile\"}"));
    assert_null(strstr(fake_sent(&f.fake), "RateLimit"));
    assert_null(strstr(fake_sent(&f.fake), "waitTime"));
    finish(&f);
}

static void test_long_details_are_cut(void **state)
{
    (void)state;
    struct fixture f;
    char name[500];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    start(&f);
    response_fail(&f.response, response_invalid(&f.response, ERROR_INVALID_FIELD, name, name),
                  false);
    assert_true(response_send(&f.response));
    assert_int_equal(strlen(f.response.field), sizeof(f.response.field) - 1);
    finish(&f);
}

static void test_stream(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    response_header(&f.response, "X-One", "1");
    struct buffer *out = response_stream(&f.response, "application/x-ndjson");
    const char *header = "X-One: 1\r\nX-Accel-Buffering: no\r\n"
                         "Content-Type: application/x-ndjson\r\nStatus: 200\r\n\r\n";
    size_t header_len = strlen(header);
    assert_string_equal(fake_sent(&f.fake), header);
    buffer_append_string(out, "line\n");
    assert_true(response_stream_flush(&f.response)); /* too little to send yet */
    assert_int_equal(f.fake.sent.len, header_len);
    size_t total = 5;
    for (int i = 0; i < 1000; i++) {
        for (int n = 0; n < 100; n++)
            buffer_append_char(out, 'x');
        total += 100;
        assert_true(response_stream_flush(&f.response));
        assert_true(out->len < 40 * KIB);
    }
    assert_true(response_send(&f.response));
    assert_int_equal(f.fake.sent.len, header_len + total);
    /* The header went out once. */
    assert_null(strstr(fake_sent(&f.fake) + 10, "X-One"));
    assert_null(strstr(fake_sent(&f.fake) + header_len, "Status"));
    assert_true(response_send(&f.response)); /* nothing is left */
    assert_int_equal(f.fake.sent.len, header_len + total);
    finish(&f);
}

static void test_client_gone(void **state)
{
    (void)state;
    for (int writes = 0; writes < 2; writes++) {
        struct fixture f;
        start(&f);
        f.fake.writes_left = writes;
        json_member_int(response_data(&f.response, 200), "a", 1);
        response_data_end(&f.response);
        assert_false(response_send(&f.response));
        assert_false(response_send(&f.response));
        finish(&f);
    }
    for (int writes = 0; writes < 2; writes++) {
        struct fixture f;
        start(&f);
        f.fake.writes_left = writes;
        struct buffer *out = response_stream(&f.response, "text/plain");
        size_t len = 40000;
        char *data = calloc(1, len);
        assert_non_null(data);
        buffer_append(out, data, len);
        assert_false(response_stream_flush(&f.response));
        assert_false(response_stream_flush(&f.response));
        assert_false(response_send(&f.response));
        free(data);
        finish(&f);
    }
}

/* Too many headers are a failed answer, not a cut one. */
static void test_header_overflow(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    for (int i = 0; i < 2000; i++)
        response_header(&f.response, "X-Many", "0123456789");
    response_empty(&f.response, 204);
    assert_false(response_send(&f.response));
    assert_int_equal(f.fake.sent.len, 0);
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_success),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_invalid_names_the_field),
        cmocka_unit_test(test_rate_limit),
        cmocka_unit_test(test_failure_replaces_and_reuse_forgets),
        cmocka_unit_test(test_long_details_are_cut),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_client_gone),
        cmocka_unit_test(test_header_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
