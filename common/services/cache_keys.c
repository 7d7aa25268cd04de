#include "services/cache_keys.h"

#include <string.h>

#include "base/digest.h"

struct cache_key cache_keys_identity(struct text identity)
{
    unsigned char digest[DIGEST_BYTES];
    struct cache_key key = {.kind = CACHE_IDENTITY};
    digest_sha256(identity, digest);
    /* 128 bits of SHA-256: nobody can find two identities that meet. */
    memcpy(key.id.bytes, digest, sizeof(key.id.bytes));
    return key;
}

struct cache_key cache_keys_balance(const struct uuid *user_id)
{
    return (struct cache_key){.kind = CACHE_BALANCE, .id = *user_id};
}
