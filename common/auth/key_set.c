#include "auth/key_set.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64url.h"
#include "base/json_parse.h"
#include "base/limits.h"

/*
 * libcrypto and json-c do not tell a lack of memory from a bad key or signature, and who is
 * told of the latter is signed out. So errno is cleared before and looked at after; free keeps it.
 */
static bool memory_ran_out(void)
{
    return errno == ENOMEM;
}

struct key {
    char kid[KEY_ID_BYTES_MAX + 1]; /* empty: answers to every id */
    EVP_PKEY *pkey;                 /* owned */
};

struct key_set {
    size_t count;
    struct key keys[KEYS_MAX];
};

bool key_set_library_init(void)
{
    /* OPENSSL_init_crypto overlooks some failures; what is wanted of it later does not. */
    bool started = OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL) == 1;
    EVP_PKEY_CTX *rsa = started ? EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL) : NULL;
    EVP_MD *sha256 = rsa ? EVP_MD_fetch(NULL, "SHA256", NULL) : NULL;
    bool usable = sha256 != NULL;
    EVP_MD_free(sha256);
    EVP_PKEY_CTX_free(rsa);
    return usable;
}

void key_set_free(struct key_set *set)
{
    if (!set)
        return;
    for (size_t i = 0; i < set->count; i++)
        EVP_PKEY_free(set->keys[i].pkey);
    free(set);
}

static bool is_usable(const EVP_PKEY *pkey)
{
    int bits = EVP_PKEY_get_bits(pkey);
    return EVP_PKEY_is_a(pkey, "RSA") && bits >= KEY_BITS_MIN && bits <= KEY_BITS_MAX;
}

/* A PEM that came through an environment file has \n spelled out. */
static size_t unfold(struct text pem, char *to)
{
    size_t len = 0;
    for (size_t i = 0; i < pem.len; i++) {
        if (pem.data[i] == '\\' && i + 1 < pem.len && pem.data[i + 1] == 'n') {
            to[len++] = '\n';
            i++;
        } else {
            to[len++] = pem.data[i];
        }
    }
    return len;
}

/* Without it OpenSSL asks the terminal for the password of a PEM that says it is encrypted. */
static int no_password(char *buffer, int size, int writing, void *context)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)context;
    return -1;
}

enum error key_set_from_pem(struct text pem, struct key_set **ret_set)
{
    char text[PEM_BYTES_MAX];
    if (pem.len > sizeof(text))
        return ERROR_NOT_CONFIGURED;
    size_t len = unfold(pem, text);
    errno = 0;
    BIO *bio = BIO_new_mem_buf(text, (int)len);
    EVP_PKEY *pkey = bio ? PEM_read_bio_PUBKEY(bio, NULL, no_password, NULL) : NULL;
    BIO_free(bio);
    if (!pkey || !is_usable(pkey)) {
        EVP_PKEY_free(pkey);
        return memory_ran_out() ? ERROR_NO_MEMORY : ERROR_NOT_CONFIGURED;
    }
    struct key_set *set = calloc(1, sizeof(*set));
    if (!set) {
        EVP_PKEY_free(pkey);
        return ERROR_NO_MEMORY;
    }
    set->keys[0].pkey = pkey;
    set->count = 1;
    *ret_set = set;
    return ERROR_OK;
}

static BIGNUM *read_number(struct json_object *jwk, const char *name)
{
    unsigned char bytes[KEY_BITS_MAX / 8];
    size_t len;
    if (!base64url_decode(json_parse_string(jwk, name), bytes, sizeof(bytes), &len) || len == 0)
        return NULL;
    return BN_bin2bn(bytes, (int)len, NULL);
}

/* An RSA public key from modulus and exponent, or NULL. */
static EVP_PKEY *make_key(const BIGNUM *n, const BIGNUM *e)
{
    EVP_PKEY *pkey = NULL;
    OSSL_PARAM *params = NULL;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    if (context && builder && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e))
        params = OSSL_PARAM_BLD_to_param(builder);
    if (!params || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
        pkey = NULL;
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(builder);
    EVP_PKEY_CTX_free(context);
    return pkey;
}

