/* Who is calling: every good and bad form of the Authorization header. */
#include "auth/identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static enum error read_header(struct text authorization, struct identity *ret_identity)
{
    struct identity_headers headers = {.authorization = authorization};
    return identity_read(&headers, NULL, ret_identity);
}

static void test_good(void **state)
{
    (void)state;
    static const struct {
        const char *header, *subject;
    } ROWS[] = {
        {"Device device_0123456789abc", "device_0123456789abc"},
        {"device device_0123456789abc", "device_0123456789abc"},
        {"DEVICE device_0123456789abc", "device_0123456789abc"},
        {"  Device   device_0123456789abc \t", "device_0123456789abc"},
        {"Device device_-_-_-_-_-_-_-_", "device_-_-_-_-_-_-_-_"},
        {"Device device_ABCxyz09-_ABCx", "device_ABCxyz09-_ABCx"},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct identity identity;
        assert_int_equal(read_header(text_from(ROWS[i].header), &identity), ERROR_OK);
        assert_int_equal(identity.kind, IDENTITY_DEVICE);
        assert_true(text_equal(identity_subject(&identity), text_from(ROWS[i].subject)));
        assert_memory_equal(identity.key, "device:", 7);
        assert_string_equal(identity.key + 7, ROWS[i].subject);
        assert_int_equal(identity_key(&identity).len, 7 + strlen(ROWS[i].subject));
    }
}

static void test_bad(void **state)
{
    (void)state;
    static const struct text ROWS[] = {
        {NULL, 0},
        TEXT_LITERAL(""),
        TEXT_LITERAL(" "),
        TEXT_LITERAL("Device"),
        TEXT_LITERAL("Device "),
        TEXT_LITERAL("device_0123456789abc"),
        TEXT_LITERAL("Devicedevice_0123456789abc"),
        TEXT_LITERAL("Device device_0123456789ab"), /* 19 */
        TEXT_LITERAL("Device Device_0123456789abc"),
        TEXT_LITERAL("Device  evice_0123456789abcd"),
        TEXT_LITERAL("Device device-0123456789abcd"),
        TEXT_LITERAL("Device device_0123456789 abc"),
        TEXT_LITERAL("Device device_0123456789abc, Device device_0123456789abc"),
        TEXT_LITERAL("Device device_0123456789abc\n"),
        TEXT_LITERAL("Device device_0123456789abc\0"),
        TEXT_LITERAL("Device device_01234\0 6789abc"),
        TEXT_LITERAL("Device device_0123456789abé"),
        TEXT_LITERAL("Device device_'; DROP TABLE users; --"),
        TEXT_LITERAL("Device device_0123456789abc%00"),
        TEXT_LITERAL("Bearer device_0123456789abc"),
        TEXT_LITERAL("Basic ZGV2aWNlXzAxMjM0NTY3ODlhYmM="),
        TEXT_LITERAL("Telegram user=1"),
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct identity identity;
        memset(&identity, 0x5A, sizeof(identity));
        struct identity untouched = identity;
        assert_int_equal(read_header(ROWS[i], &identity), ERROR_UNAUTHORIZED);
        assert_memory_equal(&identity, &untouched, sizeof(identity));
    }
}

/* Each length around the limits, and each byte as the last character. */
static void test_lengths_and_bytes(void **state)
{
    (void)state;
    static const char START[] = "Device device_";
    char header[400];
    struct identity identity;
    memset(header, 'x', sizeof(header));
    memcpy(header, START, strlen(START));
    for (size_t len = 7; len < 300; len++) {
        bool good = len >= 20 && len <= 255;
        /* On the heap and of the exact size, so that a read past the end is seen. */
        char *copy = malloc(7 + len);
        assert_non_null(copy);
        memcpy(copy, header, 7 + len);
        enum error err = read_header((struct text){copy, 7 + len}, &identity);
        assert_int_equal(err, good ? ERROR_OK : ERROR_UNAUTHORIZED);
        free(copy);
    }
    for (int c = 0; c < 256; c++) {
        bool good = c != 0 && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                     "0123456789_-",
                                     c);
        header[30] = (char)c;
        enum error err = read_header((struct text){header, 32}, &identity);
        assert_int_equal(err, good ? ERROR_OK : ERROR_UNAUTHORIZED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_lengths_and_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
