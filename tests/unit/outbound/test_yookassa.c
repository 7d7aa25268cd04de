/* The client of YooKassa: what is sent, what each answer means, and what is known after a fault. */
#include "outbound/yookassa.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/config.h"
#include "base/limits.h"
#include "local_server.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ID "22e12f66-000f-5000-8000-18db351245c7"
#define REFUND_ID "216749f7-0016-50be-b000-078d43a63ae4"
#define PAYMENT_ID "01234567-89ab-7def-8edc-ba9876543211"

/* What a payment has to have, without the brace at its end. */
#define PAYMENT(id, status, paid)                                                      \
    "{\"id\":\"" id "\",\"status\":\"" status "\",\"amount\":{\"value\":\"99.00\","    \
    "\"currency\":\"RUB\"},\"created_at\":\"2026-11-23T10:11:12.345Z\",\"paid\":" paid \
    ",\"test\":false"
#define REFUND(id, status)                                                                \
    "{\"id\":\"" id "\",\"payment_id\":\"" ID "\",\"status\":\"" status "\",\"amount\":{" \
    "\"value\":\"49.50\",\"currency\":\"RUB\"},\"created_at\":\"2026-11-23T10:11:12.345Z\""
#define ERROR_OBJECT(code)                                                                  \
    "{\"type\":\"error\",\"id\":\"" ID "\",\"code\":\"" code "\",\"description\":\"What\"," \
    "\"parameter\":\"amount.value\"}"

static struct local_server server;
static struct yookassa provider;
static char base_url[96];

static int set_up(void **state)
{
    (void)state;
    local_server_start(&server);
    snprintf(base_url, sizeof(base_url), "%s/v3", server.url);
    provider = (struct yookassa){.base_url = base_url,
                                 .shop_id = "123456",
                                 .secret_key = "test_secret",
                                 .timeout_ms = 60000};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    local_server_stop(&server);
    return 0;
}

static void answer_with(int status, struct text body)
{
    local_server_set(&server, LOCAL_ANSWER, status, "", body);
}

static struct yookassa_answer get(const char *id)
{
    struct yookassa_answer answer;
    assert_int_equal(yookassa_get_payment(&provider, text_from(id), &answer), ERROR_OK);
    return answer;
}

static struct yookassa_answer create(const char *body)
{
    struct yookassa_answer answer;
    assert_int_equal(yookassa_create_payment(&provider, PAYMENT_ID, text_from(body), &answer),
                     ERROR_OK);
    return answer;
}

static void assert_text(struct text text, const char *expected)
{
    if (!text_equal(text, text_from(expected)))
        fail_msg("%.*s instead of %s", (int)text.len, text.data ? text.data : "",
                 expected ? expected : "nothing");
}

/* ---- what is sent ---- */

static void assert_sent(const char *line, const char *body)
{
    assert_memory_equal(server.request, line, strlen(line));
    assert_non_null(
        strstr(server.request, "\r\nAuthorization: Basic MTIzNDU2OnRlc3Rfc2VjcmV0\r\n"));
    assert_string_equal(strstr(server.request, "\r\n\r\n") + 4, body);
}

static void assert_posted(const char *line, const char *body)
{
    assert_sent(line, body);
    assert_non_null(strstr(server.request, "\r\nIdempotence-Key: " PAYMENT_ID "\r\n"));
    assert_non_null(strstr(server.request, "\r\nContent-Type: application/json\r\n"));
}

