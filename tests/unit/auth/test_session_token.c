/* Session tokens: each rule of header and claims, each way a token can be malformed, the skew. */
#include "auth/session_token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "token_maker.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NOW 1000000
#define HEADER "{\"alg\":\"RS256\",\"kid\":\"k1\",\"typ\":\"JWT\"}"
#define ISSUER "\"iss\":\"https://clerk.example\""
#define PARTY "\"azp\":\"https://app.example\""
#define TIMES "\"exp\":1000060,\"nbf\":999990,\"iat\":1000000"
#define SUBJECT "\"sub\":\"user_1\""
#define PAYLOAD "{" SUBJECT "," ISSUER "," PARTY "," TIMES "}"

static EVP_PKEY *key, *other_key;
static struct key_set *keys;
static const struct session_policy POLICY = {
    .issuer = {"https://clerk.example", 21},
    .authorized_parties = {"https://app.example, https://other.example", 42},
};

static int set_up(void **state)
{
    (void)state;
    key = token_maker_key(2048);
    other_key = token_maker_key(2048);
    char *jwk = token_maker_jwk(key, "k1", "");
    char *jwks = NULL;
    int len = asprintf(&jwks, "{\"keys\":[%s]}", jwk);
    int failed = len < 0 || key_set_from_jwks(text_from(jwks), &keys);
    free(jwk);
    free(jwks);
    return failed;
}

static int tear_down(void **state)
{
    (void)state;
    key_set_free(keys);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other_key);
    return 0;
}

/* On the heap and of the exact size, so that a read past the end is seen. */
static enum error verify(struct text token, struct session_claims *ret_claims)
{
    char *copy = malloc(token.len ? token.len : 1);
    assert_non_null(copy);
    if (token.len)
        memcpy(copy, token.data, token.len);
    enum error err =
        session_token_verify((struct text){copy, token.len}, keys, &POLICY, NOW, ret_claims);
    free(copy);
    return err;
}

static enum error needs_key(struct text token)
{
    return session_token_needs_key(token, &POLICY, NOW);
}

/* Also: a token that a key makes good might be made good by a key, and no other is. */
static enum error verify_signed(struct text header, struct text payload)
{
    struct session_claims claims;
    struct session_claims untouched;
    char *token = token_maker_sign(key, header, payload);
    memset(&claims, 0x5A, sizeof(claims));
    untouched = claims;
    enum error err = verify(text_from(token), &claims);
    if (err)
        assert_memory_equal(&claims, &untouched, sizeof(claims));
    if (err != ERROR_NOT_FOUND)
        assert_int_equal(needs_key(text_from(token)), err);
    free(token);
    return err;
}

struct row {
    const char *json;
    enum error expected;
};

