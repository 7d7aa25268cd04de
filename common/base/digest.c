/*
 * The functions OpenSSL 3 calls deprecated are wanted here: they keep their state on the stack. EVP
 * allocates for each digest and loads all of libcrypto before the first one, so that it can fail.
 */
#define OPENSSL_API_COMPAT 0x10100000L

#include "base/digest.h"

#include <openssl/sha.h>
#include <string.h>

_Static_assert(DIGEST_BYTES == SHA256_DIGEST_LENGTH, "both are FIPS 180-4's");

void digest_sha256(struct text data, unsigned char ret_digest[static DIGEST_BYTES])
{
    SHA256_CTX context;
    SHA256_Init(&context);
    SHA256_Update(&context, data.data, data.len);
    SHA256_Final(ret_digest, &context);
}

/* RFC 2104: one of the two digests of HMAC, over the key with each byte changed, then data. */
static void keyed_digest(const unsigned char key[static SHA256_CBLOCK], unsigned char pad,
                         struct text data, unsigned char ret_digest[static DIGEST_BYTES])
{
    SHA256_CTX context;
    unsigned char block[SHA256_CBLOCK];
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = key[i] ^ pad;
    SHA256_Init(&context);
    SHA256_Update(&context, block, sizeof(block));
    SHA256_Update(&context, data.data, data.len);
    SHA256_Final(ret_digest, &context);
}

void digest_hmac_sha256(struct text key, struct text data,
                        unsigned char ret_digest[static DIGEST_BYTES])
{
    unsigned char block[SHA256_CBLOCK] = {0};
    unsigned char inner[DIGEST_BYTES];
    if (key.len > sizeof(block))
        digest_sha256(key, block);
    else if (key.len > 0)
        memcpy(block, key.data, key.len);
    keyed_digest(block, 0x36, data, inner);
    keyed_digest(block, 0x5C, (struct text){(const char *)inner, sizeof(inner)}, ret_digest);
}

void digest_format(const unsigned char digest[static DIGEST_BYTES],
                   char ret_text[static DIGEST_TEXT_SIZE])
{
    static const char DIGITS[] = "0123456789abcdef";
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        ret_text[2 * i] = DIGITS[digest[i] >> 4];
        ret_text[2 * i + 1] = DIGITS[digest[i] & 0xF];
    }
    ret_text[DIGEST_TEXT_SIZE - 1] = '\0';
}
