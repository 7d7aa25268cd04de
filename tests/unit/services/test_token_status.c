/* What the balance answer says, and until when it may be said again. */
#include "services/token_status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000)
#define DAY (86400 * SECOND)

enum { TODAY = 20000 }; /* 2024-10-04 */
#define NOON (TODAY * DAY + 12 * 3600 * SECOND)

/* Of a host whose clock is the database's; a free plan. */
static struct token_row make_row(void)
{
    return (struct token_row){
        .balance = 5,
        .held = 2,
        .server_date = TODAY,
        .as_of = NOON,
        .plan = TEXT_LITERAL("free"),
        .plan_quality = TEXT_LITERAL("1K"),
        .has_daily_generations = true,
        .daily_generations = 3,
        .generations_today = 1,
    };
}

static struct token_status fill(const struct token_row *row, int64_t asked_us)
{
    struct token_status status;
    assert_int_equal(token_status_fill(row, asked_us, &status), ERROR_OK);
    return status;
}

static void test_fill(void **state)
{
    (void)state;
    struct token_row row = make_row();
    struct token_status status = fill(&row, NOON + 7);
    assert_int_equal(status.balance, 5);
    assert_int_equal(status.held, 2);
    assert_int_equal(status.server_date, TODAY);
    assert_true(status.as_of == NOON);
    assert_true(status.clock_offset == -7);
    assert_true(status.valid_until == INT64_MAX);
    assert_string_equal(status.plan, "free");
    assert_string_equal(status.max_quality, "1K");
}

static void test_bonus(void **state)
{
    (void)state;
    static const struct {
        bool claimed_before;
        int32_t last_bonus_date;
        bool can_claim;
    } ROWS[] = {
        {false, 0, true},
        {true, TODAY - 1, true},
        {true, TODAY, false},
        {true, TODAY + 1, false}, /* of a clock that went back */
    };
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        struct token_row row = make_row();
        row.has_last_bonus_date = ROWS[i].claimed_before;
        row.last_bonus_date = ROWS[i].last_bonus_date;
        assert_int_equal(fill(&row, NOON).can_claim_bonus, ROWS[i].can_claim);
    }
}

static void test_free_generations(void **state)
{
    (void)state;
    static const struct {
        int32_t daily, today, remaining;
    } ROWS[] = {{3, 0, 3}, {3, 1, 2}, {3, 3, 0}, {3, 9, 0}, {0, 0, 0}};
    struct token_row row = make_row();
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        row.daily_generations = ROWS[i].daily;
        row.generations_today = ROWS[i].today;
        struct token_status status = fill(&row, NOON);
        assert_false(status.unlimited);
        assert_int_equal(status.free_total, ROWS[i].daily);
        assert_int_equal(status.free_remaining, ROWS[i].remaining);
    }
    row.has_daily_generations = false;
    assert_true(fill(&row, NOON).unlimited);
}

static void test_names_that_do_not_fit(void **state)
{
    (void)state;
    struct token_status status;
    struct token_row row = make_row();
    row.plan = TEXT_LITERAL("a plan of 20 letters");
    assert_int_equal(token_status_fill(&row, NOON, &status), ERROR_INTERNAL);
    row = make_row();
    row.plan_quality = TEXT_LITERAL("8 bytes.");
    assert_int_equal(token_status_fill(&row, NOON, &status), ERROR_INTERNAL);
}

static void test_is_current(void **state)
{
    (void)state;
    const int64_t midnight = (TODAY + 1) * DAY;
    const struct {
        int64_t offset;      /* the database's clock less the host's */
        int64_t hold_expiry; /* 0: no hold */
        int64_t database_now;
        bool current;
    } rows[] = {
        {0, 0, NOON, true},
        {0, 0, midnight - 1, true},
        {0, 0, midnight, false},
        {0, 0, TODAY * DAY, true},
        {0, 0, TODAY * DAY - 1, false},
        {0, NOON + SECOND, NOON + SECOND - 1, true},
        {0, NOON + SECOND, NOON + SECOND, false},
        {0, midnight + SECOND, midnight, false},
        /* Days and expiries are the database's, whatever the host's clock says. */
        {13 * 3600 * SECOND, 0, NOON, true},
        {13 * 3600 * SECOND, 0, midnight, false},
        {-DAY, NOON + SECOND, NOON + SECOND - 1, true},
        {-DAY, NOON + SECOND, NOON + SECOND, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct token_row row = make_row();
        row.has_next_hold_expiry = rows[i].hold_expiry != 0;
        row.next_hold_expiry = rows[i].hold_expiry;
        struct token_status status = fill(&row, NOON - rows[i].offset);
        int64_t now_us = rows[i].database_now - rows[i].offset;
        if (token_status_is_current(&status, now_us) != rows[i].current)
            fail_msg("row %zu: expected %s", i, rows[i].current ? "current" : "not current");
    }
}

int main(void)
{
    static const struct CMUnitTest TESTS[] = {
        cmocka_unit_test(test_fill),
        cmocka_unit_test(test_bonus),
        cmocka_unit_test(test_free_generations),
        cmocka_unit_test(test_names_that_do_not_fit),
        cmocka_unit_test(test_is_current),
    };
    return cmocka_run_group_tests(TESTS, NULL, NULL);
}