static void test_requests(void **state)
{
    (void)state;
    struct yookassa_answer answer;
    struct text id = TEXT_LITERAL(ID);
    struct text refund_id = TEXT_LITERAL(REFUND_ID);
    struct text none = {NULL, 0};
    /* 2026-11-23T10:11:12.345Z; the microseconds behind are given up, so nothing is missed. */
    const int64_t since = 1795428672345678;

    answer_with(200, TEXT_LITERAL(PAYMENT(ID, "pending", "false") "}"));
    answer = create("{\"a\":1}");
    assert_int_equal(answer.result, YOOKASSA_DONE);
    yookassa_answer_done(&answer);
    assert_posted("POST /v3/payments HTTP/1.1\r\n", "{\"a\":1}");
    assert_int_equal(yookassa_capture_payment(&provider, PAYMENT_ID, id, &answer), ERROR_OK);
    assert_int_equal(answer.result, YOOKASSA_DONE);
    yookassa_answer_done(&answer);
    assert_posted("POST /v3/payments/" ID "/capture HTTP/1.1\r\n", "{}");
    answer = get(ID);
    assert_int_equal(answer.result, YOOKASSA_DONE);
    yookassa_answer_done(&answer);
    assert_sent("GET /v3/payments/" ID " HTTP/1.1\r\n", "");
    assert_null(strstr(server.request, "Idempotence-Key"));

    answer_with(200, TEXT_LITERAL(REFUND(REFUND_ID, "succeeded") "}"));
    assert_int_equal(
        yookassa_create_refund(&provider, PAYMENT_ID, TEXT_LITERAL("{\"b\":2}"), &answer),
        ERROR_OK);
    assert_int_equal(answer.result, YOOKASSA_DONE);
    yookassa_answer_done(&answer);
    assert_posted("POST /v3/refunds HTTP/1.1\r\n", "{\"b\":2}");
    assert_int_equal(yookassa_get_refund(&provider, refund_id, &answer), ERROR_OK);
    assert_int_equal(answer.result, YOOKASSA_DONE);
    yookassa_answer_done(&answer);
    assert_sent("GET /v3/refunds/" REFUND_ID " HTTP/1.1\r\n", "");

    answer_with(200, TEXT_LITERAL("{\"type\":\"list\",\"items\":[]}"));
    assert_int_equal(yookassa_list_payments(&provider, since, none, &answer), ERROR_OK);
    assert_int_equal(answer.result, YOOKASSA_DONE);
    yookassa_answer_done(&answer);
    assert_sent(
        "GET /v3/payments?limit=100&created_at.gte=2026-11-23T10%3A11%3A12.345Z HTTP/1.1\r\n", "");
    assert_int_equal(
        yookassa_list_refunds(&provider, since, TEXT_LITERAL("a/b&c=\xD0\x96~"), &answer),
        ERROR_OK);
    yookassa_answer_done(&answer);
    assert_sent("GET /v3/refunds?limit=100&created_at.gte=2026-11-23T10%3A11%3A12.345Z"
                "&cursor=a%2Fb%26c%3D%D0%96~ HTTP/1.1\r\n",
                "");
}

static void test_never_sent(void **state)
{
    (void)state;
    static const char *const IDS[] = {"",
                                      "a/b",
                                      "a b",
                                      "..",
                                      "a?b",
                                      "a%2Fb",
                                      "a\nb",
                                      "é",
                                      "12345678901234567890123456789012345678901234567890"
                                      "123456789012345"};
    static char cursor[PROVIDER_CURSOR_BYTES_MAX + 1];
    struct yookassa_answer answer;
    memset(cursor, 'x', sizeof(cursor));
    int requests = atomic_load(&server.requests);
    for (size_t i = 0; i < COUNT(IDS); i++) {
        struct text id = text_from(IDS[i]);
        assert_int_equal(yookassa_get_payment(&provider, id, &answer), ERROR_INVALID_PARAMETER);
        assert_int_equal(yookassa_get_refund(&provider, id, &answer), ERROR_INVALID_PARAMETER);
        assert_int_equal(yookassa_capture_payment(&provider, PAYMENT_ID, id, &answer),
                         ERROR_INVALID_PARAMETER);
        assert_int_equal(yookassa_create_payment(&provider, IDS[i], TEXT_LITERAL("{}"), &answer),
                         ERROR_INVALID_PARAMETER);
        yookassa_answer_done(&answer);
    }
    struct text none = {NULL, 0};
    assert_int_equal(yookassa_get_payment(&provider, none, &answer), ERROR_INVALID_PARAMETER);
    struct text too_long = {cursor, sizeof(cursor)};
    assert_int_equal(yookassa_list_payments(&provider, 0, too_long, &answer),
                     ERROR_INVALID_PARAMETER);
    assert_int_equal(atomic_load(&server.requests), requests);
}