static void test_headers(void **state)
{
    (void)state;
    static const struct row ROWS[] = {
        {HEADER, ERROR_OK},
        {"{\"alg\":\"RS256\",\"kid\":\"k1\"}", ERROR_OK},
        {"{\"alg\":\"RS256\",\"kid\":\"k1\",\"cat\":\"cl_B7d4PD111AAA\"}", ERROR_OK},
        {" {\"kid\":\"k1\", \"x\":[{}], \"alg\":\"RS256\"} ", ERROR_OK},
        {"{\"alg\":\"RS256\",\"kid\":\"k1\",\"cat\":\"cl_B7d4PD333AAA\"}", ERROR_UNAUTHORIZED},
        {"{\"alg\":\"none\",\"kid\":\"k1\"}", ERROR_UNAUTHORIZED},
        {"{\"alg\":\"HS256\",\"kid\":\"k1\"}", ERROR_UNAUTHORIZED},
        {"{\"alg\":\"RS384\",\"kid\":\"k1\"}", ERROR_UNAUTHORIZED},
        {"{\"alg\":\"RS512\",\"kid\":\"k1\"}", ERROR_UNAUTHORIZED},
        {"{\"alg\":\"PS256\",\"kid\":\"k1\"}", ERROR_UNAUTHORIZED},
        {"{\"alg\":\"ES256\",\"kid\":\"k1\"}", ERROR_UNAUTHORIZED},
        {"{\"alg\":\"rs256\",\"kid\":\"k1\"}", ERROR_UNAUTHORIZED},
        {"{\"alg\":\"RS256\\u0000\",\"kid\":\"k1\"}", ERROR_UNAUTHORIZED},
        {"{\"alg\":[\"RS256\"],\"kid\":\"k1\"}", ERROR_UNAUTHORIZED},
        {"{\"alg\":null,\"kid\":\"k1\"}", ERROR_UNAUTHORIZED},
        {"{\"kid\":\"k1\"}", ERROR_UNAUTHORIZED},
        {"{\"alg\":\"RS256\",\"alg\":\"none\",\"kid\":\"k1\"}", ERROR_UNAUTHORIZED},
        {"{\"alg\":\"RS256\",\"kid\":\"k1\",\"typ\":\"at+jwt\"}", ERROR_UNAUTHORIZED},
        {"{\"alg\":\"RS256\",\"kid\":\"k1\",\"typ\":null}", ERROR_UNAUTHORIZED},
        {"{\"alg\":\"RS256\",\"kid\":\"k1\",\"typ\":\"\"}", ERROR_UNAUTHORIZED},
        {"{\"alg\":\"RS256\",\"kid\":\"k1\",\"crit\":[\"exp\"]}", ERROR_UNAUTHORIZED},
        {"{\"alg\":\"RS256\",\"kid\":\"k1\",\"crit\":null}", ERROR_UNAUTHORIZED},
        /* No key of exactly this kid. */
        {"{\"alg\":\"RS256\",\"kid\":\"k2\"}", ERROR_NOT_FOUND},
        {"{\"alg\":\"RS256\",\"kid\":\"K1\"}", ERROR_NOT_FOUND},
        {"{\"alg\":\"RS256\",\"kid\":\"k\"}", ERROR_NOT_FOUND},
        {"{\"alg\":\"RS256\",\"kid\":\"k1\\u0000\"}", ERROR_NOT_FOUND},
        {"{\"alg\":\"RS256\",\"kid\":\"\"}", ERROR_NOT_FOUND},
        {"{\"alg\":\"RS256\",\"kid\":1}", ERROR_NOT_FOUND},
        {"{\"alg\":\"RS256\"}", ERROR_NOT_FOUND},
        {"", ERROR_UNAUTHORIZED},
        {"{", ERROR_UNAUTHORIZED},
        {"null", ERROR_UNAUTHORIZED},
        {"[" HEADER "]", ERROR_UNAUTHORIZED},
        {HEADER "x", ERROR_UNAUTHORIZED},
        {HEADER HEADER, ERROR_UNAUTHORIZED},
        {"{\"alg\":\"RS256\",\"kid\":\"k1\",\"x\":NaN}", ERROR_UNAUTHORIZED},
        {"{\"alg\":\"RS256\",\"kid\":\"k1\",\"x\":\"\n\"}", ERROR_UNAUTHORIZED},
        {"{\"alg\":\"RS256\",\"kid\":\"k1\",\"x\":\"\xFF\"}", ERROR_UNAUTHORIZED},
        {"{\"alg\":\"RS256\",\"kid\":\"k1\",\"x\":[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]}",
         ERROR_UNAUTHORIZED},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++)
        if (verify_signed(text_from(ROWS[i].json), TEXT_LITERAL(PAYLOAD)) != ROWS[i].expected)
            fail_msg("row %zu: %s", i, ROWS[i].json);
}

