/* Calls to other services: what is sent, what comes back, and every way in which nothing does. */
#include "outbound/http_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "local_server.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct local_server server;

static int set_up(void **state)
{
    (void)state;
    local_server_start(&server);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    local_server_stop(&server);
    return 0;
}

static struct http_call call_to(const char *url)
{
    return (struct http_call){
        .method = "GET", .url = url, .timeout_ms = 60000, .answer_bytes_max = 1024};
}

static void test_url_allowed(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        bool allowed;
    } ROWS[] = {
        {"https://clerk.example.org/.well-known/jwks.json", true},
        {"https://clerk.example.org", true},
        {"http://127.0.0.1", true},
        {"http://127.0.0.1:8080", true},
        {"http://127.0.0.1:8080/v3/payments", true},
        {"http://127.0.0.1/v3", true},
        {"http://localhost:1/", true},
        {"http://[::1]:8080/", true},
        {"", false},
        {"https://", false},
        {"http://", false},
        {"http://clerk.example.org", false},
        {"http://127.0.0.1.example.org", false},
        {"http://localhost.example.org/", false},
        {"http://127.0.0.10/", false},
        {"http://127.0.0.1@example.org/", false},
        /* Everything before the @ is a user and a password. */
        {"http://127.0.0.1:80@example.org/", false},
        {"http://localhost:x@example.org/", false},
        {"http://127.0.0.1:", true},
        {"http://127.0.0.1?x@example.org", false},
        {"http://127.0.0.1:80?x", false},
        {"http://127.0.0.1:80#x", false},
        {"HTTP://127.0.0.1/", false},
        {"ftp://127.0.0.1/", false},
        {"file:///etc/passwd", false},
        {" https://clerk.example.org", false},
        {"//clerk.example.org", false},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++)
        if (http_client_url_allowed(ROWS[i].url) != ROWS[i].allowed)
            fail_msg("%s", ROWS[i].url);
    struct http_answer answer;
    struct http_call call = call_to("http://clerk.example.org/");
    assert_int_equal(http_client_call(&call, &answer), ERROR_INVALID_PARAMETER);
    assert_int_equal(answer.status, 0);
    assert_false(answer.maybe_sent);
    buffer_done(&answer.body);
}

static void test_get(void **state)
{
    (void)state;
    static const int STATUSES[] = {200, 201, 302, 400, 404, 429, 500, 503};
    for (size_t i = 0; i < COUNT(STATUSES); i++) {
        struct http_answer answer;
        struct http_call call = call_to(server.url);
        /* A redirect is an answer, not followed. */
        local_server_set(&server, LOCAL_ANSWER, STATUSES[i], "Location: /elsewhere\r\n",
                         TEXT_LITERAL("{\"a\":1}"));
        int requests = atomic_load(&server.requests);
        assert_int_equal(http_client_call(&call, &answer), ERROR_OK);
        assert_int_equal(answer.status, STATUSES[i]);
        assert_true(text_equal(buffer_text(&answer.body), TEXT_LITERAL("{\"a\":1}")));
        assert_int_equal(atomic_load(&server.requests), requests + 1);
        buffer_done(&answer.body);
    }
    assert_memory_equal(server.request, "GET / HTTP/1.1\r\n", 16);
    /* One thread, one connection. */
    assert_int_equal(atomic_load(&server.connections), 1);
}

