/* Slices: comparison, trimming, lists, secrets, UTF-8 and whole numbers. */
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ABSENT ((struct text){NULL, 0})

static void test_equality(void **state)
{
    (void)state;
    assert_true(text_equal(TEXT_LITERAL("abc"), TEXT_LITERAL("abc")));
    assert_true(text_equal(TEXT_LITERAL("a\0b"), TEXT_LITERAL("a\0b")));
    assert_false(text_equal(TEXT_LITERAL("a\0b"), TEXT_LITERAL("a\0c")));
    assert_false(text_equal(TEXT_LITERAL("abc"), TEXT_LITERAL("ab")));
    assert_true(text_equal(ABSENT, ABSENT));
    assert_false(text_equal(ABSENT, TEXT_LITERAL("")));
    assert_false(text_equal(TEXT_LITERAL(""), ABSENT));
    assert_true(text_equal(text_from(NULL), ABSENT));

    assert_true(text_equal_nocase(TEXT_LITERAL("AbC"), "aBc"));
    assert_false(text_equal_nocase(TEXT_LITERAL("abc"), "ab"));
    assert_false(text_equal_nocase(ABSENT, ""));
    assert_true(text_starts_nocase(TEXT_LITERAL("Device x"), "device "));
    assert_false(text_starts_nocase(TEXT_LITERAL("Dev"), "device"));
    assert_false(text_starts_nocase(ABSENT, ""));
}

static void test_secret_equality(void **state)
{
    (void)state;
    static const struct {
        struct text a, b;
        bool equal;
    } ROWS[] = {
        {TEXT_LITERAL("secret"), TEXT_LITERAL("secret"), true},
        {TEXT_LITERAL("secret"), TEXT_LITERAL("secreT"), false},
        {TEXT_LITERAL("secret"), TEXT_LITERAL("secre"), false},
        {TEXT_LITERAL("aa"), TEXT_LITERAL("a"), false},
        {TEXT_LITERAL("a"), TEXT_LITERAL("aa"), false},
        {TEXT_LITERAL(""), TEXT_LITERAL(""), true},
        {TEXT_LITERAL(""), TEXT_LITERAL("x"), false},
        {TEXT_LITERAL("x"), TEXT_LITERAL(""), false},
        {TEXT_LITERAL("\0"), TEXT_LITERAL(""), false},
        {ABSENT, ABSENT, false},
        {ABSENT, TEXT_LITERAL(""), false},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++)
        assert_int_equal(text_equal_secret(ROWS[i].a, ROWS[i].b), ROWS[i].equal);
}

static void test_lists(void **state)
{
    (void)state;
    static const struct {
        const char *list;
        const char *items[5]; /* up to NULL */
    } ROWS[] = {
        {"a", {"a"}},    {"a, b ,\tc", {"a", "b", "c"}}, {"", {""}},
        {",", {"", ""}}, {" a b ,", {"a b", ""}},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct text rest = text_from(ROWS[i].list);
        struct text item;
        for (size_t n = 0; ROWS[i].items[n]; n++) {
            assert_true(text_next_item(&rest, ',', &item));
            assert_true(text_equal(item, text_from(ROWS[i].items[n])));
        }
        assert_false(text_next_item(&rest, ',', &item));
        assert_false(text_next_item(&rest, ',', &item));
    }
    struct text none = ABSENT;
    struct text item;
    assert_false(text_next_item(&none, ',', &item));
    assert_true(text_equal(text_trim(TEXT_LITERAL(" \t ")), TEXT_LITERAL("")));
    assert_null(text_trim(ABSENT).data);
}

