/*
 * Who is calling: every good and bad form of the Authorization header, and cookies. What a token is
 * worth is the test's own matter (test_clerk.c has the real one): auth/identity.c is compiled here
 * once more, under other names.
 */
#define clerk_verify fake_clerk_verify
#define identity_digest tested_identity_digest
#define identity_from_device tested_identity_from_device
#define identity_key tested_identity_key
#define identity_prefix tested_identity_prefix
#define identity_read tested_identity_read
#define identity_service_key tested_identity_service_key
#define identity_subject tested_identity_subject
#include "auth/identity.c" /* NOLINT: see above */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int verified; /* tokens, since the last look */

/* In place of auth/clerk.c: "NAME@SECONDS" is a token of NAME, issued then. */
enum error clerk_verify(struct clerk *clerk, struct text token, struct session_claims *ret_claims)
{
    char string[64];
    long seconds;
    assert_null(clerk);
    verified++;
    if (text_equal(token, TEXT_LITERAL("unknown")))
        return ERROR_IDENTITY_UNAVAILABLE;
    if (text_equal(token, TEXT_LITERAL("no memory")))
        return ERROR_NO_MEMORY;
    struct session_claims claims = {.expires_at_unix = 1};
    if (!text_copy(token, string, sizeof(string)) ||
        sscanf(string, "%40[a-z]@%ld", claims.subject, &seconds) != 2)
        return ERROR_UNAUTHORIZED;
    claims.issued_at_unix = seconds;
    *ret_claims = claims;
    return ERROR_OK;
}

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

static const struct {
    const char *cookie, *subject; /* NULL: refused as err says */
    enum error err;
    int verified;
} COOKIES[] = {
    {"__session=anna@1", "anna", ERROR_OK, 1},
    {"a=b; __session=anna@1; c=d", "anna", ERROR_OK, 1},
    {"__session_a1B2c3D4=anna@1", "anna", ERROR_OK, 1},
    {"__session_a1B2-_D4=anna@1", "anna", ERROR_OK, 1},
    {"__session=anna@1;__session_x=anna@1", "anna", ERROR_OK, 1},
    /* Stale before good, and good before stale. */
    {"__session=stale; __session=anna@1", "anna", ERROR_OK, 2},
    {"__session=anna@1; __session=stale", "anna", ERROR_OK, 2},
    {"__session=stale; __session_x=anna@1", "anna", ERROR_OK, 2},
    {"__session_foreign=foreign; __session_own=anna@1", "anna", ERROR_OK, 2},
    {"__session_own=anna@1; __session_foreign=foreign", "anna", ERROR_OK, 2},
    {"__session=; __session_x=; __session_y=anna@1", "anna", ERROR_OK, 1},
    /* The newest counts, the first of equals. */
    {"__session=anna@1; __session_x=boris@2", "boris", ERROR_OK, 2},
    {"__session=boris@2; __session_x=anna@1", "boris", ERROR_OK, 2},
    {"__session=boris@2; __session_x=anna@2", "boris", ERROR_OK, 2},
    {"__session=a@3; __session_x=b@1; __session_y=c@9; __session_z=d@2", "c", ERROR_OK, 4},
    /* Four are tried, each once. */
    {"__session=a; __session_x=b; __session_y=c; __session_z=d@1", "d", ERROR_OK, 4},
    {"__session=a; __session=b; __session=c; __session=d; __session=e@1", NULL, ERROR_UNAUTHORIZED,
     4},
    {"__session=a; __session_x=a; __session_y=a; __session_z=a; __session=e@1", "e", ERROR_OK, 2},
    /* One that cannot be judged now hides none that is good, and is no refusal. */
    {"__session=unknown; __session_x=anna@1", "anna", ERROR_OK, 2},
    {"__session=anna@1; __session_x=unknown", "anna", ERROR_OK, 2},
    {"__session=stale; __session_x=unknown; __session_y=bad", NULL, ERROR_IDENTITY_UNAVAILABLE, 3},
    {"__session=anna@1; __session_x=no memory; __session_y=b@2", NULL, ERROR_NO_MEMORY, 2},
    /* Other cookies. */
    {"", NULL, ERROR_UNAUTHORIZED, 0},
    {"__session", NULL, ERROR_UNAUTHORIZED, 0},
    {"__session=", NULL, ERROR_UNAUTHORIZED, 0},
    {"__session_=anna@1", NULL, ERROR_UNAUTHORIZED, 0},
    {"__sessionx=anna@1", NULL, ERROR_UNAUTHORIZED, 0},
    {"__session-x=anna@1", NULL, ERROR_UNAUTHORIZED, 0},
    {"x__session=anna@1", NULL, ERROR_UNAUTHORIZED, 0},
    {"__Session=anna@1", NULL, ERROR_UNAUTHORIZED, 0},
    {"a=__session=anna@1", NULL, ERROR_UNAUTHORIZED, 0},
    {"=__session; ;; =", NULL, ERROR_UNAUTHORIZED, 0},
};

