/* What is written to YooKassa: the bodies of payments and refunds. */
#include "outbound/yookassa_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/limits.h"
#include "yookassa_ids.h"

static struct yookassa_order order(void)
{
    struct yookassa_order made = {
        .amount = {9900, "RUB"},
        .description = TEXT_LITERAL("DreamLens: 50 tokens"),
        .return_url = TEXT_LITERAL("https://app.example/paid?a=\"1\""),
    };
    assert_true(uuid_parse(TEXT_LITERAL(USER_ID), &made.user_id));
    assert_true(uuid_parse(TEXT_LITERAL(PAYMENT_ID), &made.payment_id));
    return made;
}

static void assert_body(const struct yookassa_order *wanted, const char *expected)
{
    struct buffer body;
    buffer_init(&body, BODY_BYTES_MAX);
    assert_int_equal(yookassa_payment_body(wanted, &body), ERROR_OK);
    assert_string_equal(body.data, expected);
    buffer_done(&body);
}

#define METADATA "\"metadata\":{\"user_id\":\"" USER_ID "\",\"payment_id\":\"" PAYMENT_ID "\"}}"
#define ORDERED                                                                \
    "{\"amount\":{\"value\":\"99.00\",\"currency\":\"RUB\"},\"capture\":true," \
    "\"description\":\"DreamLens: 50 tokens\","

static void test_payment_body(void **state)
{
    (void)state;
    struct yookassa_order wanted = order();
    assert_body(&wanted, ORDERED "\"confirmation\":{\"type\":\"redirect\",\"return_url\":"
                                 "\"https://app.example/paid?a=\\\"1\\\"\"}," METADATA);
    wanted.save_payment_method = true;
    wanted.receipt_email = TEXT_LITERAL("a@example.org");
    wanted.vat_code = 1;
    assert_body(&wanted, ORDERED
                "\"confirmation\":{\"type\":\"redirect\",\"return_url\":"
                "\"https://app.example/paid?a=\\\"1\\\"\"},\"save_payment_method\":true,"
                "\"receipt\":{\"customer\":{\"email\":\"a@example.org\"},\"items\":[{"
                "\"description\":\"DreamLens: 50 tokens\",\"quantity\":1,"
                "\"amount\":{\"value\":\"99.00\",\"currency\":\"RUB\"},\"vat_code\":1,"
                "\"payment_mode\":\"full_payment\",\"payment_subject\":\"service\"}]}," METADATA);
    wanted = order();
    wanted.return_url = (struct text){NULL, 0};
    wanted.payment_method_id = TEXT_LITERAL(ID);
    assert_body(&wanted, ORDERED "\"payment_method_id\":\"" ID "\"," METADATA);
}

static void test_long_description(void **state)
{
    (void)state;
    char description[2 * 200];
    struct yookassa_order wanted = order();
    struct buffer body;
    for (size_t i = 0; i < 200; i++)
        memcpy(description + 2 * i, "Ж", 2);
    wanted.description = (struct text){description, sizeof(description)};
    wanted.receipt_email = TEXT_LITERAL("a@example.org");
    buffer_init(&body, BODY_BYTES_MAX);
    assert_int_equal(yookassa_payment_body(&wanted, &body), ERROR_OK);
    for (const char *at = body.data; (at = strstr(at, "\"description\":\"")) != NULL; at++)
        assert_int_equal(strcspn(at + 15, "\""), 2 * 128);
    buffer_done(&body);
    wanted.description.len = 2 * 128;
    buffer_init(&body, BODY_BYTES_MAX);
    assert_int_equal(yookassa_payment_body(&wanted, &body), ERROR_OK);
    assert_int_equal(strcspn(strstr(body.data, "\"description\":\"") + 15, "\""), 2 * 128);
    buffer_done(&body);
    buffer_init(&body, 20);
    assert_int_equal(yookassa_payment_body(&wanted, &body), ERROR_BODY_TOO_LARGE);
    buffer_done(&body);
}

static void test_refund_body(void **state)
{
    (void)state;
    struct yookassa_refund_order wanted = {
        .provider_payment_id = TEXT_LITERAL(ID),
        .amount = {4950, "RUB"},
        .description = TEXT_LITERAL("DreamLens: 50 tokens"),
    };
    struct buffer body;
    assert_true(uuid_parse(TEXT_LITERAL(PAYMENT_ID), &wanted.refund_id));
    buffer_init(&body, BODY_BYTES_MAX);
    assert_int_equal(yookassa_refund_body(&wanted, &body), ERROR_OK);
    assert_string_equal(body.data,
                        "{\"payment_id\":\"" ID "\",\"amount\":{\"value\":\"49.50\",\"currency\":"
                        "\"RUB\"},\"metadata\":{\"refund_id\":\"" PAYMENT_ID "\"}}");
    buffer_reset(&body, 0);
    wanted.receipt_email = TEXT_LITERAL("a@example.org");
    wanted.vat_code = 4;
    assert_int_equal(yookassa_refund_body(&wanted, &body), ERROR_OK);
    assert_non_null(strstr(body.data, "\"vat_code\":4"));
    assert_non_null(strstr(body.data, "\"quantity\":1,\"amount\":{\"value\":\"49.50\""));
    buffer_done(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_payment_body),
        cmocka_unit_test(test_long_description),
        cmocka_unit_test(test_refund_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
