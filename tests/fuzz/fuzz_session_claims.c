/*
 * Header and claims of signed session tokens. Input: a line with the header and one with the
 * claims, both JSON, which the driver encodes and signs; a third line that starts with "forged"
 * breaks the signature, with "open" takes the policy away. The signature is a digest made here in
 * place of RSA, so that the fuzzer spends its time on the claims.
 */
#include <json-c/json.h>
#include <math.h>
#include <stdlib.h>

#include "auth/session_token.h"
#include "base/base64url.h"
#include "base/digest.h"
#include "support/fuzz.h"

enum { NOW_UNIX = 1700000000 };

static const char KID[] = "key-1";
static const char ISSUER[] = "https://clerk.example";
static const char PARTIES[] = "https://app.example, https://b.example";

static bool signature_held; /* of the last token; the driver has one thread */

/* In place of auth/key_set.c. */
enum error key_set_verify(const struct key_set *set, struct text kid, struct text signed_part,
                          struct text signature)
{
    unsigned char digest[DIGEST_BYTES];
    REQUIRE(!set);
    if (!text_equal(kid, text_from(KID)))
        return ERROR_NOT_FOUND;
    digest_sha256(signed_part, digest);
    signature_held = text_equal(signature, (struct text){(const char *)digest, sizeof(digest)});
    return signature_held ? ERROR_OK : ERROR_UNAUTHORIZED;
}

/* A member as a C string when it is a string without NUL, else NULL. */
static const char *member(struct json_object *object, const char *name)
{
    struct json_object *value = NULL;
    if (!json_object_object_get_ex(object, name, &value) ||
        !json_object_is_type(value, json_type_string) ||
        strlen(json_object_get_string(value)) != (size_t)json_object_get_string_len(value))
        return NULL;
    return json_object_get_string(value);
}

static bool member_is(struct json_object *object, const char *name, const char *expected)
{
    const char *value = member(object, name);
    return value && strcmp(value, expected) == 0;
}

/* The whole seconds of a time; one that is there must be a finite number. INT64_MIN: it is not. */
static int64_t time_member(struct json_object *object, const char *name)
{
    struct json_object *value = NULL;
    if (!json_object_object_get_ex(object, name, &value))
        return INT64_MIN;
    REQUIRE(json_object_is_type(value, json_type_int) ||
            json_object_is_type(value, json_type_double));
    REQUIRE(fabs(json_object_get_double(value)) <= TOKEN_TIME_MAX);
    return (int64_t)json_object_get_double(value);
}

/* The rules once more, by what an accepted token says. */
static void check_accepted(struct json_object *header, struct json_object *payload, bool open,
                           const struct session_claims *claims)
{
    REQUIRE(signature_held);
    REQUIRE(header && payload && member_is(header, "alg", "RS256"));
    REQUIRE(!json_object_object_get_ex(header, "typ", NULL) || member_is(header, "typ", "JWT"));
    REQUIRE(!json_object_object_get_ex(header, "crit", NULL));
    REQUIRE(!member_is(header, "cat", "cl_B7d4PD333AAA"));
    REQUIRE(member_is(payload, "sub", claims->subject) && claims->subject[0]);
    REQUIRE(!claims->email[0] || member_is(payload, "email", claims->email));
    REQUIRE(!member_is(payload, "sts", "pending"));
    REQUIRE(claims->expires_at_unix > NOW_UNIX - TOKEN_SKEW_SECONDS);
    REQUIRE(claims->expires_at_unix == time_member(payload, "exp"));
    REQUIRE(claims->issued_at_unix == time_member(payload, "iat") ||
            (claims->issued_at_unix == 0 && time_member(payload, "iat") == INT64_MIN));
    REQUIRE(time_member(payload, "nbf") <= NOW_UNIX + TOKEN_SKEW_SECONDS);
    REQUIRE(time_member(payload, "iat") <= NOW_UNIX + TOKEN_SKEW_SECONDS);
    REQUIRE(open || member_is(payload, "iss", ISSUER));
    REQUIRE(open || member_is(payload, "azp", "https://app.example") ||
            member_is(payload, "azp", "https://b.example"));
}

static struct json_object *parse(struct text text)
{
    char *string = fuzz_string(text);
    struct json_object *object = json_tokener_parse(string);
    free(string);
    return object;
}

/* Both parts encoded, and the digest. Owned by the caller. */
static char *make_token(struct text header, struct text payload, bool forged)
{
    unsigned char digest[DIGEST_BYTES];
    char *token = malloc(BASE64URL_SIZE(header.len) + BASE64URL_SIZE(payload.len) +
                         BASE64URL_SIZE(sizeof(digest)));
    REQUIRE(token);
    base64url_encode((const unsigned char *)header.data, header.len, token);
    size_t len = strlen(token);
    token[len++] = '.';
    base64url_encode((const unsigned char *)payload.data, payload.len, token + len);
    len = strlen(token);
    digest_sha256((struct text){token, len}, digest);
    digest[0] ^= forged;
    token[len++] = '.';
    base64url_encode(digest, sizeof(digest), token + len);
    return token;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text input = fuzz_input(data, size);
    struct text header = fuzz_line(&input);
    struct text payload = fuzz_line(&input);
    bool forged = text_starts_nocase(input, "forged");
    bool open = text_starts_nocase(input, "open");
    struct session_policy policy = {.issuer = text_from(open ? "" : ISSUER),
                                    .authorized_parties = text_from(open ? "" : PARTIES)};
    struct session_claims claims;
    memset(&claims, 0x5A, sizeof(claims));
    struct session_claims untouched = claims;
    char *token = make_token(header, payload, forged);
    signature_held = false;
    enum error err = session_token_verify(text_from(token), NULL, &policy, NOW_UNIX, &claims);
    REQUIRE(err == ERROR_OK || err == ERROR_NOT_FOUND || err == ERROR_UNAUTHORIZED);
    REQUIRE(!forged || err != ERROR_OK);
    bool needs_key = session_token_needs_key(text_from(token), &policy, NOW_UNIX) == ERROR_OK;
    if (err == ERROR_OK || (needs_key && !forged))
        REQUIRE(needs_key && (err == ERROR_OK || err == ERROR_NOT_FOUND));
    if (err) {
        REQUIRE(memcmp(&claims, &untouched, sizeof(claims)) == 0);
    } else {
        struct json_object *header_object = parse(header);
        struct json_object *payload_object = parse(payload);
        check_accepted(header_object, payload_object, open, &claims);
        json_object_put(header_object);
        json_object_put(payload_object);
    }
    free(token);
    return 0;
}
