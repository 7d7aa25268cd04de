#include "services/cache_writes.h"

#include "services/cache_keys.h"

void cache_writes_begin(struct app *app, const struct cache_key *keys, size_t count,
                        struct cache_write *ret_writes)
{
    for (size_t i = 0; i < count; i++)
        cache_write_begin(app->cache, &keys[i], &ret_writes[i]);
}

void cache_writes_end(struct app *app, struct cache_write *writes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cache_write_end(app->cache, &writes[i]);
}

enum error cache_writes_balance(struct app *app, const struct uuid *user_id, account_step *step,
                                void *context)
{
    struct cache_key key = cache_keys_balance(user_id);
    struct cache_write write;
    cache_write_begin(app->cache, &key, &write);
    enum error err = step(app, user_id, context);
    cache_write_end(app->cache, &write);
    return err;
}

enum error cache_writes_step(struct app *app, const struct uuid *user_id, void *context)
{
    const struct cache_writes_inner *inner = context;
    return cache_writes_balance(app, user_id, inner->step, inner->context);
}