static void test_utf8(void **state)
{
    (void)state;
    static const struct {
        struct text text;
        bool good;
    } ROWS[] = {
        {TEXT_LITERAL(""), true},
        {TEXT_LITERAL("plain"), true},
        {TEXT_LITERAL("\x7F"), true},
        {TEXT_LITERAL("\x80"), false},
        {TEXT_LITERAL("Привет"), true},
        {TEXT_LITERAL("\xC2\x80"), true},
        {TEXT_LITERAL("\xC1\xBF"), false}, /* overlong */
        {TEXT_LITERAL("\xE0\xA0\x80"), true},
        {TEXT_LITERAL("\xE0\x9F\xBF"), false}, /* overlong */
        {TEXT_LITERAL("\xED\x9F\xBF"), true},
        {TEXT_LITERAL("\xED\xA0\x80"), false}, /* surrogate */
        {TEXT_LITERAL("\xED\xBF\xBF"), false}, /* surrogate */
        {TEXT_LITERAL("\xEE\x80\x80"), true},
        {TEXT_LITERAL("\xF0\x90\x80\x80"), true},
        {TEXT_LITERAL("\xF0\x8F\xBF\xBF"), false}, /* overlong */
        {TEXT_LITERAL("\xF4\x8F\xBF\xBF"), true},  /* U+10FFFF */
        {TEXT_LITERAL("\xF4\x90\x80\x80"), false}, /* beyond it */
        {TEXT_LITERAL("\xF5\x80\x80\x80"), false},
        {TEXT_LITERAL("\xFF"), false},
        {TEXT_LITERAL("\xE2\x82"), false}, /* cut off */
        {TEXT_LITERAL("\xF0\x9F\x98"), false},
        {TEXT_LITERAL("\xC3("), false},
        {TEXT_LITERAL("a\0b"), true},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++)
        assert_int_equal(text_is_utf8(ROWS[i].text), ROWS[i].good);
    assert_true(text_is_utf8(ABSENT));
}

/* Each code point in its shortest form is good, and bad once its last byte is missing. */
static void test_every_code_point(void **state)
{
    (void)state;
    for (uint32_t c = 0x80; c <= 0x10FFFF; c += c < 0x3000 ? 1 : 37) {
        char bytes[4];
        size_t len = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        for (size_t i = len - 1; i > 0; i--)
            bytes[i] = (char)(0x80 | (c >> (6 * (len - 1 - i)) & 0x3F));
        unsigned lead = len == 2 ? 0xC0 : len == 3 ? 0xE0 : 0xF0;
        bytes[0] = (char)(lead | c >> (6 * (len - 1)));
        bool surrogate = c >= 0xD800 && c <= 0xDFFF;
        assert_int_equal(text_is_utf8((struct text){bytes, len}), !surrogate);
        /* On the heap, so that a read past the end is seen. */
        char *cut = malloc(len - 1);
        assert_non_null(cut);
        memcpy(cut, bytes, len - 1);
        assert_false(text_is_utf8((struct text){cut, len - 1}));
        free(cut);
    }
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
        int64_t value;
    } ROWS[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"007", true, 7},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"99999999999999999999999", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1.0", false, 0},
        {"1e3", false, 0},
        {"--1", false, 0},
        {"0x10", false, 0},
        {"٣", false, 0},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        int64_t value = 42;
        assert_int_equal(text_to_int64(text_from(ROWS[i].text), &value), ROWS[i].good);
        assert_int_equal(value, ROWS[i].good ? ROWS[i].value : 42);
    }
    int64_t value = 42;
    assert_false(text_to_int64(ABSENT, &value));
}

static void test_copy(void **state)
{
    (void)state;
    char buffer[4] = "xyz";
    assert_true(text_copy(TEXT_LITERAL("abc"), buffer, sizeof(buffer)));
    assert_string_equal(buffer, "abc");
    assert_false(text_copy(TEXT_LITERAL("abcd"), buffer, sizeof(buffer)));
    assert_string_equal(buffer, "");
    assert_true(text_copy(ABSENT, buffer, 1));
    assert_string_equal(buffer, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equality),
        cmocka_unit_test(test_secret_equality),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_every_code_point),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
