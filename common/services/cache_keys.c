#include "services/cache_keys.h"

#include <string.h>

#include "base/digest.h"

/* 128 bits of SHA-256: nobody can find two names that meet. */
static struct cache_key digest_key(enum cache_kind kind, struct text name)
{
    unsigned char digest[DIGEST_BYTES];
    struct cache_key key = {.kind = kind};
    digest_sha256(name, digest);
    memcpy(key.id.bytes, digest, sizeof(key.id.bytes));
    return key;
}

struct cache_key cache_keys_identity(struct text identity)
{
    return digest_key(CACHE_IDENTITY, identity);
}

struct cache_key cache_keys_refused_link(const struct uuid *user_id, const struct identity *device)
{
    char name[sizeof(user_id->bytes) + IDENTITY_BYTES_MAX];
    memcpy(name, user_id->bytes, sizeof(user_id->bytes));
    memcpy(name + sizeof(user_id->bytes), device->key, device->key_len);
    return digest_key(CACHE_LINK, (struct text){name, sizeof(user_id->bytes) + device->key_len});
}

struct cache_key cache_keys_balance(const struct uuid *user_id)
{
    return (struct cache_key){.kind = CACHE_BALANCE, .id = *user_id};
}