/* Only what is no key id at all needs no key set to be refused; claims count as ever. */
static void test_needs_key(void **state)
{
    (void)state;
    char long_kid[KEY_ID_BYTES_MAX + 64];
    static const struct {
        const char *header, *payload;
        enum error expected;
    } ROWS[] = {
        {"{\"alg\":\"RS256\",\"kid\":\"k2\"}", PAYLOAD, ERROR_OK},
        {"{\"alg\":\"RS256\",\"kid\":\"k1\\u0000\"}", PAYLOAD, ERROR_UNAUTHORIZED},
        {"{\"alg\":\"RS256\",\"kid\":\"\"}", PAYLOAD, ERROR_UNAUTHORIZED},
        {"{\"alg\":\"RS256\",\"kid\":1}", PAYLOAD, ERROR_UNAUTHORIZED},
        {"{\"alg\":\"RS256\"}", PAYLOAD, ERROR_UNAUTHORIZED},
        {"{\"alg\":\"HS256\",\"kid\":\"k2\"}", PAYLOAD, ERROR_UNAUTHORIZED},
        {"{\"alg\":\"RS256\",\"kid\":\"k2\"}", "{}", ERROR_UNAUTHORIZED},
        {"{\"alg\":\"RS256\",\"kid\":\"k2\"}", "{" SUBJECT "," ISSUER "," PARTY ",\"exp\":999995}",
         ERROR_UNAUTHORIZED},
        {"{\"alg\":\"RS256\",\"kid\":\"k2\"}",
         "{" SUBJECT ",\"iss\":\"https://clerk.foreign.example\"," PARTY "," TIMES "}",
         ERROR_UNAUTHORIZED},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        char *token =
            token_maker_sign(other_key, text_from(ROWS[i].header), text_from(ROWS[i].payload));
        if (needs_key(text_from(token)) != ROWS[i].expected)
            fail_msg("row %zu", i);
        free(token);
    }
    for (int len = KEY_ID_BYTES_MAX; len <= KEY_ID_BYTES_MAX + 1; len++) {
        snprintf(long_kid, sizeof(long_kid), "{\"alg\":\"RS256\",\"kid\":\"%0*d\"}", len, 0);
        char *token = token_maker_sign(key, text_from(long_kid), TEXT_LITERAL(PAYLOAD));
        assert_int_equal(needs_key(text_from(token)),
                         len <= KEY_ID_BYTES_MAX ? ERROR_OK : ERROR_UNAUTHORIZED);
        free(token);
    }
}

#define REST "," ISSUER "," PARTY "," TIMES "}"
#define BUT_TIMES "{" SUBJECT "," ISSUER "," PARTY ","

