/* Which origins get the headers, for requests and preflights. */
#include "http/cors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fake_transport.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct fixture {
    struct fake_transport fake;
    struct request request;
    struct response response;
};

static void start(struct fixture *f, const char *origin)
{
    fake_init(&f->fake);
    request_init(&f->request);
    response_init(&f->response);
    f->fake.params[0] = (struct fake_param){"HTTP_ORIGIN", origin};
    request_begin(&f->request, &f->fake.transport, "/");
    response_begin(&f->response, &f->fake.transport);
}

static void finish(struct fixture *f)
{
    request_done(&f->request);
    response_done(&f->response);
    fake_done(&f->fake);
}

static void test_origins(void **state)
{
    (void)state;
    static const char LIST[] = "https://a.example/, https://b.example ,,http://localhost:3000//";
    static const struct {
        const char *list, *origin;
        bool listed;
    } ROWS[] = {
        {LIST, "https://a.example", true},
        {LIST, "https://b.example", true},
        {LIST, "http://localhost:3000", true},
        {LIST, "http://localhost:3001", false},
        {LIST, "http://a.example", false},
        {LIST, "https://a.example.evil.example", false},
        {LIST, "https://evil-a.example", false},
        {LIST, "https://a.exampl", false},
        {LIST, "null", false},
        {LIST, "*", false},
        {LIST, "", false},
        {LIST, NULL, false},
        {LIST, "https://a.example\r\nX-Evil: 1", false},
        {LIST, "https://a.example, https://b.example", false},
        {"*", "https://a.example", false}, /* with credentials, a wildcard would be for nobody */
        {",", "", false},
        {"/", "", false},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct fixture f;
        char expected[512];
        start(&f, ROWS[i].origin);
        cors_apply(ROWS[i].list, &f.request, &f.response);
        snprintf(expected, sizeof(expected),
                 "Vary: Origin\r\nAccess-Control-Allow-Origin: %s\r\n"
                 "Access-Control-Allow-Credentials: true\r\nAccess-Control-Expose-Headers: "
                 "Content-Disposition, Idempotency-Replayed, RateLimit, RateLimit-Limit, "
                 "RateLimit-Policy, RateLimit-Remaining, RateLimit-Reset, Retry-After, "
                 "WWW-Authenticate, X-Request-Id\r\n",
                 ROWS[i].origin ? ROWS[i].origin : "");
        assert_string_equal(buffer_text(&f.response.headers).data,
                            ROWS[i].listed ? expected : "Vary: Origin\r\n");
        finish(&f);
    }
}

static void test_no_list_no_headers(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, "https://a.example");
    cors_apply("", &f.request, &f.response);
    assert_int_equal(f.response.headers.len, 0);
    cors_preflight("", &f.request, "GET, OPTIONS", &f.response);
    assert_string_equal(buffer_text(&f.response.headers).data, "Allow: GET, OPTIONS\r\n");
    finish(&f);
}

static void test_preflight(void **state)
{
    (void)state;
    for (int listed = 0; listed < 2; listed++) {
        struct fixture f;
        start(&f, listed ? "https://a.example" : "https://evil.example");
        cors_preflight("https://a.example", &f.request, "GET, HEAD, OPTIONS", &f.response);
        const char *headers = buffer_text(&f.response.headers).data;
        assert_int_equal(f.response.status, 204);
        assert_non_null(strstr(headers, "Allow: GET, HEAD, OPTIONS\r\n"));
        assert_int_equal(strstr(headers, "Access-Control-Allow-Methods: GET, HEAD, OPTIONS\r\n") !=
                             NULL,
                         listed);
        assert_int_equal(strstr(headers, "Access-Control-Allow-Headers: ") != NULL, listed);
        /* What the client sends, and what tracing (W3C Trace Context, Sentry) adds by itself. */
        assert_int_equal(
            strstr(headers,
                   ": Authorization, Cache-Control, Content-Type, Idempotency-Key, Prefer, "
                   "X-Device-Id, baggage, sentry-trace, traceparent, tracestate\r\n") != NULL,
            listed);
        assert_int_equal(strstr(headers, "Access-Control-Max-Age: ") != NULL, listed);
        finish(&f);
    }
}

static void test_long_origins(void **state)
{
    (void)state;
    size_t len = 20000;
    char *origin = malloc(len + 1);
    assert_non_null(origin);
    memset(origin, 'a', len);
    origin[len] = '\0';
    struct fixture f;
    start(&f, origin);
    cors_apply(origin, &f.request, &f.response); /* listed, and still longer than a header may be */
    assert_string_equal(buffer_text(&f.response.headers).data, "Vary: Origin\r\n");
    finish(&f);
    free(origin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_no_list_no_headers),
        cmocka_unit_test(test_preflight),
        cmocka_unit_test(test_long_origins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
