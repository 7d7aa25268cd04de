/* Binary values: the exact bytes of each type, there and back, infinities and wrong lengths. */
#include "database/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define BYTES(literal) (literal), sizeof(literal) - 1

#define PARAM_BOOL(value) ((struct param){.type = SQL_BOOL, .boolean = (value)})
#define PARAM_DATE(value) ((struct param){.type = SQL_DATE, .int4 = (value)})

static void test_encode(void **state)
{
    (void)state;
    static const struct uuid ID = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255}};
    const struct {
        struct param param;
        unsigned oid;
        const char *bytes;
        size_t len;
    } rows[] = {
        {PARAM_BOOL(true), 16, BYTES("\1")},
        {PARAM_BOOL(false), 16, BYTES("\0")},
        {PARAM_INT4(0x01020304), 23, BYTES("\1\2\3\4")},
        {PARAM_INT4(-1), 23, BYTES("\377\377\377\377")},
        {PARAM_INT4(INT32_MIN), 23, BYTES("\200\0\0\0")},
        {PARAM_INT8(0x0102030405060708), 20, BYTES("\1\2\3\4\5\6\7\10")},
        {PARAM_INT8(INT64_MIN), 20, BYTES("\200\0\0\0\0\0\0\0")},
        {PARAM_DATE(10957), 1082, BYTES("\0\0\0\0")}, /* 2000-01-01 */
        {PARAM_DATE(0), 1082, BYTES("\377\377\325\63")},
        {PARAM_TIMESTAMP(WIRE_EPOCH_US), 1114, BYTES("\0\0\0\0\0\0\0\0")},
        {PARAM_TIMESTAMP(WIRE_EPOCH_US + 258), 1114, BYTES("\0\0\0\0\0\0\1\2")},
        {PARAM_TIMESTAMP(SQL_TIMESTAMP_MAX), 1114, BYTES("\177\377\377\377\377\377\377\377")},
        {PARAM_TIMESTAMP(SQL_TIMESTAMP_MIN), 1114, BYTES("\200\0\0\0\0\0\0\0")},
        {PARAM_UUID(ID), 2950, BYTES("\0\1\2\3\4\5\6\7\10\11\12\13\14\15\16\377")},
        {PARAM_TEXT(TEXT_LITERAL("'; DROP TABLE users; --")), 25, BYTES("'; DROP TABLE users; --")},
        {PARAM_TEXT(TEXT_LITERAL("")), 25, BYTES("")},
    };
    struct param params[COUNT(rows)];
    struct wire_params wire;
    _Static_assert(COUNT(rows) <= PARAMS_MAX, "one call takes them all");
    for (size_t i = 0; i < COUNT(rows); i++)
        params[i] = rows[i].param;
    wire_encode(params, COUNT(rows), &wire);
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(wire.types[i], rows[i].oid);
        assert_int_equal(wire.formats[i], 1);
        assert_non_null(wire.values[i]);
        assert_int_equal(wire.lengths[i], rows[i].len);
        assert_memory_equal(wire.values[i], rows[i].bytes, rows[i].len);
    }
}

static void test_null(void **state)
{
    (void)state;
    struct wire_params wire;
    struct text absent = {NULL, 0};
    for (int type = 0; type < SQL_TYPE_COUNT; type++) {
        struct param param = {.type = (enum sql_type)type, .is_null = true};
        wire_encode(&param, 1, &wire);
        assert_null(wire.values[0]);
        assert_int_equal(wire.types[0], sql_type_oid((enum sql_type)type));
        assert_true(sql_type_name((enum sql_type)type)[0] != '\0');
    }
    struct param param = PARAM_TEXT(absent);
    wire_encode(&param, 1, &wire);
    assert_null(wire.values[0]);
    wire_encode(NULL, 0, &wire);
}

static int64_t round_trip_int8(struct param param)
{
    struct wire_params wire;
    int64_t value = 42;
    wire_encode(&param, 1, &wire);
    assert_true(wire_decode(param.type, wire.values[0], (size_t)wire.lengths[0], &value));
    return value;
}

