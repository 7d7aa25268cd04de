/* Growth up to the cap, the first failure that sticks, and what a reset gives back. */
#include "base/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void test_empty(void **state)
{
    (void)state;
    struct buffer buffer = {.data = NULL};
    buffer_done(&buffer);
    buffer_init(&buffer, 10);
    assert_null(buffer.data);
    assert_int_equal(buffer_text(&buffer).len, 0);
    assert_string_equal(buffer_text(&buffer).data, "");
    buffer_append_text(&buffer, (struct text){NULL, 0});
    assert_int_equal(buffer_error(&buffer), ERROR_OK);
    assert_string_equal(buffer.data, "");
    buffer_done(&buffer);
    assert_int_equal(buffer.max, 10);
}

/* Every cap near a power of two, filled exactly, then one byte more. */
static void test_cap(void **state)
{
    (void)state;
    static const size_t CAPS[] = {0, 1, 511, 512, 513, 1023, 1024, 1025, 70000};
    for (size_t i = 0; i < COUNT(CAPS); i++) {
        struct buffer buffer;
        buffer_init(&buffer, CAPS[i]);
        for (size_t n = 0; n < CAPS[i]; n++)
            buffer_append_char(&buffer, 'x');
        assert_int_equal(buffer_error(&buffer), ERROR_OK);
        assert_int_equal(buffer.len, CAPS[i]);
        buffer_append_char(&buffer, 'y');
        assert_int_equal(buffer_error(&buffer), ERROR_BODY_TOO_LARGE);
        assert_int_equal(buffer.len, CAPS[i]);
        if (CAPS[i] > 0)
            assert_int_equal(strlen(buffer.data), CAPS[i]);
        buffer_done(&buffer);
    }
}

static void test_failure_sticks(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 4);
    buffer_append_string(&buffer, "abc");
    buffer_append_string(&buffer, "de");
    buffer_append_char(&buffer, 'd'); /* would fit, but the document has a hole */
    assert_null(buffer_reserve(&buffer, 0));
    buffer_append_int(&buffer, 1);
    buffer_append_format(&buffer, "%d", 1);
    assert_int_equal(buffer_error(&buffer), ERROR_BODY_TOO_LARGE);
    assert_string_equal(buffer.data, "abc");
    buffer_reset(&buffer, 1024);
    assert_int_equal(buffer_error(&buffer), ERROR_OK);
    assert_string_equal(buffer.data, "");
    buffer_append_string(&buffer, "abcd");
    assert_string_equal(buffer.data, "abcd");
    buffer_done(&buffer);
}

static void test_huge_length(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 100);
    buffer_append_string(&buffer, "x");
    assert_null(buffer_reserve(&buffer, SIZE_MAX));
    assert_int_equal(buffer_error(&buffer), ERROR_BODY_TOO_LARGE);
    buffer_done(&buffer);
}

static void test_reset_gives_memory_back(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 100000);
    assert_non_null(buffer_reserve(&buffer, 50000));
    buffer_commit(&buffer, 0);
    buffer_reset(&buffer, 1000);
    assert_null(buffer.data);
    assert_int_equal(buffer.capacity, 0);
    assert_int_equal(buffer.max, 100000);
    buffer_append_string(&buffer, "small");
    const char *data = buffer.data;
    buffer_reset(&buffer, 1000);
    assert_ptr_equal(buffer.data, data);
    buffer_done(&buffer);
}

static void test_numbers_and_formats(void **state)
{
    (void)state;
    static const int64_t NUMBERS[] = {0, 1, -1, 9, 10, -10, INT32_MAX, INT64_MAX, INT64_MIN};
    struct buffer buffer;
    buffer_init(&buffer, 2000);
    for (size_t i = 0; i < COUNT(NUMBERS); i++) {
        char expected[32];
        snprintf(expected, sizeof(expected), "%lld", (long long)NUMBERS[i]);
        buffer_reset(&buffer, 2000);
        buffer_append_int(&buffer, NUMBERS[i]);
        assert_string_equal(buffer.data, expected);
    }
    buffer_reset(&buffer, 2000);
    buffer_append_format(&buffer, "%s-%0900d", "a", 7);
    assert_int_equal(buffer.len, 902);
    assert_int_equal(buffer.data[901], '7');
    buffer_append_format(&buffer, "%s", "");
    assert_int_equal(buffer.len, 902);
    buffer_done(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_cap),
        cmocka_unit_test(test_failure_sticks),
        cmocka_unit_test(test_huge_length),
        cmocka_unit_test(test_reset_gives_memory_back),
        cmocka_unit_test(test_numbers_and_formats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