static const struct row CLAIMS[] = {
    {PAYLOAD, ERROR_OK},
    {"{\"sub\":\"a\"" REST, ERROR_OK},
    {"{\"sub\":\"\"" REST, ERROR_UNAUTHORIZED},
    {"{\"sub\":1" REST, ERROR_UNAUTHORIZED},
    {"{\"sub\":null" REST, ERROR_UNAUTHORIZED},
    {"{\"sub\":[\"user_1\"]" REST, ERROR_UNAUTHORIZED},
    {"{\"sub\":\"user\\u00001\"" REST, ERROR_UNAUTHORIZED},
    {"{\"Sub\":\"user_1\"" REST, ERROR_UNAUTHORIZED},
    {"{\"sub\":\"user_1\",\"sub\":2" REST, ERROR_UNAUTHORIZED},
    {"{\"sub\":\"user_1\",\"sts\":\"active\"" REST, ERROR_OK},
    {"{\"sub\":\"user_1\",\"sts\":\"pending\"" REST, ERROR_UNAUTHORIZED},
    {"{" SUBJECT "," PARTY "," TIMES "}", ERROR_UNAUTHORIZED},
    {"{" SUBJECT ",\"iss\":\"https://clerk.example/\"," PARTY "," TIMES "}", ERROR_UNAUTHORIZED},
    {"{" SUBJECT ",\"iss\":\"https://clerk.exampl\"," PARTY "," TIMES "}", ERROR_UNAUTHORIZED},
    {"{" SUBJECT ",\"iss\":\"\"," PARTY "," TIMES "}", ERROR_UNAUTHORIZED},
    {"{" SUBJECT ",\"iss\":null," PARTY "," TIMES "}", ERROR_UNAUTHORIZED},
    {"{" SUBJECT ",\"iss\":[\"https://clerk.example\"]," PARTY "," TIMES "}", ERROR_UNAUTHORIZED},
    {"{" SUBJECT "," ISSUER "," TIMES "}", ERROR_UNAUTHORIZED},
    {"{" SUBJECT "," ISSUER ",\"azp\":\"https://other.example\"," TIMES "}", ERROR_OK},
    {"{" SUBJECT "," ISSUER ",\"azp\":\"https://evil.example\"," TIMES "}", ERROR_UNAUTHORIZED},
    {"{" SUBJECT "," ISSUER ",\"azp\":\"\"," TIMES "}", ERROR_UNAUTHORIZED},
    {"{" SUBJECT "," ISSUER ",\"azp\":null," TIMES "}", ERROR_UNAUTHORIZED},
    {"{" SUBJECT "," ISSUER ",\"azp\":[\"https://app.example\"]," TIMES "}", ERROR_UNAUTHORIZED},
    {"{" SUBJECT "," ISSUER ",\"azp\":\"https://app.example, https://other.example\"," TIMES "}",
     ERROR_UNAUTHORIZED},
    /* Times: exp needed, nbf and iat not; 5 s of skew; whole seconds count. */
    {BUT_TIMES "\"exp\":1000060}", ERROR_OK},
    {BUT_TIMES "\"nbf\":999990}", ERROR_UNAUTHORIZED},
    {BUT_TIMES "\"exp\":999996}", ERROR_OK},
    {BUT_TIMES "\"exp\":999995}", ERROR_UNAUTHORIZED},
    {BUT_TIMES "\"exp\":999995.9}", ERROR_UNAUTHORIZED},
    {BUT_TIMES "\"exp\":1.00006e6}", ERROR_OK},
    {BUT_TIMES "\"exp\":0}", ERROR_UNAUTHORIZED},
    {BUT_TIMES "\"exp\":-1000060}", ERROR_UNAUTHORIZED},
    {BUT_TIMES "\"exp\":\"1000060\"}", ERROR_UNAUTHORIZED},
    {BUT_TIMES "\"exp\":null}", ERROR_UNAUTHORIZED},
    {BUT_TIMES "\"exp\":true}", ERROR_UNAUTHORIZED},
    {BUT_TIMES "\"exp\":[1000060]}", ERROR_UNAUTHORIZED},
    {BUT_TIMES "\"exp\":1e300}", ERROR_UNAUTHORIZED},
    {BUT_TIMES "\"exp\":1e999}", ERROR_UNAUTHORIZED},
    {BUT_TIMES "\"exp\":9223372036854775807}", ERROR_UNAUTHORIZED},
    {BUT_TIMES "\"exp\":99999999999999999999999}", ERROR_UNAUTHORIZED},
    {BUT_TIMES "\"exp\":NaN}", ERROR_UNAUTHORIZED},
    {BUT_TIMES "\"exp\":Infinity}", ERROR_UNAUTHORIZED},
    {BUT_TIMES "\"exp\":253402300799}", ERROR_OK},
    {BUT_TIMES "\"exp\":253402300800}", ERROR_UNAUTHORIZED},
    {BUT_TIMES "\"exp\":1000060,\"nbf\":1000005}", ERROR_OK},
    {BUT_TIMES "\"exp\":1000060,\"nbf\":1000005.9}", ERROR_OK},
    {BUT_TIMES "\"exp\":1000060,\"nbf\":1000006}", ERROR_UNAUTHORIZED},
    {BUT_TIMES "\"exp\":1000060,\"nbf\":null}", ERROR_UNAUTHORIZED},
    {BUT_TIMES "\"exp\":1000060,\"nbf\":\"0\"}", ERROR_UNAUTHORIZED},
    {BUT_TIMES "\"exp\":1000060,\"nbf\":-1e300}", ERROR_UNAUTHORIZED},
    {BUT_TIMES "\"exp\":1000060,\"iat\":1000005}", ERROR_OK},
    {BUT_TIMES "\"exp\":1000060,\"iat\":1000006}", ERROR_UNAUTHORIZED},
    {BUT_TIMES "\"exp\":1000060,\"iat\":null}", ERROR_UNAUTHORIZED},
    {BUT_TIMES "\"exp\":1000060,\"iat\":{}}", ERROR_UNAUTHORIZED},
    {"", ERROR_UNAUTHORIZED},
    {"{}", ERROR_UNAUTHORIZED},
    {"null", ERROR_UNAUTHORIZED},
    {"[" PAYLOAD "]", ERROR_UNAUTHORIZED},
    {PAYLOAD "{}", ERROR_UNAUTHORIZED},
    {PAYLOAD ",", ERROR_UNAUTHORIZED},
};

