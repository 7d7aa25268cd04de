/* The delays between the starts of a process that keeps dying. */
#include "supervisor/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_doubles_up_to_the_cap(void **state)
{
    (void)state;
    static const int64_t DELAYS_MS[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000};
    struct backoff backoff = {0};
    for (size_t i = 0; i < sizeof(DELAYS_MS) / sizeof(DELAYS_MS[0]); i++)
        assert_int_equal(backoff_next(&backoff, 0), DELAYS_MS[i]);
}

static void test_a_long_life_begins_anew(void **state)
{
    (void)state;
    struct backoff backoff = {0};
    for (int i = 0; i < 10; i++)
        assert_true(backoff_next(&backoff, BACKOFF_RESET_MS - 1) >= BACKOFF_MS_FIRST);
    assert_int_equal(backoff_next(&backoff, BACKOFF_RESET_MS - 1), BACKOFF_MS_MAX);
    assert_int_equal(backoff_next(&backoff, BACKOFF_RESET_MS), BACKOFF_MS_FIRST);
    assert_int_equal(backoff_next(&backoff, 0), 2 * BACKOFF_MS_FIRST);
}

static void test_reset(void **state)
{
    (void)state;
    struct backoff backoff = {0};
    backoff_next(&backoff, 0);
    backoff_next(&backoff, 0);
    backoff_reset(&backoff);
    assert_int_equal(backoff_next(&backoff, 0), BACKOFF_MS_FIRST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doubles_up_to_the_cap),
        cmocka_unit_test(test_a_long_life_begins_anew),
        cmocka_unit_test(test_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