static bool absent_or(struct json_object *jwk, const char *name, const char *expected)
{
    struct json_object *value = NULL;
    if (!json_object_object_get_ex(jwk, name, &value))
        return true;
    return text_equal(json_parse_string(jwk, name), text_from(expected));
}

/* Adds a key of the set when it is one that can sign session tokens. */
static void add_jwk(struct key_set *set, struct json_object *jwk)
{
    if (!json_object_is_type(jwk, json_type_object) || set->count == KEYS_MAX)
        return;
    struct key *key = &set->keys[set->count];
    struct text kid = json_parse_string(jwk, "kid");
    if (!text_equal(json_parse_string(jwk, "kty"), TEXT_LITERAL("RSA")) ||
        !absent_or(jwk, "use", "sig") || !absent_or(jwk, "alg", "RS256") || kid.len == 0 ||
        memchr(kid.data, '\0', kid.len) || !text_copy(kid, key->kid, sizeof(key->kid)))
        return;
    BIGNUM *n = read_number(jwk, "n");
    BIGNUM *e = read_number(jwk, "e");
    EVP_PKEY *pkey = n && e ? make_key(n, e) : NULL;
    BN_free(n);
    BN_free(e);
    if (pkey && is_usable(pkey)) {
        key->pkey = pkey;
        set->count++;
    } else {
        EVP_PKEY_free(pkey);
        key->kid[0] = '\0';
    }
}

enum error key_set_from_jwks(struct text json, struct key_set **ret_set)
{
    struct json_object *root = NULL;
    struct json_object *list = NULL;
    struct key_set *set = NULL;
    enum error err = ERROR_MALFORMED_JSON;
    struct json_report report;
    errno = 0;
    enum json_problem problem = json_parse_object(json, &root, &report);
    if (problem != JSON_PROBLEM_NONE)
        return problem == JSON_PROBLEM_MEMORY ? ERROR_NO_MEMORY : ERROR_MALFORMED_JSON;
    if (!json_object_object_get_ex(root, "keys", &list) ||
        !json_object_is_type(list, json_type_array))
        goto out;
    set = calloc(1, sizeof(*set));
    if (!set) {
        err = ERROR_NO_MEMORY;
        goto out;
    }
    size_t length = json_object_array_length(list);
    for (size_t i = 0; i < length; i++)
        add_jwk(set, json_object_array_get_idx(list, i));
    if (memory_ran_out()) {
        /* Not to be taken for a set from which a key was withdrawn. */
        err = ERROR_NO_MEMORY;
    } else if (set->count > 0) {
        *ret_set = set;
        set = NULL;
        err = ERROR_OK;
    }
out:
    key_set_free(set);
    json_object_put(root);
    return err;
}

static const struct key *find(const struct key_set *set, struct text kid)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct key *key = &set->keys[i];
        if (key->kid[0] == '\0' || text_equal(text_from(key->kid), kid))
            return key;
    }
    return NULL;
}

enum error key_set_verify(const struct key_set *set, struct text kid, struct text signed_part,
                          struct text signature)
{
    const struct key *key = find(set, kid);
    if (!key)
        return ERROR_NOT_FOUND;
    errno = 0;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (!context)
        return ERROR_NO_MEMORY;
    /* RSA with PKCS #1 v1.5 padding is what EVP does with an RSA key unless told otherwise. */
    int valid = EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key->pkey) == 1 &&
                EVP_DigestVerify(context, (const unsigned char *)signature.data, signature.len,
                                 (const unsigned char *)signed_part.data, signed_part.len) == 1;
    EVP_MD_CTX_free(context);
    if (valid)
        return ERROR_OK;
    return memory_ran_out() ? ERROR_NO_MEMORY : ERROR_UNAUTHORIZED;
}
