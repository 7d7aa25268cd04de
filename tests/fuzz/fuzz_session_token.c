/*
 * Session tokens against a real key. Input: a token. One that ends in ".@" gets the signature of
 * the key in place of the at sign; nobody else has the key, so every other token must be refused.
 * The claims of signed tokens are the matter of driver session_claims, which is much faster.
 */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>

#include "auth/session_token.h"
#include "base/base64url.h"
#include "support/fuzz.h"

enum { NOW_UNIX = 1700000000, SIGNATURE_BYTES = KEY_BITS_MIN / 8 };

/* Made once a process: a driver has no other place to keep them. */
static EVP_PKEY *private_key;
static struct key_set *keys;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char *pem;
    (void)argc;
    (void)argv;
    private_key = EVP_RSA_gen(KEY_BITS_MIN);
    BIO *bio = BIO_new(BIO_s_mem());
    REQUIRE(private_key && bio && PEM_write_bio_PUBKEY(bio, private_key) == 1);
    long len = BIO_get_mem_data(bio, &pem);
    REQUIRE(key_set_from_pem((struct text){pem, (size_t)len}, &keys) == ERROR_OK);
    BIO_free(bio);
    return 0;
}

/* Appends the signature of what is there, in base64url. */
static void sign(char *token, size_t len)
{
    unsigned char signature[SIGNATURE_BYTES];
    size_t signature_len = sizeof(signature);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    REQUIRE(context && EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, private_key) == 1);
    REQUIRE(EVP_DigestSign(context, signature, &signature_len, (unsigned char *)token, len) == 1);
    EVP_MD_CTX_free(context);
    token[len] = '.';
    base64url_encode(signature, signature_len, token + len + 1);
}

static enum error verify(struct text token, struct session_claims *ret_claims)
{
    static const struct session_policy POLICY = {.issuer = {NULL, 0}};
    enum error needs = session_token_needs_key(token, &POLICY, NOW_UNIX);
    enum error err = session_token_verify(token, keys, &POLICY, NOW_UNIX, ret_claims);
    REQUIRE(err == ERROR_OK || err == ERROR_UNAUTHORIZED);
    REQUIRE(needs == ERROR_OK || needs == ERROR_UNAUTHORIZED);
    return err;
}

/* An accepted token with one character changed is another token, and not ours. */
static void check_tampered(char *token, size_t len)
{
    struct session_claims claims;
    for (size_t i = 0; i < len; i += 1 + len / 16) {
        char kept = token[i];
        token[i] = kept == 'A' ? 'B' : 'A';
        REQUIRE(verify((struct text){token, len}, &claims) == ERROR_UNAUTHORIZED);
        token[i] = kept;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text input = fuzz_input(data, size);
    struct session_claims claims;
    memset(&claims, 0x5A, sizeof(claims));
    struct session_claims untouched = claims;
    if (size < 2 || memcmp(data + size - 2, ".@", 2) != 0) {
        REQUIRE(verify(input, &claims) == ERROR_UNAUTHORIZED);
        REQUIRE(memcmp(&claims, &untouched, sizeof(claims)) == 0);
        return 0;
    }
    char *token = malloc(size + BASE64URL_SIZE(SIGNATURE_BYTES));
    REQUIRE(token);
    memcpy(token, data, size - 2);
    sign(token, size - 2);
    if (verify(text_from(token), &claims) == ERROR_OK) {
        REQUIRE(claims.subject[0] && claims.expires_at_unix > NOW_UNIX - TOKEN_SKEW_SECONDS - 1);
        check_tampered(token, strlen(token));
    }
    free(token);
    return 0;
}
