/* What is decided about payments without a database and without the provider. */
#include "services/payment_rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"

#define SECOND INT64_C(1000000)

static struct payment paid(const char *amount, const char *refunded)
{
    return (struct payment){
        .amount = text_from(amount),
        .refunded_amount = text_from(refunded),
        .currency = TEXT_LITERAL("RUB"),
    };
}

static void test_is_ours(void **state)
{
    static const struct {
        const char *provider_id, *currency;
        bool ours;
    } ROWS[] = {
        {"2c5d8b6e-000f-5000-9000-1b68e7b15f3f", "RUB", true},
        {"telegram_stars_1", "RUB", false},
        {"telegram_stars_1", "XTR", false},
        {"charge", "XTR", false},
        {"telegram_star", "RUB", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        const struct payment payment = {.provider_id = text_from(ROWS[i].provider_id),
                                        .currency = text_from(ROWS[i].currency)};
        assert_int_equal(payment_rules_is_ours(&payment), ROWS[i].ours);
    }
}

static void test_refund_amount(void **state)
{
    (void)state;
    static const struct {
        const char *amount, *refunded, *wanted; /* wanted NULL: what is left */
        int64_t kopecks;
    } ROWS[] = {
        {"99.00", "0.00", NULL, 9900},     {"99.00", "49.50", NULL, 4950},
        {"99.00", "98.99", NULL, 1},       {"99.00", "99.00", NULL, 9900},
        {"99.00", "0.00", "49.50", 4950},  {"99.00", "0.00", "0.01", 1},
        {"99.00", "0.00", "99", 9900},     {"99.00", "0.00", "100.00", 10000},
        {"99.00", "99.00", "10.00", 1000}, {"99999999.99", "0.01", NULL, 9999999998},
    };
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        struct payment payment = paid(ROWS[i].amount, ROWS[i].refunded);
        struct text wanted = ROWS[i].wanted ? text_from(ROWS[i].wanted) : (struct text){NULL, 0};
        struct money amount;
        assert_int_equal(payment_rules_refund_amount(&payment, wanted, &amount), ERROR_OK);
        assert_int_equal(amount.minor, ROWS[i].kopecks);
        assert_string_equal(amount.currency, "RUB");
    }
}

static void test_refund_amount_that_is_none(void **state)
{
    (void)state;
    static const char *const WANTED[] = {"",   "0",  "0.00", "-1",   "1.234", "1e2", "1,5",
                                         " 1", "1 ", "NaN",  "0x10", "+1",    ".5"};
    struct payment payment = paid("99.00", "0.00");
    for (size_t i = 0; i < sizeof(WANTED) / sizeof(WANTED[0]); i++) {
        struct money amount = {.minor = 7};
        assert_int_equal(payment_rules_refund_amount(&payment, text_from(WANTED[i]), &amount),
                         ERROR_INVALID_PARAMETER);
        assert_int_equal(amount.minor, 7);
    }
    struct money amount = {.minor = 7};
    struct payment broken[] = {paid("many", "0.00"), paid("99.00", "")};
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        assert_int_equal(payment_rules_refund_amount(&broken[i], TEXT_LITERAL("1.00"), &amount),
                         ERROR_INTERNAL);
        assert_int_equal(amount.minor, 7);
    }
}

static void test_settlement(void **state)
{
    (void)state;
    assert_int_equal(payment_rules_settlement(APPLY_DONE), SETTLEMENT_DONE);
    assert_int_equal(payment_rules_settlement(APPLY_UNCHANGED), SETTLEMENT_KNOWN);
    assert_int_equal(payment_rules_settlement(APPLY_CONFLICT), SETTLEMENT_DIFFERENCE);
    assert_int_equal(payment_rules_settlement(APPLY_UNCREDITED), SETTLEMENT_DIFFERENCE);
    assert_int_equal(payment_rules_settlement(APPLY_NOT_FOUND), SETTLEMENT_DIFFERENCE);
}

static void test_refund_id(void **state)
{
    (void)state;
    char id[UUID_TEXT_SIZE];
    struct yookassa_refund ours = {
        .id = TEXT_LITERAL("216749f7-0016-50be-b000-078d43a63ae4"),
        .metadata_refund_id = TEXT_LITERAL("018f3a5c-7b21-7c44-9d3e-5a1b2c3d4e5f"),
    };
    struct uuid found = payment_rules_refund_id(&ours);
    uuid_format(&found, id);
    assert_string_equal(id, "018f3a5c-7b21-7c44-9d3e-5a1b2c3d4e5f");
    /* Kept for ever: SHA-256 of "refund:" and the provider's id, as test_operation.c has it. */
    static const struct text FOREIGN[] = {{NULL, 0}, TEXT_LITERAL(""), TEXT_LITERAL("order 7")};
    for (size_t i = 0; i < sizeof(FOREIGN) / sizeof(FOREIGN[0]); i++) {
        struct yookassa_refund theirs = {.id = ours.id, .metadata_refund_id = FOREIGN[i]};
        found = payment_rules_refund_id(&theirs);
        uuid_format(&found, id);
        assert_string_equal(id, "e3c76c5c-9dc5-8758-b60a-11b2ce033fe7");
    }
}

