#include "base/operation.h"

#include <string.h>

#include "base/digest.h"
#include "base/limits.h"

struct uuid operation_derive(struct text name)
{
    unsigned char digest[DIGEST_BYTES];
    struct uuid id;
    digest_sha256(name, digest);
    memcpy(id.bytes, digest, sizeof(id.bytes));
    /* RFC 9562, section 5.8: version 8 is for ids made in a way of one's own. */
    id.bytes[6] = (uint8_t)(0x80 | (id.bytes[6] & 0x0F));
    id.bytes[8] = (uint8_t)(0x80 | (id.bytes[8] & 0x3F));
    return id;
}

struct operation operation_make(const struct operation_key *key, const struct uuid *user_id)
{
    /* Lengths are capped where the texts are read: scope by the name of a key, key by its header.
     */
    char name[sizeof(user_id->bytes) + SERVICE_NAME_BYTES_MAX + IDEMPOTENCY_KEY_BYTES_MAX + 32];
    if (!key || !key->key.data)
        return (struct operation){.id = uuid_new()};
    size_t len = sizeof(user_id->bytes);
    memcpy(name, user_id->bytes, len);
    memcpy(name + len, key->scope.data, key->scope.len);
    len += key->scope.len;
    name[len++] = '\0';
    memcpy(name + len, key->key.data, key->key.len);
    len += key->key.len;
    return (struct operation){
        .id = operation_derive((struct text){name, len}),
        .keyed = true,
        .request_hash = key->request_hash,
    };
}