static void test_claims(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(CLAIMS); i++)
        if (verify_signed(TEXT_LITERAL(HEADER), text_from(CLAIMS[i].json)) != CLAIMS[i].expected)
            fail_msg("row %zu: %s", i, CLAIMS[i].json);
}

static void test_results(void **state)
{
    (void)state;
    static const struct {
        const char *member, *email;
    } ROWS[] = {
        {"", ""},
        {",\"email\":\"a@example.org\"", "a@example.org"},
        {",\"email\":\"\"", ""},
        {",\"email\":1", ""},
        {",\"email\":\"a\\u0000b\"", ""},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        char payload[512];
        struct session_claims claims;
        snprintf(payload, sizeof(payload), "{" SUBJECT "%s" REST, ROWS[i].member);
        char *token = token_maker_sign(key, TEXT_LITERAL(HEADER), text_from(payload));
        assert_int_equal(verify(text_from(token), &claims), ERROR_OK);
        assert_string_equal(claims.subject, "user_1");
        assert_string_equal(claims.email, ROWS[i].email);
        assert_int_equal(claims.expires_at_unix, 1000060);
        free(token);
    }
    /* Subject and e-mail around the widths of their columns: the one decides, the other is left. */
    for (int len = 250; len < 260; len++) {
        char payload[1024];
        struct session_claims claims;
        char filler[300];
        memset(filler, 'x', sizeof(filler));
        snprintf(payload, sizeof(payload), "{\"sub\":\"%.*s\",\"email\":\"%.*s\"" REST, len, filler,
                 len + 2, filler);
        char *token = token_maker_sign(key, TEXT_LITERAL(HEADER), text_from(payload));
        enum error err = verify(text_from(token), &claims);
        assert_int_equal(err, len <= 255 ? ERROR_OK : ERROR_UNAUTHORIZED);
        if (!err) {
            assert_int_equal(strlen(claims.subject), len);
            assert_int_equal(strlen(claims.email), len + 2 <= 255 ? len + 2 : 0);
        }
        free(token);
    }
}

static void test_forms(void **state)
{
    (void)state;
    struct session_claims claims;
    char *good = token_maker_sign(key, TEXT_LITERAL(HEADER), TEXT_LITERAL(PAYLOAD));
    char *foreign = token_maker_sign(other_key, TEXT_LITERAL(HEADER), TEXT_LITERAL(PAYLOAD));
    size_t len = strlen(good);
    assert_int_equal(verify(text_from(good), &claims), ERROR_OK);
    assert_int_equal(verify(text_from(foreign), &claims), ERROR_UNAUTHORIZED);
    assert_int_equal(claims.issued_at_unix, 1000000);
    assert_int_equal(claims.expires_at_unix, 1000060);
    assert_int_equal(needs_key(text_from(good)), ERROR_OK);
    assert_int_equal(needs_key(text_from(foreign)), ERROR_OK);

    /* Truncated anywhere, and with one byte too many. */
    for (size_t i = 0; i < len; i++)
        assert_int_equal(verify((struct text){good, i}, &claims), ERROR_UNAUTHORIZED);
    static const char BEHIND[] = "A=.\n \0";
    char *longer = malloc(len + 2);
    assert_non_null(longer);
    memcpy(longer, good, len);
    for (size_t i = 0; i < sizeof(BEHIND); i++) {
        longer[len] = BEHIND[i];
        assert_int_equal(verify((struct text){longer, len + 1}, &claims), ERROR_UNAUTHORIZED);
    }
    free(longer);
    /* Each character replaced by some other. */
    for (size_t i = 0; i < len; i++) {
        char old = good[i];
        for (const char *p = "AQgw_-.= "; *p; p++) {
            good[i] = *p;
            enum error err = verify((struct text){good, len}, &claims);
            if ((*p == old) != (err == ERROR_OK))
                fail_msg("byte %zu, %c", i, *p);
        }
        good[i] = old;
    }
    static const char *const BAD[] = {"",         ".",        "..",       "...",
                                      "a.b",      "a.b.c",    "a.b.c.d",  "e30.e30.e30",
                                      ".e30.e30", "e30..e30", "e30.e30.", "\xFF.\xFF.\xFF"};
    for (size_t i = 0; i < COUNT(BAD); i++) {
        assert_int_equal(verify(text_from(BAD[i]), &claims), ERROR_UNAUTHORIZED);
        assert_int_equal(needs_key(text_from(BAD[i])), ERROR_UNAUTHORIZED);
    }
    assert_int_equal(verify((struct text){NULL, 0}, &claims), ERROR_UNAUTHORIZED);
    assert_int_equal(needs_key((struct text){NULL, 0}), ERROR_UNAUTHORIZED);
    free(good);
    free(foreign);
}

