/* Key sets: which PEM and JSON texts make one, which of their keys count, the signature check. */
#include "auth/key_set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "token_maker.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static EVP_PKEY *key, *other_key, *small_key, *large_key, *curve_key;
static const struct text SIGNED_PART = {"header.payload", 14};

static int set_up(void **state)
{
    (void)state;
    key = token_maker_key(2048);
    other_key = token_maker_key(2048);
    small_key = token_maker_key(1024);
    large_key = token_maker_public_key(4104);
    curve_key = EVP_EC_gen("P-256");
    return !curve_key;
}

static int tear_down(void **state)
{
    (void)state;
    EVP_PKEY_free(key);
    EVP_PKEY_free(other_key);
    EVP_PKEY_free(small_key);
    EVP_PKEY_free(large_key);
    EVP_PKEY_free(curve_key);
    return 0;
}

/* Verifies what signer signed, with a set's key of a kid. */
static enum error verify(const struct key_set *set, const char *kid, EVP_PKEY *signer)
{
    unsigned char signature[1024];
    size_t len = sizeof(signature);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, signer), 1);
    assert_int_equal(EVP_DigestSign(context, signature, &len,
                                    (const unsigned char *)SIGNED_PART.data, SIGNED_PART.len),
                     1);
    EVP_MD_CTX_free(context);
    return key_set_verify(set, text_from(kid), SIGNED_PART,
                          (struct text){(const char *)signature, len});
}

static void test_pem(void **state)
{
    (void)state;
    struct key_set *set = NULL;
    char *pem = token_maker_pem(key);
    char folded[2048] = "";
    for (const char *p = pem; *p; p++)
        strcat(folded, *p == '\n' ? "\\n" : (char[]){*p, '\0'});
    const char *const GOOD[] = {pem, folded};
    for (size_t i = 0; i < COUNT(GOOD); i++) {
        assert_int_equal(key_set_from_pem(text_from(GOOD[i]), &set), ERROR_OK);
        /* It answers to every key id, also to none. */
        assert_int_equal(verify(set, "any", key), ERROR_OK);
        assert_int_equal(verify(set, NULL, key), ERROR_OK);
        assert_int_equal(verify(set, "any", other_key), ERROR_UNAUTHORIZED);
        assert_int_equal(verify(set, "any", small_key), ERROR_UNAUTHORIZED);
        assert_int_equal(verify(set, "any", curve_key), ERROR_UNAUTHORIZED);
        key_set_free(set);
        set = NULL;
    }
    free(pem);
}

static void test_bad_pem(void **state)
{
    (void)state;
    struct key_set *set = NULL;
    char *good = token_maker_pem(key);
    char *pems[] = {token_maker_pem(small_key),
                    token_maker_pem(large_key),
                    token_maker_pem(curve_key),
                    calloc(1, 1),
                    strdup("MIIB"),
                    strdup("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"),
                    strndup(good, strlen(good) / 2),
                    calloc(1, 100000)};
    memset(pems[7], 'x', 99999);
    for (size_t i = 0; i < COUNT(pems); i++) {
        assert_int_equal(key_set_from_pem(text_from(pems[i]), &set), ERROR_NOT_CONFIGURED);
        assert_null(set);
        free(pems[i]);
    }
    free(good);
    key_set_free(NULL);
}

/* format: of a key set, with %s where the key of kid "k1" stands. */
static enum error from_jwks(const char *format, struct key_set **ret_set)
{
    char *jwk = token_maker_jwk(key, "k1", "");
    char *text = NULL;
    char *exact = NULL;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    int len = asprintf(&text, format, jwk);
#pragma GCC diagnostic pop
    assert_true(len >= 0);
    exact = malloc((size_t)len + 1);
    assert_non_null(exact);
    memcpy(exact, text, (size_t)len);
    enum error err = key_set_from_jwks((struct text){exact, (size_t)len}, ret_set);
    free(exact);
    free(text);
    free(jwk);
    return err;
}

static void test_jwks_documents(void **state)
{
    (void)state;
    static const struct {
        const char *format;
        bool good;
    } ROWS[] = {
        {"{\"keys\":[%s]}", true},
        {" { \"x\" : 1 , \"keys\" : [ %s ] } \n", true},
        {"{\"keys\":[null,1,\"x\",[],{},%s]}", true},
        {"{\"keys\":[{\"kty\":\"oct\",\"kid\":\"h\",\"k\":\"AAAA\"},%s]}", true},
        {"{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"x\",\"n\":\"AQAB\",\"e\":\"AQAB\"},%s]}", true},
        {"{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"x\",\"n\":\"!\",\"e\":\"AQAB\"},%s]}", true},
        {"{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"x\",\"n\":1,\"e\":\"\"},%s]}", true},
        {"", false},
        {"%.0s", false},
        {"x%.0s", false},
        {"null%.0s", false},
        {"[%s]", false},
        {"%s", false},
        {"{\"keys\":%s}", false},
        {"{\"keys\":[]}%.0s", false},
        {"{\"keys\":null}%.0s", false},
        {"{\"keys\":[{}]}%.0s", false},
        {"{\"keys\":[%s]", false},
        {"{\"keys\":[%s]}x", false},
        {"{\"keys\":[%s]}{}", false},
        {"{\"Keys\":[%s]}", false},
        {"{\"keys\":{\"0\":%s}}", false},
        {"<html>%s</html>", false},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct key_set *set = NULL;
        enum error err = from_jwks(ROWS[i].format, &set);
        if (err != (ROWS[i].good ? ERROR_OK : ERROR_MALFORMED_JSON))
            fail_msg("row %zu: %s", i, ROWS[i].format);
        if (ROWS[i].good) {
            assert_int_equal(verify(set, "k1", key), ERROR_OK);
            assert_int_equal(verify(set, "k1", other_key), ERROR_UNAUTHORIZED);
            assert_int_equal(verify(set, "x", key), ERROR_NOT_FOUND);
            assert_int_equal(verify(set, "k", key), ERROR_NOT_FOUND);
            assert_int_equal(verify(set, "", key), ERROR_NOT_FOUND);
            assert_int_equal(verify(set, NULL, key), ERROR_NOT_FOUND);
        } else {
            assert_null(set);
        }
        key_set_free(set);
    }
}