/* ---- what a status means ---- */

static void test_classes(void **state)
{
    (void)state;
    static const struct {
        int status;
        enum yookassa_result with_object, without;
    } ROWS[] = {
        {400, YOOKASSA_REFUSED, YOOKASSA_UNKNOWN}, {403, YOOKASSA_REFUSED, YOOKASSA_UNKNOWN},
        {405, YOOKASSA_REFUSED, YOOKASSA_UNKNOWN}, {415, YOOKASSA_REFUSED, YOOKASSA_UNKNOWN},
        {401, YOOKASSA_DENIED, YOOKASSA_DENIED},   {404, YOOKASSA_NOT_FOUND, YOOKASSA_UNKNOWN},
        {429, YOOKASSA_LATER, YOOKASSA_LATER},     {500, YOOKASSA_UNKNOWN, YOOKASSA_UNKNOWN},
        {502, YOOKASSA_UNKNOWN, YOOKASSA_UNKNOWN}, {503, YOOKASSA_UNKNOWN, YOOKASSA_UNKNOWN},
        {504, YOOKASSA_UNKNOWN, YOOKASSA_UNKNOWN}, {202, YOOKASSA_UNKNOWN, YOOKASSA_UNKNOWN},
        {201, YOOKASSA_UNKNOWN, YOOKASSA_UNKNOWN}, {301, YOOKASSA_UNKNOWN, YOOKASSA_UNKNOWN},
        {302, YOOKASSA_UNKNOWN, YOOKASSA_UNKNOWN}, {402, YOOKASSA_UNKNOWN, YOOKASSA_UNKNOWN},
        {408, YOOKASSA_UNKNOWN, YOOKASSA_UNKNOWN}, {409, YOOKASSA_UNKNOWN, YOOKASSA_UNKNOWN},
        {413, YOOKASSA_UNKNOWN, YOOKASSA_UNKNOWN}, {422, YOOKASSA_UNKNOWN, YOOKASSA_UNKNOWN},
        {451, YOOKASSA_UNKNOWN, YOOKASSA_UNKNOWN}, {200, YOOKASSA_UNKNOWN, YOOKASSA_UNKNOWN},
    };
    static const char *const NO_OBJECTS[] = {
        "",
        "<html>Forbidden</html>",
        "{}",
        "[]",
        "{\"type\":\"error\"}",
        "{\"code\":\"forbidden\"}",
        "{\"type\":\"error\",\"code\":5}",
        "{\"type\":\"payment\",\"code\":\"forbidden\"}",
        "{\"type\":\"error\",\"code\":\"a\"} x",
        "{\"type\":\"error\",\"code\":\"a\\u0000b\"}",
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        answer_with(ROWS[i].status, TEXT_LITERAL(ERROR_OBJECT("some_code")));
        struct yookassa_answer answer = create("{}");
        if (answer.result != ROWS[i].with_object)
            fail_msg("%d with an error object: %d", ROWS[i].status, (int)answer.result);
        assert_int_equal(answer.status, ROWS[i].status);
        if (ROWS[i].status != 200) {
            assert_text(answer.error_code, "some_code");
            assert_text(answer.error_parameter, "amount.value");
        }
        assert_int_equal(answer.count, 0);
        yookassa_answer_done(&answer);
        for (size_t n = 0; n < COUNT(NO_OBJECTS); n++) {
            answer_with(ROWS[i].status, text_from(NO_OBJECTS[n]));
            answer = create("{}");
            if (answer.result != ROWS[i].without)
                fail_msg("%d with %s: %d", ROWS[i].status, NO_OBJECTS[n], (int)answer.result);
            assert_null(answer.error_code.data);
            yookassa_answer_done(&answer);
        }
    }
}