static void test_post(void **state)
{
    (void)state;
    static const char *const HEADERS[] = {"Content-Type: application/json",
                                          "Idempotence-Key: 0198-key", NULL};
    char url[96];
    struct http_answer answer;
    struct http_call call = {.method = "POST",
                             .url = url,
                             .headers = HEADERS,
                             .user_password = "shop:secret",
                             .body = {"{\"a\0b\":1}", 9},
                             .timeout_ms = 60000,
                             .answer_bytes_max = 1024};
    snprintf(url, sizeof(url), "%s/v3/payments", server.url);
    local_server_set(&server, LOCAL_ANSWER, 200, "", TEXT_LITERAL("ok"));
    assert_int_equal(http_client_call(&call, &answer), ERROR_OK);
    buffer_done(&answer.body);
    assert_memory_equal(server.request, "POST /v3/payments HTTP/1.1\r\n", 28);
    assert_non_null(strstr(server.request, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(server.request, "\r\nIdempotence-Key: 0198-key\r\n"));
    assert_non_null(strstr(server.request, "\r\nAuthorization: Basic c2hvcDpzZWNyZXQ=\r\n"));
    assert_non_null(strstr(server.request, "\r\nContent-Length: 9\r\n"));
    assert_memory_equal(strstr(server.request, "\r\n\r\n") + 4, "{\"a\0b\":1}", 9);

    /* Nothing of one call is left in the next on the same handle. */
    struct http_call plain = call_to(server.url);
    assert_int_equal(http_client_call(&plain, &answer), ERROR_OK);
    buffer_done(&answer.body);
    assert_memory_equal(server.request, "GET / ", 6);
    assert_null(strstr(server.request, "Authorization"));
    assert_null(strstr(server.request, "Idempotence-Key"));
    /* A POST without a body has the length 0. */
    plain.method = "POST";
    assert_int_equal(http_client_call(&plain, &answer), ERROR_OK);
    buffer_done(&answer.body);
    assert_non_null(strstr(server.request, "\r\nContent-Length: 0\r\n"));
}

static void test_faults(void **state)
{
    (void)state;
    static const struct {
        enum local_fault fault;
        size_t body_len;
    } ROWS[] = {
        {LOCAL_CLOSE, 0},       {LOCAL_CUT, 1000},  {LOCAL_GARBAGE, 0},
        {LOCAL_HANG, 0},        {LOCAL_ENDLESS, 0}, {LOCAL_ANSWER, 1025}, /* over the cap */
        {LOCAL_ANSWER, 100000},
    };
    static char body[100000];
    memset(body, 'x', sizeof(body));
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct http_answer answer;
        struct http_call call = call_to(server.url);
        /* What never ends is ended by the time-out; a busy machine may be slow with the others. */
        bool ends = ROWS[i].fault != LOCAL_HANG && ROWS[i].fault != LOCAL_ENDLESS;
        call.timeout_ms = ends ? 60000 : 500;
        local_server_set(&server, ROWS[i].fault, 200, "", (struct text){body, ROWS[i].body_len});
        assert_int_equal(http_client_call(&call, &answer), ERROR_OVERLOADED);
        assert_int_equal(answer.status, 0);
        assert_true(answer.maybe_sent);
        assert_true(answer.body.len <= 1024);
        buffer_done(&answer.body);
    }
    /* Exactly the cap is an answer, and the handle is as good as new. */
    struct http_answer answer;
    struct http_call call = call_to(server.url);
    local_server_set(&server, LOCAL_ANSWER, 200, "", (struct text){body, 1024});
    assert_int_equal(http_client_call(&call, &answer), ERROR_OK);
    assert_int_equal(answer.body.len, 1024);
    buffer_done(&answer.body);
}

static void test_nobody_there(void **state)
{
    (void)state;
    struct local_server gone;
    local_server_start(&gone);
    local_server_stop(&gone);
    struct http_answer answer;
    struct http_call call = call_to(gone.url);
    assert_int_equal(http_client_call(&call, &answer), ERROR_OVERLOADED);
    assert_int_equal(answer.status, 0);
    assert_false(answer.maybe_sent);
    buffer_done(&answer.body);
}

static void *call_often(void *context)
{
    (void)context;
    for (int i = 0; i < 5; i++) {
        struct local_server own;
        struct http_answer answer;
        local_server_start(&own);
        local_server_set(&own, LOCAL_ANSWER, 200, "", TEXT_LITERAL("mine"));
        struct http_call call = call_to(own.url);
        assert_int_equal(http_client_call(&call, &answer), ERROR_OK);
        assert_true(text_equal(buffer_text(&answer.body), TEXT_LITERAL("mine")));
        buffer_done(&answer.body);
        local_server_stop(&own);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t threads[8];
    for (size_t i = 0; i < COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_often, NULL), 0);
    for (size_t i = 0; i < COUNT(threads); i++)
        pthread_join(threads[i], NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_url_allowed),  cmocka_unit_test(test_get),
        cmocka_unit_test(test_post),         cmocka_unit_test(test_faults),
        cmocka_unit_test(test_nobody_there), cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
