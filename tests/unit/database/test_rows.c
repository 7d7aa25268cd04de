/* Rows of a result, and the rows of a flight: each request's own, out of one result. */
#include "database/rows_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct row {
    struct text outcome;
    bool has_balance;
    int32_t balance;
};

static const struct statement STATEMENT_ALONE = {STATEMENT_COLUMNS(
    struct row, COLUMN(struct row, outcome, TEXT), COLUMN_NULLABLE(struct row, balance, INT4))};

/* With the place in front, as a flight returns it. */
struct placed_row {
    int32_t place;
    struct row answer;
};

static const struct statement STATEMENT_TOGETHER = {
    STATEMENT_COLUMNS(struct placed_row, COLUMN(struct placed_row, place, INT4),
                      COLUMN_OF(struct placed_row, answer, outcome, TEXT),
                      COLUMN_NULLABLE_OF(struct placed_row, answer, balance, INT4))};

static void set_int4(PGresult *result, int row, int column, int32_t value)
{
    char bytes[4] = {(char)(value >> 24), (char)(value >> 16), (char)(value >> 8), (char)value};
    assert_true(PQsetvalue(result, row, column, bytes, sizeof(bytes)));
}

/* Places 2 and 1; the first has no balance. */
static PGresult *make_result(void)
{
    PGresAttDesc columns[] = {
        {.name = (char[]){"place"}, .format = 1, .typid = 23},
        {.name = (char[]){"outcome"}, .format = 1, .typid = 25},
        {.name = (char[]){"balance"}, .format = 1, .typid = 23},
    };
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    assert_non_null(result);
    assert_true(PQsetResultAttrs(result, 3, columns));
    set_int4(result, 0, 0, 2);
    assert_true(PQsetvalue(result, 0, 1, (char[]){"done"}, 4));
    assert_true(PQsetvalue(result, 0, 2, NULL, -1));
    set_int4(result, 1, 0, 1);
    assert_true(PQsetvalue(result, 1, 1, (char[]){"refused"}, 7));
    set_int4(result, 1, 2, -5);
    return result;
}

static struct rows *make_rows(bool repeated)
{
    PGresult *result = make_result();
    assert_true(rows_match(result, &STATEMENT_TOGETHER));
    assert_false(rows_match(result, &STATEMENT_ALONE));
    struct rows *rows = rows_new(result, &STATEMENT_TOGETHER, repeated);
    assert_non_null(rows);
    return rows;
}

static void test_whole(void **state)
{
    (void)state;
    struct rows *rows = make_rows(false);
    struct placed_row row;
    assert_int_equal(rows_count(rows), 2);
    assert_false(rows_repeated(rows));
    rows_read(rows, 0, &row);
    assert_int_equal(row.place, 2);
    assert_true(text_equal(row.answer.outcome, TEXT_LITERAL("done")));
    assert_false(row.answer.has_balance);
    rows_read(rows, 1, &row);
    assert_int_equal(row.place, 1);
    assert_true(row.answer.has_balance);
    assert_int_equal(row.answer.balance, -5);
    assert_int_equal(rows_value(rows, 1, 1).len, 7);
    assert_null(rows_value(rows, 0, 2).data);
    rows_free(rows);
    rows_free(NULL);
}

/* A part outlives the whole and its neighbours, whoever goes first. */
static void test_parts(void **state)
{
    (void)state;
    for (int order = 0; order < 2; order++) {
        struct rows *rows = make_rows(true);
        struct rows *second = rows_part(rows, 0, &STATEMENT_ALONE);
        struct rows *first = rows_part(rows, 1, &STATEMENT_ALONE);
        struct rows *none = rows_part(rows, 2, &STATEMENT_ALONE);
        struct row row;
        rows_free(rows);
        assert_int_equal(rows_count(none), 0);
        assert_int_equal(rows_count(first), 1);
        assert_true(rows_repeated(first));
        rows_free(order == 0 ? none : second);
        rows_read(first, 0, &row);
        assert_true(text_equal(row.outcome, TEXT_LITERAL("refused")));
        assert_true(row.has_balance);
        assert_int_equal(row.balance, -5);
        rows_free(order == 0 ? second : none);
        assert_true(text_equal(row.outcome, TEXT_LITERAL("refused")));
        rows_free(first);
    }
}

int main(void)
{
    static const struct CMUnitTest TESTS[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_parts),
    };
    return cmocka_run_group_tests(TESTS, NULL, NULL);
}