static void test_sizes(void **state)
{
    (void)state;
    struct session_claims claims;
    static const size_t FILLERS[] = {100,  5000, 5400, 5500,   5600,
                                     5700, 5800, 6200, 100000, 1000000};
    bool refused = false;
    for (size_t i = 0; i < COUNT(FILLERS); i++) {
        size_t size = FILLERS[i] + sizeof(PAYLOAD) + 32;
        char *payload = malloc(size);
        assert_non_null(payload);
        int start = snprintf(payload, size, "{" SUBJECT ",\"x\":\"");
        memset(payload + start, 'x', FILLERS[i]);
        snprintf(payload + start + FILLERS[i], size - (size_t)start - FILLERS[i], "\"" REST);
        char *token = token_maker_sign(key, TEXT_LITERAL(HEADER), text_from(payload));
        bool fits = strlen(token) <= TOKEN_BYTES_MAX;
        assert_int_equal(verify(text_from(token), &claims), fits ? ERROR_OK : ERROR_UNAUTHORIZED);
        refused = refused || !fits;
        free(token);
        free(payload);
    }
    assert_true(refused);
}

/* Parts that are signed, but are no base64url, or another spelling of it. */
static void test_signed_base64(void **state)
{
    (void)state;
    struct session_claims claims;
    char *head = token_maker_part(TEXT_LITERAL(HEADER));
    char *body = token_maker_part(TEXT_LITERAL(PAYLOAD));
    static const char *const SUFFIXES[] = {"=", "==", "!", " ", "\n", "A", "+", "/"};
    for (size_t i = 0; i < COUNT(SUFFIXES); i++) {
        for (int which = 0; which < 2; which++) {
            char text[1024];
            snprintf(text, sizeof(text), "%s%s", which ? body : head, SUFFIXES[i]);
            char *token =
                token_maker_sign_parts(key, EVP_sha256(), which ? head : text, which ? text : body);
            assert_int_equal(verify(text_from(token), &claims), ERROR_UNAUTHORIZED);
            free(token);
        }
    }
    /* The hash is RS256's whatever the signer used. */
    const EVP_MD *const HASHES[] = {EVP_sha1(), EVP_sha384(), EVP_sha512()};
    for (size_t i = 0; i < COUNT(HASHES); i++) {
        char *token = token_maker_sign_parts(key, HASHES[i], head, body);
        assert_int_equal(verify(text_from(token), &claims), ERROR_UNAUTHORIZED);
        free(token);
    }
    free(head);
    free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),       cmocka_unit_test(test_needs_key),
        cmocka_unit_test(test_claims),        cmocka_unit_test(test_results),
        cmocka_unit_test(test_forms),         cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_signed_base64),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
