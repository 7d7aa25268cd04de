/*
 * Who is calling, from headers. Input: lines with Authorization, Cookie and X-Device-Id. The
 * verification of tokens is replaced here (driver session_token has the real one), so that what the
 * headers lead to is seen.
 */
#include <stdlib.h>

#include "auth/clerk.h"
#include "auth/identity.h"
#include "support/fuzz.h"

static const char GOOD[] = "good.";

/* In place of auth/clerk.c: "good.NAME" is a token of NAME. */
enum error clerk_verify(struct clerk *clerk, struct text token, struct session_claims *ret_claims)
{
    size_t prefix = sizeof(GOOD) - 1;
    REQUIRE(!clerk && token.data);
    if (token.len <= prefix || memcmp(token.data, GOOD, prefix) != 0 ||
        memchr(token.data, '\0', token.len) ||
        !text_copy((struct text){token.data + prefix, token.len - prefix}, ret_claims->subject,
                   sizeof(ret_claims->subject)))
        return ERROR_UNAUTHORIZED;
    (void)text_copy(token, ret_claims->email, sizeof(ret_claims->email));
    return ERROR_OK;
}

/* The rule of openapi.yaml, told otherwise than in the library. */
static bool is_device_id(const char *id)
{
    size_t len = strlen(id);
    return len >= 20 && len <= 255 && strncmp(id, "device_", 7) == 0 &&
           strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == len;
}

/* Whatever the headers say, only such an identity may come out. */
static void check_identity(const struct identity *identity, const struct identity_headers *headers)
{
    struct text subject = identity_subject(identity);
    const char *end = identity->key + identity->key_len;
    REQUIRE(identity->key_len < sizeof(identity->key));
    REQUIRE(strlen(identity->key) == identity->key_len);
    REQUIRE(subject.len > 0 && subject.data + subject.len == end);
    struct text where = headers->authorization;
    if (identity->kind == IDENTITY_DEVICE) {
        REQUIRE(strncmp(identity->key, "device:", 7) == 0 && is_device_id(subject.data));
        REQUIRE(identity->email[0] == '\0');
    } else {
        REQUIRE(identity->kind == IDENTITY_CLERK && strncmp(identity->key, "clerk:", 6) == 0);
        if (text_trim(where).len == 0)
            where = headers->cookie;
    }
    REQUIRE(memmem(where.data, where.len, subject.data, subject.len));
}

static void check_device(struct text id)
{
    struct identity identity;
    char *string = fuzz_string(id);
    memset(&identity, 0x5A, sizeof(identity));
    struct identity untouched = identity;
    bool accepted = identity_from_device(id, &identity) == ERROR_OK;
    REQUIRE(accepted == (strlen(string) == id.len && is_device_id(string)));
    if (accepted)
        REQUIRE(text_equal(identity_subject(&identity), id));
    else
        REQUIRE(memcmp(&identity, &untouched, sizeof(identity)) == 0);
    free(string);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text input = fuzz_input(data, size);
    struct identity_headers headers = {.authorization = fuzz_line(&input)};
    headers.cookie = fuzz_line(&input);
    struct text device = fuzz_line(&input);
    struct identity identity;
    memset(&identity, 0x5A, sizeof(identity));
    struct identity untouched = identity;
    enum error err = identity_read(&headers, NULL, &identity);
    REQUIRE(err == ERROR_OK || err == ERROR_UNAUTHORIZED);
    if (err)
        REQUIRE(memcmp(&identity, &untouched, sizeof(identity)) == 0);
    else
        check_identity(&identity, &headers);
    check_device(device);
    struct identity_headers none = {.authorization = {NULL, 0}};
    REQUIRE(identity_read(&none, NULL, &identity) == ERROR_UNAUTHORIZED);
    return 0;
}