static void test_next_listing(void **state)
{
    (void)state;
    const int64_t started = 1767225600 * SECOND;
    const int64_t lag = LISTING_LAG_SECONDS_MAX * SECOND;
    /* All of it was settled: from where this reading started. */
    assert_int_equal(payment_rules_next_listing(started - 60 * SECOND, started, true), started);
    assert_int_equal(payment_rules_next_listing(started - 2 * lag, started, true), started);
    /* Something was not: from where this one was read, for some days. */
    assert_int_equal(payment_rules_next_listing(started - 60 * SECOND, started, false),
                     started - 60 * SECOND);
    assert_int_equal(payment_rules_next_listing(started - lag, started, false), started - lag);
    assert_int_equal(payment_rules_next_listing(started - lag - 1, started, false), started - lag);
}

static void test_repeatable(void **state)
{
    (void)state;
    const int64_t created = 1767225600 * SECOND;
    const int64_t end = created + CREATION_REPEAT_SECONDS * SECOND;
    assert_true(payment_rules_repeatable(created, created));
    assert_true(payment_rules_repeatable(created, end - 1));
    assert_false(payment_rules_repeatable(created, end));
    assert_false(payment_rules_repeatable(created, end + 86400 * SECOND));
}

/* ---- subscriptions ---- */

/* A subscription to pro that is paid and renewed. */
static struct subscription active(void)
{
    return (struct subscription){
        .plan = TEXT_LITERAL("pro"),
        .status = TEXT_LITERAL("active"),
        .has_current_period_end = true,
        .current_period_end = 1000,
        .payment_method_id = TEXT_LITERAL("method-1"),
    };
}

static void test_state(void **state)
{
    (void)state;
    struct subscription one = active();
    assert_true(text_equal(payment_rules_state(&one), TEXT_LITERAL("active")));
    assert_true(payment_rules_renews(&one));
    one.has_grace_until = true;
    assert_true(text_equal(payment_rules_state(&one), TEXT_LITERAL("past_due")));
    assert_false(payment_rules_renews(&one));
    /* It stays with what ended in grace. */
    one.status = TEXT_LITERAL("cancelled");
    assert_true(text_equal(payment_rules_state(&one), TEXT_LITERAL("cancelled")));
    assert_false(payment_rules_past_due(&one));
    one = active();
    one.cancel_at_period_end = true;
    assert_false(payment_rules_renews(&one));
    one = active();
    one.payment_method_id = (struct text){NULL, 0};
    assert_false(payment_rules_renews(&one));
    one = active();
    one.status = TEXT_LITERAL("expired");
    assert_false(payment_rules_renews(&one));
}

static void test_month(void **state)
{
    (void)state;
    const struct month_order pro = {.plan = TEXT_LITERAL("pro"), .renews = true};
    const struct month_order once = {.plan = TEXT_LITERAL("pro"), .renews = false};
    const struct month_order premium = {.plan = TEXT_LITERAL("premium"), .renews = true};
    assert_int_equal(payment_rules_month(NULL, &pro, 0), MONTH_PAY);
    struct subscription one = active();
    assert_int_equal(payment_rules_month(&one, &pro, 0), MONTH_REFUSE);
    assert_int_equal(payment_rules_month(&one, &once, 0), MONTH_REFUSE);
    assert_int_equal(payment_rules_month(&one, &premium, 0), MONTH_PAY);
    /* While a renewal is on its way it is still paid by itself. */
    assert_int_equal(payment_rules_month(&one, &pro, 1001), MONTH_REFUSE);
    one.has_grace_until = true;
    assert_int_equal(payment_rules_month(&one, &pro, 1001), MONTH_PAY);
    one = active();
    one.cancel_at_period_end = true;
    assert_int_equal(payment_rules_month(&one, &pro, 999), MONTH_RESUME);
    assert_int_equal(payment_rules_month(&one, &pro, 1000), MONTH_PAY);
    assert_int_equal(payment_rules_month(&one, &once, 999), MONTH_PAY);
    one.payment_method_id = (struct text){NULL, 0};
    assert_int_equal(payment_rules_month(&one, &pro, 999), MONTH_PAY);
    one.cancel_at_period_end = false;
    assert_int_equal(payment_rules_month(&one, &pro, 999), MONTH_PAY);
    /* Whoever has it for ever needs no month. */
    one.has_current_period_end = false;
    assert_int_equal(payment_rules_month(&one, &pro, 999), MONTH_REFUSE);
}

int main(void)
{
    static const struct CMUnitTest TESTS[] = {
        cmocka_unit_test(test_is_ours),
        cmocka_unit_test(test_refund_amount),
        cmocka_unit_test(test_refund_amount_that_is_none),
        cmocka_unit_test(test_settlement),
        cmocka_unit_test(test_refund_id),
        cmocka_unit_test(test_next_listing),
        cmocka_unit_test(test_repeatable),
        cmocka_unit_test(test_state),
        cmocka_unit_test(test_month),
    };
    return cmocka_run_group_tests(TESTS, NULL, NULL);
}
