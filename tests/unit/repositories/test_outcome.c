/* Words of the database become values; one that is not known becomes none of them. */
#include "repositories/outcome.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

enum colour { RED, WHITE, UNNAMED, BLUE };

static const char *const WORDS[] = {[RED] = "red", [WHITE] = "white", [BLUE] = "blue"};

static void test_read(void **state)
{
    (void)state;
    int outcome = -1;
    assert_int_equal(OUTCOME_READ(WORDS, TEXT_LITERAL("red"), &outcome), ERROR_OK);
    assert_int_equal(outcome, RED);
    assert_int_equal(OUTCOME_READ(WORDS, TEXT_LITERAL("white"), &outcome), ERROR_OK);
    assert_int_equal(outcome, WHITE);
    assert_int_equal(OUTCOME_READ(WORDS, TEXT_LITERAL("blue"), &outcome), ERROR_OK);
    assert_int_equal(outcome, BLUE);
}

static void test_unknown(void **state)
{
    (void)state;
    static const struct text ROWS[] = {
        {NULL, 0},           TEXT_LITERAL(""),      TEXT_LITERAL("re"), TEXT_LITERAL("redd"),
        TEXT_LITERAL("Red"), TEXT_LITERAL("green"),
    };
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        int outcome = -1;
        assert_int_equal(OUTCOME_READ(WORDS, ROWS[i], &outcome), ERROR_INTERNAL);
        assert_int_equal(outcome, -1);
    }
}

int main(void)
{
    static const struct CMUnitTest TESTS[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_unknown),
    };
    return cmocka_run_group_tests(TESTS, NULL, NULL);
}
