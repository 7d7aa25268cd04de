/* Arrays as PostgreSQL takes them: the bytes of array_send. */
#include "database/array.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void assert_bytes(struct buffer *buffer, const void *expected, size_t len)
{
    struct text text = buffer_text(buffer);
    assert_int_equal(buffer_error(buffer), ERROR_OK);
    assert_int_equal(text.len, len);
    assert_memory_equal(text.data, expected, len);
    buffer_done(buffer);
}

static void test_numbers(void **state)
{
    (void)state;
    struct buffer buffer;
    const struct param values[] = {PARAM_INT4(-2), PARAM_INT4_NULLABLE(7, false)};
    buffer_init(&buffer, 1024);
    array_begin(&buffer, SQL_INT4, 2);
    for (size_t i = 0; i < 2; i++)
        array_append(&buffer, &values[i]);
    /* dimensions, nulls, type 23, length, lower bound; -2; zero for NULL */
    static const char EXPECTED[] = "\0\0\0\1\0\0\0\0\0\0\0\x17\0\0\0\2\0\0\0\1"
                                   "\0\0\0\4\xff\xff\xff\xfe\0\0\0\4\0\0\0\0";
    assert_bytes(&buffer, EXPECTED, sizeof(EXPECTED) - 1);
}

static void test_long_numbers(void **state)
{
    (void)state;
    struct buffer buffer;
    const struct param values[] = {PARAM_INT8(INT64_C(0x0102030405060708)),
                                   PARAM_INT8_NULLABLE(9, false)};
    buffer_init(&buffer, 1024);
    array_begin(&buffer, SQL_INT8, 2);
    for (size_t i = 0; i < 2; i++)
        array_append(&buffer, &values[i]);
    static const char EXPECTED[] = "\0\0\0\1\0\0\0\0\0\0\0\x14\0\0\0\2\0\0\0\1"
                                   "\0\0\0\x8\1\2\3\4\5\6\7\x8"
                                   "\0\0\0\x8\0\0\0\0\0\0\0\0";
    assert_bytes(&buffer, EXPECTED, sizeof(EXPECTED) - 1);
}

static void test_texts(void **state)
{
    (void)state;
    struct buffer buffer;
    const struct text absent = {NULL, 0};
    const struct param values[] = {PARAM_TEXT(TEXT_LITERAL("ab")), PARAM_TEXT(absent),
                                   PARAM_TEXT(TEXT_LITERAL(""))};
    buffer_init(&buffer, 1024);
    array_begin(&buffer, SQL_TEXT, 3);
    for (size_t i = 0; i < 3; i++)
        array_append(&buffer, &values[i]);
    static const char EXPECTED[] = "\0\0\0\1\0\0\0\1\0\0\0\x19\0\0\0\3\0\0\0\1"
                                   "\0\0\0\2"
                                   "ab"
                                   "\xff\xff\xff\xff\0\0\0\0";
    assert_bytes(&buffer, EXPECTED, sizeof(EXPECTED) - 1);
}

static void test_uuids(void **state)
{
    (void)state;
    struct buffer buffer;
    struct uuid id;
    memcpy(id.bytes, "0123456789abcdef", sizeof(id.bytes));
    const struct param value = PARAM_UUID(id);
    buffer_init(&buffer, 1024);
    array_begin(&buffer, SQL_UUID, 1);
    array_append(&buffer, &value);
    static const char EXPECTED[] = "\0\0\0\1\0\0\0\0\0\0\x0b\x86\0\0\0\1\0\0\0\1"
                                   "\0\0\0\x10"
                                   "0123456789abcdef";
    assert_bytes(&buffer, EXPECTED, sizeof(EXPECTED) - 1);
}

static void test_empty(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 1024);
    array_begin(&buffer, SQL_INT4, 0);
    assert_bytes(&buffer, "\0\0\0\0\0\0\0\0\0\0\0\x17", 12);
}

static void test_too_large(void **state)
{
    (void)state;
    struct buffer buffer;
    const struct param value = PARAM_TEXT(TEXT_LITERAL("more than there is room for"));
    buffer_init(&buffer, 32);
    array_begin(&buffer, SQL_TEXT, 1);
    array_append(&buffer, &value);
    assert_true(buffer_error(&buffer) != ERROR_OK);
    buffer_done(&buffer);
}

int main(void)
{
    static const struct CMUnitTest TESTS[] = {
        cmocka_unit_test(test_numbers), cmocka_unit_test(test_long_numbers),
        cmocka_unit_test(test_texts),   cmocka_unit_test(test_uuids),
        cmocka_unit_test(test_empty),   cmocka_unit_test(test_too_large),
    };
    return cmocka_run_group_tests(TESTS, NULL, NULL);
}