/* Whether a key with these members is taken into a set. */
static bool is_taken(EVP_PKEY *pkey, const char *kid, const char *more)
{
    struct key_set *set = NULL;
    char *jwk = token_maker_jwk(pkey, kid, more);
    char *text = NULL;
    assert_true(asprintf(&text, "{\"keys\":[%s]}", jwk) > 0);
    bool taken = key_set_from_jwks(text_from(text), &set) == ERROR_OK;
    key_set_free(set);
    free(text);
    free(jwk);
    return taken;
}

static void test_jwk_members(void **state)
{
    (void)state;
    char kid[KEY_ID_BYTES_MAX + 2];
    memset(kid, 'k', sizeof(kid));
    kid[KEY_ID_BYTES_MAX + 1] = '\0';
    assert_true(is_taken(key, "k", ""));
    assert_true(is_taken(key, "k", ",\"use\":\"sig\",\"alg\":\"RS256\""));
    assert_false(is_taken(key, "k", ",\"use\":\"enc\""));
    assert_false(is_taken(key, "k", ",\"use\":1"));
    assert_false(is_taken(key, "k", ",\"alg\":\"RS512\""));
    assert_false(is_taken(key, "k", ",\"alg\":\"PS256\""));
    assert_false(is_taken(key, "k", ",\"alg\":null"));
    assert_false(is_taken(key, "k", ",\"kty\":\"EC\""));
    assert_false(is_taken(key, "", ""));
    assert_false(is_taken(key, "k\\u0000", ""));
    assert_false(is_taken(key, kid, ""));
    assert_true(is_taken(key, kid + 1, ""));
    assert_false(is_taken(small_key, "k", ""));
    assert_false(is_taken(large_key, "k", ""));
    EVP_PKEY *largest = token_maker_public_key(KEY_BITS_MAX);
    assert_true(is_taken(largest, "k", ""));
    EVP_PKEY_free(largest);
}

static void test_many_keys(void **state)
{
    (void)state;
    char *text = strdup("{\"keys\":[");
    for (int i = 0; i < KEYS_MAX + 4; i++) {
        char kid[16];
        char *longer = NULL;
        snprintf(kid, sizeof(kid), "k%d", i);
        char *jwk = token_maker_jwk(i % 2 ? other_key : key, kid, "");
        assert_true(asprintf(&longer, "%s%s%s", text, i ? "," : "", jwk) > 0);
        free(text);
        free(jwk);
        text = longer;
    }
    text = realloc(text, strlen(text) + 3);
    strcat(text, "]}");
    struct key_set *set = NULL;
    assert_int_equal(key_set_from_jwks(text_from(text), &set), ERROR_OK);
    for (int i = 0; i < KEYS_MAX + 4; i++) {
        char kid[16];
        snprintf(kid, sizeof(kid), "k%d", i);
        /* Each id leads to its own key; those beyond the cap are left out. */
        assert_int_equal(verify(set, kid, i % 2 ? other_key : key),
                         i < KEYS_MAX ? ERROR_OK : ERROR_NOT_FOUND);
        assert_int_equal(verify(set, kid, i % 2 ? key : other_key),
                         i < KEYS_MAX ? ERROR_UNAUTHORIZED : ERROR_NOT_FOUND);
    }
    key_set_free(set);
    free(text);
}

static void test_signatures(void **state)
{
    (void)state;
    struct key_set *set = NULL;
    char zeros[1024] = {0};
    assert_int_equal(from_jwks("{\"keys\":[%s]}", &set), ERROR_OK);
    static const size_t LENGTHS[] = {0, 1, 128, 255, 256, 257, 512, 1024};
    for (size_t i = 0; i < COUNT(LENGTHS); i++)
        assert_int_equal(
            key_set_verify(set, TEXT_LITERAL("k1"), SIGNED_PART, (struct text){zeros, LENGTHS[i]}),
            ERROR_UNAUTHORIZED);
    key_set_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pem),
        cmocka_unit_test(test_bad_pem),
        cmocka_unit_test(test_jwks_documents),
        cmocka_unit_test(test_jwk_members),
        cmocka_unit_test(test_many_keys),
        cmocka_unit_test(test_signatures),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
