/* YooKassa's objects: what is read of each, and what is not understood. */
#include "outbound/yookassa_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "yookassa_ids.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define REFUND_ID "216749f7-0016-50be-b000-078d43a63ae4"

/* What a payment has to have, without the brace at its end. */
#define PAYMENT(id, status, paid)                                                      \
    "{\"id\":\"" id "\",\"status\":\"" status "\",\"amount\":{\"value\":\"99.00\","    \
    "\"currency\":\"RUB\"},\"created_at\":\"2026-11-23T10:11:12.345Z\",\"paid\":" paid \
    ",\"test\":false"
#define REFUND(id, status)                                                                \
    "{\"id\":\"" id "\",\"payment_id\":\"" ID "\",\"status\":\"" status "\",\"amount\":{" \
    "\"value\":\"49.50\",\"currency\":\"RUB\"},\"created_at\":\"2026-11-23T10:11:12.345Z\""

static void assert_text(struct text text, const char *expected)
{
    if (!text_equal(text, text_from(expected)))
        fail_msg("%.*s instead of %s", (int)text.len, text.data ? text.data : "",
                 expected ? expected : "nothing");
}

static struct yookassa_answer understood(enum yookassa_object expected, struct text body)
{
    struct yookassa_answer answer = {.status = 200};
    if (yookassa_json_read(body, expected, &answer))
        fail_msg("not understood: %.*s", (int)body.len, body.data);
    assert_non_null(answer.owned);
    return answer;
}

static void assert_not_understood(enum yookassa_object expected, const char *body)
{
    struct yookassa_answer answer = {.status = 200};
    if (yookassa_json_read(text_from(body), expected, &answer) != ERROR_MALFORMED_JSON)
        fail_msg("understood: %s", body);
    assert_true(!answer.payments && !answer.refunds && !answer.owned && answer.count == 0);
}

static void test_a_whole_payment(void **state)
{
    (void)state;
    struct yookassa_answer answer = understood(
        YOOKASSA_OBJECT_PAYMENT,
        TEXT_LITERAL(PAYMENT(
            ID, "succeeded",
            "true") ",\"refundable\":true,\"refunded_amount\":{\"value\":\"10.50\",\"currency\":"
                    "\"RUB\"},\"captured_at\":\"2026-11-23T10:12:00.000Z\","
                    "\"income_amount\":{\"value\":\"95.53\",\"currency\":\"RUB\"},"
                    "\"recipient\":{\"account_id\":\"123456\",\"gateway_id\":\"100700\"},"
                    "\"payment_method\":{\"type\":\"bank_card\",\"id\":\"" ID
                    "\",\"saved\":true,\"card\":{\"first6\":\"555555\",\"card_product\":{\"code\":"
                    "\"E\"}},\"title\":\"Bank card *4444\"},"
                    "\"confirmation\":{\"type\":\"redirect\",\"confirmation_url\":"
                    "\"https://yoomoney.ru/api-pages/v2/payment-confirm/epl?orderId=" ID "\"},"
                    "\"metadata\":{\"user_id\":\"" USER_ID "\",\"payment_id\":\"" PAYMENT_ID
                    "\",\"other\":\"x\"},\"something_new\":{\"of\":[1,2,{\"a\":null}]}}"));
    assert_int_equal(answer.count, 1);
    assert_null(answer.refunds);
    const struct yookassa_payment *payment = &answer.payments[0];
    assert_text(payment->id, ID);
    assert_int_equal(payment->status, YOOKASSA_SUCCEEDED);
    assert_int_equal(payment->amount.minor, 9900);
    assert_string_equal(payment->amount.currency, "RUB");
    assert_int_equal(payment->refunded.minor, 1050);
    assert_true(payment->paid && !payment->test && payment->refundable);
    assert_text(payment->shop_id, "123456");
    assert_text(payment->confirmation_url,
                "https://yoomoney.ru/api-pages/v2/payment-confirm/epl?orderId=" ID);
    assert_text(payment->metadata_user_id, USER_ID);
    assert_text(payment->metadata_payment_id, PAYMENT_ID);
    assert_text(payment->payment_method_id, ID);
    assert_true(payment->payment_method_saved);
    assert_null(payment->cancellation_reason.data);
    assert_int_equal(payment->created_at, 1795428672345000);
    yookassa_answer_done(&answer);
    /* Once more does no harm. */
    yookassa_answer_done(&answer);
}