static void test_session_cookies(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(COOKIES); i++) {
        struct identity_headers headers = {.cookie = text_from(COOKIES[i].cookie)};
        struct identity identity;
        memset(&identity, 0x5A, sizeof(identity));
        struct identity untouched = identity;
        verified = 0;
        enum error err = identity_read(&headers, NULL, &identity);
        if (err != COOKIES[i].err || verified != COOKIES[i].verified)
            fail_msg("row %zu: %d, %d verified", i, err, verified);
        if (err)
            assert_memory_equal(&identity, &untouched, sizeof(identity));
        else
            assert_true(text_equal(identity_subject(&identity), text_from(COOKIES[i].subject)));
        /* Authorization decides when it is there. */
        headers.authorization = TEXT_LITERAL("Bearer stale");
        assert_int_equal(identity_read(&headers, NULL, &identity), ERROR_UNAUTHORIZED);
    }
}

/* A change by cookie needs an origin, and JSON where there is a body; nothing else does. */
static void test_forgery(void **state)
{
    (void)state;
    static const char JSON[] = "application/json";
    static const struct {
        const char *origin, *content_type;
        bool has_body;
        enum error err;
    } ROWS[] = {
        {"https://app.example", NULL, false, ERROR_OK},
        {"https://app.example", JSON, false, ERROR_OK},
        {"https://app.example", JSON, true, ERROR_OK},
        {"https://app.example", "Application/JSON; charset=utf-8", true, ERROR_OK},
        {"https://app.example", "application/json;charset=utf-8", true, ERROR_OK},
        {"https://app.example", "", false, ERROR_OK},
        {"https://app.example", NULL, true, ERROR_UNSUPPORTED_MEDIA_TYPE},
        {"https://app.example", "", true, ERROR_UNSUPPORTED_MEDIA_TYPE},
        {"https://app.example", "text/plain", true, ERROR_UNSUPPORTED_MEDIA_TYPE},
        {"https://app.example", "text/plain", false, ERROR_UNSUPPORTED_MEDIA_TYPE},
        {"https://app.example", "text/plain; application/json", true, ERROR_UNSUPPORTED_MEDIA_TYPE},
        {"https://app.example", "application/jsonp", true, ERROR_UNSUPPORTED_MEDIA_TYPE},
        {"https://evil.example", JSON, true, ERROR_ORIGIN_NOT_ALLOWED},
        {"https://evil.example", "text/plain", true, ERROR_ORIGIN_NOT_ALLOWED},
        {"https://evil.example", NULL, false, ERROR_ORIGIN_NOT_ALLOWED},
        {"null", NULL, false, ERROR_ORIGIN_NOT_ALLOWED},
        {NULL, JSON, true, ERROR_ORIGIN_NOT_ALLOWED},
        {NULL, NULL, false, ERROR_ORIGIN_NOT_ALLOWED},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct identity identity;
        struct identity_headers headers = {
            .cookie = TEXT_LITERAL("__session=anna@1"),
            .changes = true,
            .has_body = ROWS[i].has_body,
            .content_type = text_from(ROWS[i].content_type),
            .from = {.origin = text_from(ROWS[i].origin), .host = TEXT_LITERAL("api.example")},
            .allowed_origins = "https://app.example",
        };
        verified = 0;
        if (identity_read(&headers, NULL, &identity) != ROWS[i].err)
            fail_msg("row %zu", i);
        assert_int_equal(verified, ROWS[i].err ? 0 : 1);
        headers.authorization = TEXT_LITERAL("Bearer anna@1");
        assert_int_equal(identity_read(&headers, NULL, &identity), ERROR_OK);
        headers.authorization = TEXT_LITERAL("Device device_0123456789abc");
        assert_int_equal(identity_read(&headers, NULL, &identity), ERROR_OK);
        headers.authorization = (struct text){NULL, 0};
        headers.changes = false;
        assert_int_equal(identity_read(&headers, NULL, &identity), ERROR_OK);
        headers.changes = true;
        headers.cookie = TEXT_LITERAL("other=1");
        assert_int_equal(identity_read(&headers, NULL, &identity), ERROR_UNAUTHORIZED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_lengths_and_bytes),
        cmocka_unit_test(test_session_cookies),
        cmocka_unit_test(test_forgery),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