static void test_retry_after(void **state)
{
    (void)state;
    static const struct {
        const char *headers, *body;
        int64_t ms;
    } ROWS[] = {
        {"", "", 0},
        {"", "{\"type\":\"error\",\"code\":\"too_many_requests\",\"retry_after\":1800}", 1800},
        {"Retry-After: 7\r\n", "", 7000},
        {"Retry-After: 7\r\n", "{\"type\":\"error\",\"code\":\"a\"}", 7000},
        {"Retry-After: 7\r\n", "{\"type\":\"error\",\"code\":\"a\",\"retry_after\":30}", 30},
        {"Retry-After: 999999999999\r\n", "", RETRY_AFTER_MS_MAX},
        {"Retry-After: soon\r\n", "", 0},
        {"", "{\"type\":\"error\",\"code\":\"a\",\"retry_after\":-5}", 0},
        {"", "{\"type\":\"error\",\"code\":\"a\",\"retry_after\":\"5\"}", 0},
        {"", "{\"type\":\"error\",\"code\":\"a\",\"retry_after\":1.5}", 0},
        {"", "{\"type\":\"error\",\"code\":\"a\",\"retry_after\":99999999999999999999}",
         RETRY_AFTER_MS_MAX},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        local_server_set(&server, LOCAL_ANSWER, 429, ROWS[i].headers, text_from(ROWS[i].body));
        struct yookassa_answer answer = create("{}");
        assert_int_equal(answer.result, YOOKASSA_LATER);
        if (answer.retry_after_ms != ROWS[i].ms)
            fail_msg("row %zu: %lld ms", i, (long long)answer.retry_after_ms);
        yookassa_answer_done(&answer);
    }
}

/* ---- faults on the way ---- */

static void test_faults(void **state)
{
    (void)state;
    static char endless[PROVIDER_OBJECT_BYTES_MAX + 1];
    static const struct {
        enum local_fault fault;
        size_t body_len;
    } ROWS[] = {
        {LOCAL_HANG, 0},    {LOCAL_CLOSE, 0},   {LOCAL_CUT, 200},
        {LOCAL_GARBAGE, 0}, {LOCAL_ENDLESS, 0}, {LOCAL_ANSWER, sizeof(endless)},
    };
    memset(endless, ' ', sizeof(endless));
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        bool ends = ROWS[i].fault != LOCAL_HANG && ROWS[i].fault != LOCAL_ENDLESS;
        provider.timeout_ms = ends ? 60000 : 500;
        local_server_set(&server, ROWS[i].fault, 200, "", (struct text){endless, ROWS[i].body_len});
        struct yookassa_answer answer = create("{}");
        assert_int_equal(answer.result, YOOKASSA_UNKNOWN);
        assert_int_equal(answer.status, 0);
        assert_int_equal(answer.count, 0);
        yookassa_answer_done(&answer);
    }
}

/* Refused before anything was sent: the call did nothing. */
static void test_no_connection(void **state)
{
    (void)state;
    struct local_server gone;
    struct yookassa nobody = provider;
    struct yookassa_answer answer;
    local_server_start(&gone);
    local_server_stop(&gone);
    nobody.base_url = gone.url;
    assert_int_equal(yookassa_create_payment(&nobody, PAYMENT_ID, TEXT_LITERAL("{}"), &answer),
                     ERROR_OK);
    assert_int_equal(answer.result, YOOKASSA_LATER);
    assert_int_equal(answer.status, 0);
    yookassa_answer_done(&answer);
    /* A name that does not resolve, and an address that is not allowed. */
    nobody.base_url = "https://no-such-host.invalid/v3";
    assert_int_equal(yookassa_get_payment(&nobody, TEXT_LITERAL(ID), &answer), ERROR_OK);
    assert_int_equal(answer.result, YOOKASSA_LATER);
    yookassa_answer_done(&answer);
    nobody.base_url = "http://example.org/v3";
    assert_int_equal(yookassa_get_payment(&nobody, TEXT_LITERAL(ID), &answer),
                     ERROR_INVALID_PARAMETER);
    yookassa_answer_done(&answer);
}