static int32_t round_trip_int4(struct param param)
{
    struct wire_params wire;
    int32_t value = 42;
    wire_encode(&param, 1, &wire);
    assert_true(wire_decode(param.type, wire.values[0], (size_t)wire.lengths[0], &value));
    return value;
}

static void test_round_trip(void **state)
{
    (void)state;
    static const int64_t INT8S[] = {0, 1, -1, INT32_MIN, INT64_MAX, INT64_MIN};
    static const int64_t TIMES[] = {0,
                                    -1,
                                    1795000000123456,
                                    -62135596800000000,
                                    253402300799999999,
                                    SQL_TIMESTAMP_MIN,
                                    SQL_TIMESTAMP_MAX,
                                    -210866803200000000,
                                    SQL_TIMESTAMP_MAX - 1};
    static const int32_t DATES[] = {0, -1, 10956, 10957, 20000, -719162, 2932896};
    for (size_t i = 0; i < COUNT(INT8S); i++)
        assert_int_equal(round_trip_int8(PARAM_INT8(INT8S[i])), INT8S[i]);
    for (size_t i = 0; i < COUNT(TIMES); i++)
        assert_int_equal(round_trip_int8(PARAM_TIMESTAMP(TIMES[i])), TIMES[i]);
    for (size_t i = 0; i < COUNT(DATES); i++) {
        assert_int_equal(round_trip_int4(PARAM_DATE(DATES[i])), DATES[i]);
        assert_int_equal(round_trip_int4(PARAM_INT4(DATES[i])), DATES[i]);
    }
}

/* Values at the edge of PostgreSQL's types, which only a hand-written row can hold. */
static void test_decode_edges(void **state)
{
    (void)state;
    int64_t time = 42;
    int32_t date = 42;
    bool flag = false;
    struct text text = {NULL, 0};
    assert_true(wire_decode(SQL_DATE, BYTES("\177\377\377\377"), &date));
    assert_int_equal(date, INT32_MAX); /* infinity */
    assert_true(wire_decode(SQL_DATE, BYTES("\200\0\0\0"), &date));
    assert_int_equal(date, INT32_MIN);
    assert_true(wire_decode(SQL_TIMESTAMP, BYTES("\177\377\377\377\377\377\377\377"), &time));
    assert_int_equal(time, SQL_TIMESTAMP_MAX);
    /* 294276-12-31: beyond what the program can count to from 1970. */
    assert_true(wire_decode(SQL_TIMESTAMP, BYTES("\177\377\374\240\0\0\0\0"), &time));
    assert_int_equal(time, SQL_TIMESTAMP_MAX);
    assert_true(wire_decode(SQL_BOOL, BYTES("\2"), &flag));
    assert_true(flag);
    assert_true(wire_decode(SQL_TEXT, "", 0, &text));
    assert_non_null(text.data);
    assert_int_equal(text.len, 0);
}

static void test_wrong_lengths(void **state)
{
    (void)state;
    static const size_t LENGTHS[SQL_TYPE_COUNT] = {
        [SQL_BOOL] = 1,  [SQL_INT4] = 4, [SQL_INT8] = 8,
        [SQL_UUID] = 16, [SQL_DATE] = 4, [SQL_TIMESTAMP] = 8,
    };
    for (int type = 0; type < SQL_TYPE_COUNT; type++) {
        if (type == SQL_TEXT || type >= SQL_UUID_ARRAY)
            continue;
        for (size_t len = 0; len < 20; len++) {
            char *data = calloc(1, len + 1);
            char field[32];
            char untouched[32];
            assert_non_null(data);
            memset(field, 0x5A, sizeof(field));
            memset(untouched, 0x5A, sizeof(untouched));
            bool good = wire_decode((enum sql_type)type, data, len, field);
            assert_int_equal(good, len == LENGTHS[type]);
            if (!good)
                assert_memory_equal(field, untouched, sizeof(field));
            free(data);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encode),        cmocka_unit_test(test_null),
        cmocka_unit_test(test_round_trip),    cmocka_unit_test(test_decode_edges),
        cmocka_unit_test(test_wrong_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
