/*
 * Who is calling, from headers. Input: lines with Authorization, Cookie, X-Device-Id, Origin,
 * Referer, Sec-Fetch-Site, Host, Content-Type, and a last one that is there for a change. The
 * verification of tokens is replaced here (driver session_token has the real one), so that what the
 * headers lead to is seen.
 */
#include <stdlib.h>

#include "auth/clerk.h"
#include "auth/identity.h"
#include "support/fuzz.h"

static const char GOOD[] = "good.";
static const char ALLOWED[] = "https://app.example";

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
    ret_claims->issued_at_unix = ret_claims->subject[0];
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

/* A change by cookie: a page of an allowed or the own origin says so, one way or another. */
static void check_change(const struct identity_headers *headers)
{
    const struct origin_headers *from = &headers->from;
    char *origin = fuzz_string(from->origin.data ? from->origin : from->referer);
    char *host = fuzz_string(from->host);
    char *type = fuzz_string(headers->content_type);
    REQUIRE(text_equal(from->fetch_site, TEXT_LITERAL("same-origin")) ||
            strncmp(origin, ALLOWED, strlen(ALLOWED)) == 0 ||
            (host[0] && strncasecmp(origin, "https://", 8) == 0 &&
             strncasecmp(origin + 8, host, strcspn(host, ":")) == 0));
    REQUIRE(!headers->has_body ||
            strncasecmp(type + strspn(type, " \t"), "application/json", 16) == 0);
    free(origin);
    free(host);
    free(type);
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

/* A header; one that would be empty did not come. */
static struct text header_line(struct text *input)
{
    struct text line = fuzz_line(input);
    return line.len > 0 ? line : (struct text){NULL, 0};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text input = fuzz_input(data, size);
    struct identity_headers headers = {.authorization = fuzz_line(&input)};
    headers.cookie = fuzz_line(&input);
    struct text device = fuzz_line(&input);
    headers.from.origin = header_line(&input);
    headers.from.referer = header_line(&input);
    headers.from.fetch_site = header_line(&input);
    headers.from.host = header_line(&input);
    headers.content_type = header_line(&input);
    headers.changes = input.len > 0;
    headers.has_body = input.len > 1;
    headers.allowed_origins = ALLOWED;
    struct identity identity;
    memset(&identity, 0x5A, sizeof(identity));
    struct identity untouched = identity;
    enum error err = identity_read(&headers, NULL, &identity);
    REQUIRE(err == ERROR_OK || err == ERROR_UNAUTHORIZED || err == ERROR_ORIGIN_NOT_ALLOWED ||
            err == ERROR_UNSUPPORTED_MEDIA_TYPE);
    REQUIRE(err == ERROR_OK || err == ERROR_UNAUTHORIZED || headers.changes);
    if (err)
        REQUIRE(memcmp(&identity, &untouched, sizeof(identity)) == 0);
    else
        check_identity(&identity, &headers);
    if (!err && headers.changes && text_trim(headers.authorization).len == 0)
        check_change(&headers);
    check_device(device);
    struct identity_headers none = {.authorization = {NULL, 0}};
    REQUIRE(identity_read(&none, NULL, &identity) == ERROR_UNAUTHORIZED);
    return 0;
}
