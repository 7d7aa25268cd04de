/* Amounts of money: what is one, what is not, and the way there and back without a kopeck lost. */
#include "base/money.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct text RUB = {"RUB", 3};

static void test_accepted(void **state)
{
    (void)state;
    static const struct {
        const char *amount;
        int64_t minor;
        const char *formatted;
    } ROWS[] = {
        {"0", 0, "0.00"},
        {"0.00", 0, "0.00"},
        {"0.01", 1, "0.01"},
        {"0.1", 10, "0.10"},
        {"1", 100, "1.00"},
        {"1.05", 105, "1.05"},
        {"99.5", 9950, "99.50"},
        {"100", 10000, "100.00"},
        {"100.00", 10000, "100.00"},
        {"10.10", 1010, "10.10"},
        /* What a double would make 299.98999... of. */
        {"299.99", 29999, "299.99"},
        {"1234567.89", 123456789, "1234567.89"},
        {"99999999", 9999999900, "99999999.00"},
        {"99999999.99", 9999999999, "99999999.99"},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct money money;
        char formatted[MONEY_TEXT_SIZE];
        if (!money_parse(text_from(ROWS[i].amount), RUB, &money))
            fail_msg("%s was refused", ROWS[i].amount);
        assert_int_equal(money.minor, ROWS[i].minor);
        assert_string_equal(money.currency, "RUB");
        money_format(&money, formatted);
        assert_string_equal(formatted, ROWS[i].formatted);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const ROWS[] = {
        "",
        " ",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1.",
        ".5",
        ".",
        "1.000",
        "1.001",
        "00",
        "01",
        "00.50",
        "1,50",
        "1e2",
        "1.5e1",
        "0x10",
        "1.0.0",
        "1..0",
        "100000000",
        "NaN",
        "inf",
        "1_000",
        "1 000",
        "1.-1",
        "1.+1",
        "1.5 ",
        "١.٠٠",
        "1.0a",
        "a",
        "--1",
        "100000000.00",
        "999999999999999999999999999999",
        "1.9999999999999999999",
    };
    static const struct text WITH_NUL = {"1\0", 2};
    static const struct text ABSENT = {NULL, 0};
    struct money money = {.minor = 4711, .currency = "XXX"};
    for (size_t i = 0; i < COUNT(ROWS); i++)
        if (money_parse(text_from(ROWS[i]), RUB, &money))
            fail_msg("%s was accepted", ROWS[i]);
    assert_false(money_parse(WITH_NUL, RUB, &money));
    assert_false(money_parse(ABSENT, RUB, &money));
    assert_int_equal(money.minor, 4711);
    assert_string_equal(money.currency, "XXX");
}

static void test_currency(void **state)
{
    (void)state;
    static const char *const ROWS[] = {"", "RU", "RUBL", "rub", "RU1", "RU ", "Rub", "РУБ"};
    struct money money = {.minor = 4711};
    for (size_t i = 0; i < COUNT(ROWS); i++)
        if (money_parse(TEXT_LITERAL("1.00"), text_from(ROWS[i]), &money))
            fail_msg("%s was accepted", ROWS[i]);
    assert_false(money_parse(TEXT_LITERAL("1.00"), (struct text){NULL, 0}, &money));
    assert_int_equal(money.minor, 4711);
    assert_true(money_parse(TEXT_LITERAL("1.00"), TEXT_LITERAL("USD"), &money));
    assert_string_equal(money.currency, "USD");
}

static void test_equal(void **state)
{
    (void)state;
    struct money a = {10000, "RUB"};
    struct money same = {10000, "RUB"};
    struct money other_amount = {9999, "RUB"};
    struct money other_currency = {10000, "USD"};
    assert_true(money_equal(&a, &same));
    assert_false(money_equal(&a, &other_amount));
    assert_false(money_equal(&a, &other_currency));
}

/* Every amount of a range: the text of one is the text of no other. */
static void test_round_trip(void **state)
{
    (void)state;
    for (int64_t minor = 0; minor <= 9999999999; minor += minor < 200000 ? 1 : 99999) {
        struct money money = {minor, "RUB"};
        struct money back;
        char formatted[MONEY_TEXT_SIZE];
        money_format(&money, formatted);
        assert_true(money_parse(text_from(formatted), RUB, &back));
        assert_true(money_equal(&money, &back));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_currency),   cmocka_unit_test(test_equal),
        cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
