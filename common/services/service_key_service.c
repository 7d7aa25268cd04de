#include "services/service_key_service.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/base64url.h"
#include "base/digest.h"
#include "cache/cache.h"

_Static_assert(sizeof(struct service_caller) <= CACHE_VALUE_BYTES_MAX, "it fits a cache slot");

static void hash_key(struct text key, char hash[static DIGEST_TEXT_SIZE])
{
    unsigned char digest[DIGEST_BYTES];
    digest_sha256(key, digest);
    digest_format(digest, hash);
}

static struct cache_key cache_key_of(struct text hash)
{
    unsigned char digest[DIGEST_BYTES];
    struct cache_key key = {.kind = CACHE_SERVICE};
    digest_sha256(hash, digest);
    memcpy(key.id.bytes, digest, sizeof(key.id.bytes));
    return key;
}

static bool read_scopes(struct text words, uint32_t *ret_scopes)
{
    static const char *const WORDS[] = {
#define SERVICE_SCOPE_WORD(name, word) word,
        SERVICE_SCOPE_TABLE(SERVICE_SCOPE_WORD)
#undef SERVICE_SCOPE_WORD
    };
    struct text item;
    uint32_t scopes = 0;
    while (text_next_item(&words, ',', &item)) {
        size_t i = 0;
        while (i < SERVICE_SCOPE_COUNT && !text_equal(item, text_from(WORDS[i])))
            i++;
        if (i == SERVICE_SCOPE_COUNT)
            return false;
        scopes |= 1U << i;
    }
    *ret_scopes = scopes;
    return scopes != 0;
}

enum error service_key_service_identify(struct app *app, struct text key,
                                        struct service_caller *ret_caller)
{
    char hash[DIGEST_TEXT_SIZE];
    struct cache_lease lease;
    struct service_key found_key = {.rows = NULL};
    struct service_caller caller;
    bool found = false;
    if (key.len == 0 || key.len > SERVICE_KEY_BYTES_MAX)
        return ERROR_UNAUTHORIZED;
    hash_key(key, hash);
    struct cache_key cached = cache_key_of(text_from(hash));
    if (cache_get(app->cache, &cached, ret_caller, sizeof(*ret_caller), &lease))
        return ERROR_OK;
    enum error err =
        service_key_repository_find(app->database, text_from(hash), &found_key, &found);
    if (err || !found)
        return err ? err : ERROR_UNAUTHORIZED;
    memset(&caller, 0, sizeof(caller));
    snprintf(caller.scope, sizeof(caller.scope), "service:%.*s", (int)found_key.name.len,
             found_key.name.data);
    if (!read_scopes(found_key.scopes, &caller.scopes))
        caller.scopes = 0; /* an operator's slip in psql allows nothing */
    service_key_done(&found_key);
    cache_store(app->cache, &cached, &lease, &caller, sizeof(caller));
    *ret_caller = caller;
    return ERROR_OK;
}

bool service_key_service_allows(const struct service_caller *caller, enum service_scope scope)
{
    return (caller->scopes & (1U << scope)) != 0;
}

static bool is_name(struct text name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return false;
    }
    return name.len > 0 && name.len <= SERVICE_NAME_BYTES_MAX;
}

enum error service_key_service_create(struct app *app, struct text name, struct text scopes,
                                      char ret_key[static SERVICE_KEY_SIZE])
{
    unsigned char random[32];
    char key[SERVICE_KEY_SIZE];
    _Static_assert(BASE64URL_SIZE(sizeof(random)) == SERVICE_KEY_SIZE, "a key and its NUL");
    char hash[DIGEST_TEXT_SIZE];
    uint32_t bits;
    bool created = false;
    if (scopes.len == 0)
        scopes = TEXT_LITERAL("spend,grant,hold,reverse,read,verify");
    if (!is_name(name) || !read_scopes(scopes, &bits))
        return ERROR_INVALID_PARAMETER;
    if (getrandom(random, sizeof(random), 0) != sizeof(random))
        return ERROR_INTERNAL;
    base64url_encode(random, sizeof(random), key);
    hash_key(text_from(key), hash);
    const struct new_service_key kept = {name, text_from(hash), scopes};
    enum error err = service_key_repository_create(app->database, &kept, &created);
    if (err || !created)
        return err ? err : ERROR_CONFLICT;
    memcpy(ret_key, key, sizeof(key));
    return ERROR_OK;
}

enum error service_key_service_revoke(struct app *app, struct text name)
{
    char hash[DIGEST_TEXT_SIZE];
    struct cache_write write;
    bool found = false;
    enum error err = service_key_repository_revoke(app->database, name, hash, &found);
    if (err || !found)
        return err ? err : ERROR_NOT_FOUND;
    /* The hash is known only now; ending a write drops what readers stored before it. */
    struct cache_key key = cache_key_of(text_from(hash));
    cache_write_begin(app->cache, &key, &write);
    cache_write_end(app->cache, &write);
    return ERROR_OK;
}

enum error service_key_service_list(struct app *app, struct service_key_list *ret_list)
{
    return service_key_repository_list(app->database, ret_list);
}
