/*
 * The functions OpenSSL 3 calls deprecated are wanted here: they keep their state on the stack. EVP
 * allocates for each digest and loads all of libcrypto before the first one, so that it can fail.
 */
#define OPENSSL_API_COMPAT 0x10100000L

#include "base/digest.h"

#include <openssl/sha.h>

_Static_assert(DIGEST_BYTES == SHA256_DIGEST_LENGTH, "both are FIPS 180-4's");

void digest_sha256(struct text data, unsigned char ret_digest[static DIGEST_BYTES])
{
    SHA256_CTX context;
    SHA256_Init(&context);
    SHA256_Update(&context, data.data, data.len);
    SHA256_Final(ret_digest, &context);
}