static void test_another_object(void **state)
{
    (void)state;
    struct yookassa_answer answer;
    answer_with(200, TEXT_LITERAL(PAYMENT(REFUND_ID, "pending", "false") "}"));
    answer = get(ID);
    assert_int_equal(answer.result, YOOKASSA_UNKNOWN);
    yookassa_answer_done(&answer);
    assert_int_equal(yookassa_capture_payment(&provider, PAYMENT_ID, TEXT_LITERAL(ID), &answer),
                     ERROR_OK);
    assert_int_equal(answer.result, YOOKASSA_UNKNOWN);
    yookassa_answer_done(&answer);
    answer_with(200, TEXT_LITERAL(REFUND(ID, "pending") "}"));
    assert_int_equal(yookassa_get_refund(&provider, TEXT_LITERAL(REFUND_ID), &answer), ERROR_OK);
    assert_int_equal(answer.result, YOOKASSA_UNKNOWN);
    yookassa_answer_done(&answer);
}

/* A full page of large objects passes the cap of one object. */
static void test_a_full_page(void **state)
{
    (void)state;
    enum { OBJECT_BYTES = 8300 };
    static char page[PROVIDER_PAGE_ITEMS * OBJECT_BYTES + 64];
    struct text none = {NULL, 0};
    struct yookassa_answer answer;
    size_t len = (size_t)sprintf(page, "{\"type\":\"list\",\"items\":[");
    for (int i = 0; i < PROVIDER_PAGE_ITEMS; i++)
        len +=
            (size_t)sprintf(page + len, "%s" PAYMENT(ID, "pending", "false") ",\"a\":\"%08000d\"}",
                            i > 0 ? "," : "", i);
    len += (size_t)sprintf(page + len, "]}");
    assert_true(len > PROVIDER_OBJECT_BYTES_MAX && len < sizeof(page));
    answer_with(200, (struct text){page, len});
    assert_int_equal(yookassa_list_payments(&provider, 0, none, &answer), ERROR_OK);
    assert_int_equal(answer.result, YOOKASSA_DONE);
    assert_int_equal(answer.count, PROVIDER_PAGE_ITEMS);
    yookassa_answer_done(&answer);
}

/* ---- configuration ---- */

static void test_configuration(void **state)
{
    (void)state;
    struct config config;
    struct yookassa *made = NULL;
    char problem[256] = "";
    static const char *const VARIABLES[] = {"YOOKASSA_SHOP_ID", "YOOKASSA_SECRET_KEY"};
    for (size_t i = 0; i < COUNT(VARIABLES); i++)
        unsetenv(VARIABLES[i]);
    assert_int_equal(config_load(&config, problem), ERROR_OK);
    assert_int_equal(yookassa_new(&config, &made, problem), ERROR_OK);
    assert_null(made);
    yookassa_free(made);
    config.yookassa_shop_id = "123456";
    config.yookassa_secret_key = "test_secret";
    assert_int_equal(yookassa_new(&config, &made, problem), ERROR_OK);
    assert_string_equal(made->base_url, "https://api.yookassa.ru/v3");
    assert_string_equal(made->shop_id, "123456");
    assert_string_equal(made->secret_key, "test_secret");
    assert_int_equal(made->timeout_ms, 10000);
    yookassa_free(made);
    config.yookassa_secret_key = "";
    assert_int_equal(yookassa_new(&config, &made, problem), ERROR_NOT_CONFIGURED);
    assert_memory_equal(problem, "YOOKASSA_SECRET_KEY:", 20);
    assert_null(made);
    config.yookassa_api_url = "http://127.0.0.1:1/v3/";
    assert_int_equal(yookassa_new(&config, &made, problem), ERROR_NOT_CONFIGURED);
    assert_memory_equal(problem, "YOOKASSA_API_URL:", 17);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_requests),       TEST(test_never_sent),  TEST(test_classes),
        TEST(test_retry_after),    TEST(test_faults),      TEST(test_no_connection),
        TEST(test_another_object), TEST(test_a_full_page), TEST(test_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