static void test_the_least_payment(void **state)
{
    (void)state;
    struct yookassa_answer answer = understood(
        YOOKASSA_OBJECT_PAYMENT,
        TEXT_LITERAL(PAYMENT(ID, "canceled",
                             "false") ",\"cancellation_details\":{\"party\":\"payment_network\","
                                      "\"reason\":\"permission_revoked\"},\"recipient\":null,"
                                      "\"metadata\":{},\"payment_method\":{\"type\":\"sbp\","
                                      "\"id\":\"" ID "\",\"saved\":false}}"));
    const struct yookassa_payment *payment = &answer.payments[0];
    assert_int_equal(payment->status, YOOKASSA_CANCELED);
    assert_int_equal(payment->refunded.minor, 0);
    assert_string_equal(payment->refunded.currency, "RUB");
    assert_false(payment->paid || payment->test || payment->refundable);
    assert_false(payment->payment_method_saved);
    assert_text(payment->cancellation_party, "payment_network");
    assert_text(payment->cancellation_reason, "permission_revoked");
    assert_text(payment->shop_id, NULL);
    assert_text(payment->confirmation_url, NULL);
    assert_text(payment->metadata_user_id, NULL);
    assert_text(payment->metadata_payment_id, NULL);
    yookassa_answer_done(&answer);
}

static void test_statuses(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        enum yookassa_status status;
    } ROWS[] = {
        {PAYMENT(ID, "pending", "false") "}", YOOKASSA_PENDING},
        {PAYMENT(ID, "waiting_for_capture", "true") "}", YOOKASSA_WAITING_FOR_CAPTURE},
        {PAYMENT(ID, "succeeded", "true") "}", YOOKASSA_SUCCEEDED},
        {PAYMENT(ID, "canceled", "false") "}", YOOKASSA_CANCELED},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct yookassa_answer answer =
            understood(YOOKASSA_OBJECT_PAYMENT, text_from(ROWS[i].body));
        assert_int_equal(answer.payments[0].status, ROWS[i].status);
        assert_non_null(strstr(ROWS[i].body, yookassa_status_word(ROWS[i].status)));
        yookassa_answer_done(&answer);
    }
}

/* Metadata is for anybody: what is not ours is nothing, and no reason to distrust the rest. */
static void test_metadata_of_others(void **state)
{
    (void)state;
    static const char *const ROWS[] = {
        PAYMENT(ID, "pending", "false") ",\"metadata\":null}",
        PAYMENT(ID, "pending", "false") ",\"metadata\":\"text\"}",
        PAYMENT(ID, "pending", "false") ",\"metadata\":[]}",
        PAYMENT(ID, "pending", "false") ",\"metadata\":{\"user_id\":5,\"payment_id\":{}}}",
        PAYMENT(ID, "pending", "false") ",\"metadata\":{\"user_id\":\"" USER_ID
                                        "x\",\"payment_id\":\"a\\u0000\"}}",
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct yookassa_answer answer = understood(YOOKASSA_OBJECT_PAYMENT, text_from(ROWS[i]));
        assert_null(answer.payments[0].metadata_user_id.data);
        assert_null(answer.payments[0].metadata_payment_id.data);
        yookassa_answer_done(&answer);
    }
}

#define AMOUNT(amount)                                             \
    "{\"id\":\"" ID "\",\"status\":\"pending\",\"amount\":" amount \
    ",\"created_at\":\"2026-11-23T10:11:12.345Z\",\"paid\":false,\"test\":false}"
#define WITH(member) PAYMENT(ID, "pending", "false") "," member "}"

