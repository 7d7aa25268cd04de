/*
 * RSA keys and tokens made with them, for unit tests. Tokens of an independent library are in
 * tests/edge/test_clerk.py; here is what needs no Node: text in, token out.
 */
#pragma once

#include <assert.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64url.h"
#include "base/text.h"

static inline EVP_PKEY *token_maker_key(unsigned int bits)
{
    EVP_PKEY *key = EVP_RSA_gen(bits);
    assert(key);
    return key;
}

/* A public key of so many bits, of nobody's private key: making a real one takes long. */
static inline EVP_PKEY *token_maker_public_key(int bits)
{
    EVP_PKEY *key = NULL;
    BIGNUM *n = BN_new();
    unsigned long exponent = 65537;
    unsigned char bytes[1024];
    int ok = BN_rand(n, bits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD);
    assert(ok == 1 && (size_t)BN_num_bytes(n) <= sizeof(bytes));
    BN_bn2nativepad(n, bytes, BN_num_bytes(n));
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_N, bytes, (size_t)BN_num_bytes(n)),
        OSSL_PARAM_construct_ulong(OSSL_PKEY_PARAM_RSA_E, &exponent),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    ok = EVP_PKEY_fromdata_init(context) == 1 &&
         EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params) == 1;
    assert(ok);
    EVP_PKEY_CTX_free(context);
    BN_free(n);
    return key;
}

/* The public key in PEM; the caller frees it. */
static inline char *token_maker_pem(EVP_PKEY *key)
{
    char *data;
    BIO *bio = BIO_new(BIO_s_mem());
    int written = PEM_write_bio_PUBKEY(bio, key);
    assert(written == 1);
    long len = BIO_get_mem_data(bio, &data);
    char *pem = strndup(data, (size_t)len);
    BIO_free(bio);
    return pem;
}

/* A number of the key ("n" or "e") in base64url; the caller frees it. */
static inline char *token_maker_number(EVP_PKEY *key, const char *name)
{
    unsigned char bytes[1024];
    BIGNUM *number = NULL;
    int got = EVP_PKEY_get_bn_param(key, name, &number);
    assert(got == 1);
    int len = BN_bn2bin(number, bytes);
    BN_free(number);
    char *text = malloc(BASE64URL_SIZE((size_t)len));
    assert(text);
    base64url_encode(bytes, (size_t)len, text);
    return text;
}

/* A key of a key set; more: further members with a comma before, or "". The caller frees it. */
static inline char *token_maker_jwk(EVP_PKEY *key, const char *kid, const char *more)
{
    char *n = token_maker_number(key, OSSL_PKEY_PARAM_RSA_N);
    char *e = token_maker_number(key, OSSL_PKEY_PARAM_RSA_E);
    char *jwk = NULL;
    int len = asprintf(&jwk, "{\"kty\":\"RSA\",\"kid\":\"%s\",\"n\":\"%s\",\"e\":\"%s\"%s}", kid, n,
                       e, more);
    assert(len > 0);
    free(n);
    free(e);
    return jwk;
}

static inline char *token_maker_part(struct text text)
{
    char *part = malloc(BASE64URL_SIZE(text.len));
    assert(part);
    base64url_encode((const unsigned char *)text.data, text.len, part);
    return part;
}

/* head.body.signature of two parts as they are; the caller frees it. */
static inline char *token_maker_sign_parts(EVP_PKEY *key, const EVP_MD *hash, const char *head,
                                           const char *body)
{
    unsigned char signature[1024];
    size_t len = sizeof(signature);
    char *signed_part = NULL;
    char *token = NULL;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok = asprintf(&signed_part, "%s.%s", head, body) > 0 &&
              EVP_DigestSignInit(context, NULL, hash, NULL, key) == 1 &&
              EVP_DigestSign(context, signature, &len, (const unsigned char *)signed_part,
                             strlen(signed_part)) == 1;
    assert(ok);
    EVP_MD_CTX_free(context);
    char *part = token_maker_part((struct text){(const char *)signature, len});
    ok = asprintf(&token, "%s.%s", signed_part, part) > 0;
    assert(ok);
    free(signed_part);
    free(part);
    return token;
}

/* A token of a header and a payload, signed RS256; the caller frees it. */
static inline char *token_maker_sign(EVP_PKEY *key, struct text header, struct text payload)
{
    char *head = token_maker_part(header);
    char *body = token_maker_part(payload);
    char *token = token_maker_sign_parts(key, EVP_sha256(), head, body);
    free(head);
    free(body);
    return token;
}
