/*
 * Answers of YooKassa: objects, lists and error objects. What is understood has ids that can be
 * part of a URL, amounts in range and texts without a NUL; what is not leaves nothing behind.
 */
#include "base/limits.h"
#include "outbound/http_client.h"
#include "outbound/yookassa_json.h"
#include "support/fuzz.h"

static void check_text(struct text text, size_t bytes_max)
{
    REQUIRE(text.data || text.len == 0);
    REQUIRE(text.len <= bytes_max);
    REQUIRE(!text.data || (!memchr(text.data, '\0', text.len) && text.data[text.len] == '\0'));
    REQUIRE(!text.data || text_is_utf8(text));
}

static void check_money(const struct money *money)
{
    REQUIRE(money->minor >= 0 && money->minor <= INT64_C(9999999999));
    REQUIRE(strlen(money->currency) == CURRENCY_SIZE - 1);
}

static void check_payment(const struct yookassa_payment *payment)
{
    REQUIRE(yookassa_json_is_id(payment->id));
    REQUIRE(yookassa_status_word(payment->status));
    REQUIRE(payment->status != YOOKASSA_SUCCEEDED || payment->paid);
    check_money(&payment->amount);
    check_money(&payment->refunded);
    REQUIRE(payment->refunded.minor <= payment->amount.minor);
    REQUIRE(strcmp(payment->amount.currency, payment->refunded.currency) == 0);
    REQUIRE(!payment->shop_id.data || yookassa_json_is_id(payment->shop_id));
    REQUIRE(!payment->payment_method_id.data || yookassa_json_is_id(payment->payment_method_id));
    check_text(payment->confirmation_url, URL_BYTES_MAX);
    REQUIRE(!payment->confirmation_url.data ||
            http_client_url_allowed(payment->confirmation_url.data));
    check_text(payment->metadata_user_id, UUID_TEXT_SIZE - 1);
    check_text(payment->metadata_payment_id, UUID_TEXT_SIZE - 1);
    check_text(payment->cancellation_party, PROVIDER_WORD_BYTES_MAX);
    check_text(payment->cancellation_reason, PROVIDER_WORD_BYTES_MAX);
}

static void check_refund(const struct yookassa_refund *refund)
{
    REQUIRE(yookassa_json_is_id(refund->id) && yookassa_json_is_id(refund->payment_id));
    REQUIRE(refund->status != YOOKASSA_WAITING_FOR_CAPTURE);
    check_money(&refund->amount);
    check_text(refund->metadata_refund_id, UUID_TEXT_SIZE - 1);
}

static void check_read(struct text input, enum yookassa_object expected)
{
    bool is_list =
        expected == YOOKASSA_OBJECT_PAYMENT_LIST || expected == YOOKASSA_OBJECT_REFUND_LIST;
    struct yookassa_answer answer = {.status = 200};
    enum error err = yookassa_json_read(input, expected, &answer);
    if (err) {
        REQUIRE(err == ERROR_MALFORMED_JSON);
        REQUIRE(!answer.payments && !answer.refunds && !answer.owned && answer.count == 0);
        return;
    }
    REQUIRE(answer.owned && !answer.payments != !answer.refunds);
    REQUIRE(is_list || (answer.count == 1 && answer.skipped == 0 && !answer.next_cursor.data));
    check_text(answer.next_cursor, PROVIDER_CURSOR_BYTES_MAX);
    for (size_t i = 0; i < answer.count; i++) {
        if (answer.payments)
            check_payment(&answer.payments[i]);
        else
            check_refund(&answer.refunds[i]);
    }
    yookassa_answer_done(&answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text input = fuzz_input(data, size);
    struct yookassa_answer error = {.status = 400};
    check_read(input, YOOKASSA_OBJECT_PAYMENT);
    check_read(input, YOOKASSA_OBJECT_REFUND);
    check_read(input, YOOKASSA_OBJECT_PAYMENT_LIST);
    check_read(input, YOOKASSA_OBJECT_REFUND_LIST);
    if (yookassa_json_read_error(input, &error)) {
        REQUIRE(error.error_code.data);
        check_text(error.error_code, PROVIDER_WORD_BYTES_MAX);
        check_text(error.error_parameter, PROVIDER_WORD_BYTES_MAX);
    }
    REQUIRE(error.retry_after_ms >= 0 && error.retry_after_ms <= RETRY_AFTER_MS_MAX);
    yookassa_answer_done(&error);
    return 0;
}