static const char *const NOT_UNDERSTOOD[] = {
    "",
    "null",
    "[]",
    "{}",
    "{\"type\":\"error\",\"code\":\"x\"}",
    PAYMENT(ID, "pending", "false"),
    PAYMENT(ID, "pending", "false") "} x",
    PAYMENT("", "pending", "false") "}",
    PAYMENT("a/b", "pending", "false") "}",
    PAYMENT(ID ID, "pending", "false") "}",
    PAYMENT(ID, "Pending", "false") "}",
    PAYMENT(ID, "refunded", "false") "}",
    PAYMENT(ID, "", "false") "}",
    PAYMENT(ID, "pending", "\"false\"") "}",
    PAYMENT(ID, "pending", "null") "}",
    PAYMENT(ID, "pending", "0") "}",
    /* Succeeded, and nobody paid. */
    PAYMENT(ID, "succeeded", "false") "}",
    /* One thing after the other left out. */
    "{\"status\":\"pending\",\"amount\":{\"value\":\"1.00\",\"currency\":\"RUB\"},"
    "\"created_at\":\"2026-11-23T10:11:12.345Z\",\"paid\":false,\"test\":false}",
    "{\"id\":\"" ID "\",\"amount\":{\"value\":\"1.00\",\"currency\":\"RUB\"},"
    "\"created_at\":\"2026-11-23T10:11:12.345Z\",\"paid\":false,\"test\":false}",
    "{\"id\":\"" ID "\",\"status\":\"pending\","
    "\"created_at\":\"2026-11-23T10:11:12.345Z\",\"paid\":false,\"test\":false}",
    "{\"id\":\"" ID
    "\",\"status\":\"pending\",\"amount\":{\"value\":\"1.00\",\"currency\":\"RUB\"},"
    "\"paid\":false,\"test\":false}",
    "{\"id\":\"" ID
    "\",\"status\":\"pending\",\"amount\":{\"value\":\"1.00\",\"currency\":\"RUB\"},"
    "\"created_at\":\"2026-11-23T10:11:12.345Z\",\"test\":false}",
    "{\"id\":\"" ID
    "\",\"status\":\"pending\",\"amount\":{\"value\":\"1.00\",\"currency\":\"RUB\"},"
    "\"created_at\":\"2026-11-23T10:11:12.345Z\",\"paid\":false}",
    AMOUNT("\"1.00\""),
    AMOUNT("{}"),
    AMOUNT("null"),
    AMOUNT("{\"value\":1.00,\"currency\":\"RUB\"}"),
    AMOUNT("{\"value\":\"1.001\",\"currency\":\"RUB\"}"),
    AMOUNT("{\"value\":\"-1.00\",\"currency\":\"RUB\"}"),
    AMOUNT("{\"value\":\"1e3\",\"currency\":\"RUB\"}"),
    AMOUNT("{\"value\":\"1.00\",\"currency\":\"rub\"}"),
    AMOUNT("{\"value\":\"1.00\"}"),
    AMOUNT("{\"value\":\"1000000000.00\",\"currency\":\"RUB\"}"),
    WITH("\"refunded_amount\":{\"value\":\"1.00\",\"currency\":\"USD\"}"),
    WITH("\"refunded_amount\":{\"value\":\"99.01\",\"currency\":\"RUB\"}"),
    WITH("\"refunded_amount\":\"1.00\""),
    WITH("\"refundable\":\"yes\""),
    WITH("\"created_at\":\"yesterday\""),
    WITH("\"created_at\":1795428672"),
    WITH("\"recipient\":\"123456\""),
    WITH("\"recipient\":{\"account_id\":123456}"),
    WITH("\"recipient\":{\"account_id\":\"12 34\"}"),
    WITH("\"payment_method\":\"bank_card\""),
    WITH("\"payment_method\":{\"id\":\"a b\",\"saved\":true}"),
    WITH("\"payment_method\":{\"id\":\"a\",\"saved\":1}"),
    WITH("\"confirmation\":[]"),
    WITH("\"confirmation\":{\"confirmation_url\":5}"),
    WITH("\"confirmation\":{\"confirmation_url\":\"javascript:alert(1)\"}"),
    WITH("\"confirmation\":{\"confirmation_url\":\"http://example.org/\"}"),
    WITH("\"confirmation\":{\"confirmation_url\":\"https://a\\u0000b\"}"),
    WITH("\"cancellation_details\":\"expired\""),
    WITH("\"cancellation_details\":{\"reason\":7}"),
    WITH("\"a\":\"\xFF\""),
    WITH("\"a\":01"),
    WITH("\"a\":[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]"),
};

static void test_not_understood(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(NOT_UNDERSTOOD); i++) {
        assert_not_understood(YOOKASSA_OBJECT_PAYMENT, NOT_UNDERSTOOD[i]);
    }
}

