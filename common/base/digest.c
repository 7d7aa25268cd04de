#include "base/digest.h"

#include <assert.h>
#include <openssl/evp.h>

void digest_sha256(struct text data, unsigned char ret_digest[static DIGEST_BYTES])
{
    unsigned int len = 0;
    int ok = EVP_Digest(data.data, data.len, ret_digest, &len, EVP_sha256(), NULL);
    assert(ok == 1 && len == DIGEST_BYTES);
}
