/* RFC 4648 vectors, each value one text, and what is no base64url at all. */
#include "base/base64url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/uuid.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void test_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *data, *text;
    } ROWS[] = {
        {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
        {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xFB\xFF", "-_8"},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        char text[BASE64URL_SIZE(6)];
        unsigned char data[6];
        size_t len = 42;
        base64url_encode((const unsigned char *)ROWS[i].data, strlen(ROWS[i].data), text);
        assert_string_equal(text, ROWS[i].text);
        assert_true(base64url_decode(text_from(text), data, sizeof(data), &len));
        assert_int_equal(len, strlen(ROWS[i].data));
        assert_memory_equal(data, ROWS[i].data, len);
    }
}

static void test_round_trip_fills_exactly(void **state)
{
    (void)state;
    for (size_t len = 0; len <= 64; len++) {
        /* On the heap and of the exact size, so that one byte too many is seen. */
        unsigned char *data = malloc(len + 1);
        unsigned char *back = malloc(len + 1);
        char *text = malloc(BASE64URL_SIZE(len));
        size_t back_len;
        assert_true(data && back && text);
        for (size_t i = 0; i < len; i++)
            data[i] = uuid_new().bytes[9];
        base64url_encode(data, len, text);
        assert_int_equal(strlen(text) + 1, BASE64URL_SIZE(len));
        assert_true(base64url_decode(text_from(text), back, len, &back_len));
        assert_int_equal(back_len, len);
        assert_memory_equal(back, data, len);
        if (len > 0)
            assert_false(base64url_decode(text_from(text), back, len - 1, &back_len));
        free(data);
        free(back);
        free(text);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const ROWS[] = {
        "A",   "AAAAA", "Zg==", "Zm8=",  "+_8", "-/8", "Zh",
        "Zm9", "Z g",   "Zg\n", "Zm9v.", "Жж",  "-_9",
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        unsigned char data[16];
        size_t len = 42;
        if (base64url_decode(text_from(ROWS[i]), data, sizeof(data), &len))
            fail_msg("accepted: %s", ROWS[i]);
        assert_int_equal(len, 42);
    }
    unsigned char data[16];
    size_t len = 42;
    assert_false(base64url_decode(TEXT_LITERAL("Z\0g"), data, sizeof(data), &len));
    assert_true(base64url_decode((struct text){NULL, 0}, data, sizeof(data), &len));
    assert_int_equal(len, 0);
}

/* Of all texts of two and three characters exactly one a value is accepted. */
static void test_one_text_a_value(void **state)
{
    (void)state;
    static const char ALPHABET[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    int two = 0;
    int three = 0;
    unsigned char data[4];
    size_t len;
    for (int a = 0; a < 64; a++) {
        for (int b = 0; b < 64; b++) {
            char text[] = {ALPHABET[a], ALPHABET[b], 0};
            two += base64url_decode((struct text){text, 2}, data, sizeof(data), &len);
            for (int c = 0; c < 64; c++) {
                text[2] = ALPHABET[c];
                three += base64url_decode((struct text){text, 3}, data, sizeof(data), &len);
            }
        }
    }
    assert_int_equal(two, 256);
    assert_int_equal(three, 65536);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_round_trip_fills_exactly),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_one_text_a_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