static void test_refunds(void **state)
{
    (void)state;
    static const char *const BAD[] = {
        REFUND(REFUND_ID, "waiting_for_capture") "}",
        REFUND(REFUND_ID, "succeeded") ",\"payment_id\":null}",
        REFUND(REFUND_ID, "succeeded") ",\"amount\":null}",
        REFUND("", "succeeded") "}",
    };
    struct yookassa_answer answer;
    answer = understood(
        YOOKASSA_OBJECT_REFUND,
        TEXT_LITERAL(REFUND(REFUND_ID, "succeeded") ",\"metadata\":{\"refund_id\":\"" PAYMENT_ID
                                                    "\"}}"));
    assert_int_equal(answer.count, 1);
    assert_null(answer.payments);
    assert_text(answer.refunds[0].id, REFUND_ID);
    assert_text(answer.refunds[0].payment_id, ID);
    assert_int_equal(answer.refunds[0].status, YOOKASSA_SUCCEEDED);
    assert_int_equal(answer.refunds[0].amount.minor, 4950);
    assert_text(answer.refunds[0].metadata_refund_id, PAYMENT_ID);
    assert_int_equal(answer.refunds[0].created_at, 1795428672345000);
    yookassa_answer_done(&answer);
    for (size_t i = 0; i < COUNT(BAD); i++) {
        assert_not_understood(YOOKASSA_OBJECT_REFUND, BAD[i]);
    }
}

/* One object nobody understands does not hide the others of its page. */
static void test_lists(void **state)
{
    (void)state;
    static const char *const BAD[] = {
        "{\"type\":\"list\"}",
        "{\"items\":[]}",
        "{\"type\":\"list\",\"items\":{}}",
        "{\"type\":\"list\",\"items\":[],\"next_cursor\":5}",
        "[]",
    };
    struct yookassa_answer answer;
    answer = understood(
        YOOKASSA_OBJECT_PAYMENT_LIST,
        TEXT_LITERAL("{\"type\":\"list\",\"items\":[" PAYMENT(ID, "pending", "false") "}," PAYMENT(
            ID, "unheard_of", "false") "},5," PAYMENT(REFUND_ID, "succeeded",
                                                      "true") "}],\"next_cursor\":\"c-1\"}"));
    assert_int_equal(answer.count, 2);
    assert_int_equal(answer.skipped, 2);
    assert_text(answer.payments[0].id, ID);
    assert_text(answer.payments[1].id, REFUND_ID);
    assert_text(answer.next_cursor, "c-1");
    yookassa_answer_done(&answer);
    answer =
        understood(YOOKASSA_OBJECT_REFUND_LIST,
                   TEXT_LITERAL("{\"type\":\"list\",\"items\":[" REFUND(ID, "succeeded") "}]}"));
    assert_int_equal(answer.count, 1);
    assert_text(answer.refunds[0].id, ID);
    assert_null(answer.next_cursor.data);
    yookassa_answer_done(&answer);
    for (size_t i = 0; i < COUNT(BAD); i++) {
        assert_not_understood(YOOKASSA_OBJECT_PAYMENT_LIST, BAD[i]);
    }
}

/* ---- notifications ---- */

/* What is not used here is understood as that, whatever its object is. */
static void test_notifications_about_something_else(void **state)
{
    (void)state;
    static const char *const EVENTS[] = {"payout.succeeded", "deal.closed", "payment_method.active",
                                         "payment",          "refund",      "payment."};
    for (size_t i = 0; i < COUNT(EVENTS); i++) {
        struct yookassa_notification notification;
        char body[128];
        snprintf(body, sizeof(body), "{\"type\":\"notification\",\"event\":\"%s\",\"object\":7}",
                 EVENTS[i]);
        assert_int_equal(yookassa_notification_parse(text_from(body), &notification), ERROR_OK);
        assert_text(notification.event, EVENTS[i]);
        assert_false(notification.is_payment);
        assert_false(notification.is_refund);
        assert_null(notification.object_id.data);
        yookassa_notification_done(&notification);
    }
}

static void test_notifications(void **state)
{
    (void)state;
    static const struct {
        const char *body, *event;
        bool is_refund;
    } GOOD[] = {
        {"{\"type\":\"notification\",\"event\":\"payment.succeeded\",\"object\":{\"id\":\"" ID
         "\",\"status\":\"succeeded\"}}",
         "payment.succeeded", false},
        {"{\"type\":\"notification\",\"event\":\"payment.waiting_for_capture\",\"object\":{"
         "\"id\":\"" ID "\"}}",
         "payment.waiting_for_capture", false},
        {"{\"type\":\"notification\",\"event\":\"payment.canceled\",\"object\":{\"id\":\"" ID
         "\"},\"new\":[]}",
         "payment.canceled", false},
        {"{\"type\":\"notification\",\"event\":\"refund.succeeded\",\"object\":{\"id\":\"" ID
         "\",\"amount\":7}}",
         "refund.succeeded", true},
    };
    struct yookassa_notification notification;
    for (size_t i = 0; i < COUNT(GOOD); i++) {
        assert_int_equal(yookassa_notification_parse(text_from(GOOD[i].body), &notification),
                         ERROR_OK);
        assert_text(notification.event, GOOD[i].event);
        assert_text(notification.object_id, ID);
        assert_int_equal(notification.is_refund, GOOD[i].is_refund);
        assert_int_equal(notification.is_payment, !GOOD[i].is_refund);
        yookassa_notification_done(&notification);
    }
}

static void test_what_is_no_notification(void **state)
{
    (void)state;
#define NOTIFICATION(type, event, object) \
    "{\"type\":" type ",\"event\":" event ",\"object\":" object "}"
#define OBJECT "{\"id\":\"" ID "\"}"
    static const struct {
        const char *body;
        enum error err;
    } BAD[] = {
        {"", ERROR_MALFORMED_JSON},
        {"x", ERROR_MALFORMED_JSON},
        {"[]", ERROR_MALFORMED_JSON},
        {"{", ERROR_MALFORMED_JSON},
        {NOTIFICATION("\"notification\"", "\"payment.succeeded\"", OBJECT) "x",
         ERROR_MALFORMED_JSON},
        {"{}", ERROR_INVALID_FIELD},
        {NOTIFICATION("\"event\"", "\"payment.succeeded\"", OBJECT), ERROR_INVALID_FIELD},
        {NOTIFICATION("5", "\"payment.succeeded\"", OBJECT), ERROR_INVALID_FIELD},
        {NOTIFICATION("\"notification\"", "5", OBJECT), ERROR_INVALID_FIELD},
        {NOTIFICATION("\"notification\"", "null", OBJECT), ERROR_INVALID_FIELD},
        {NOTIFICATION("\"notification\"", "\"\"", OBJECT), ERROR_INVALID_FIELD},
        {NOTIFICATION("\"notification\"", "\"payment.\\u0000\"", OBJECT), ERROR_INVALID_FIELD},
        {NOTIFICATION("\"notification\"", "\"payment.succeeded\"", "null"), ERROR_INVALID_FIELD},
        {NOTIFICATION("\"notification\"", "\"payment.succeeded\"", "{}"), ERROR_INVALID_FIELD},
        {NOTIFICATION("\"notification\"", "\"payment.succeeded\"", "\"" ID "\""),
         ERROR_INVALID_FIELD},
        {NOTIFICATION("\"notification\"", "\"payment.succeeded\"", "{\"id\":5}"),
         ERROR_INVALID_FIELD},
        {NOTIFICATION("\"notification\"", "\"payment.succeeded\"", "{\"id\":\"\"}"),
         ERROR_INVALID_FIELD},
        {NOTIFICATION("\"notification\"", "\"payment.succeeded\"", "{\"id\":\"../refunds\"}"),
         ERROR_INVALID_FIELD},
    };
    struct yookassa_notification notification;
    for (size_t i = 0; i < COUNT(BAD); i++) {
        if (yookassa_notification_parse(text_from(BAD[i].body), &notification) != BAD[i].err)
            fail_msg("%s", BAD[i].body);
        assert_null(notification.owned);
        yookassa_notification_done(&notification);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_whole_payment),
        cmocka_unit_test(test_the_least_payment),
        cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_metadata_of_others),
        cmocka_unit_test(test_not_understood),
        cmocka_unit_test(test_refunds),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_notifications),
        cmocka_unit_test(test_notifications_about_something_else),
        cmocka_unit_test(test_what_is_no_notification),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
