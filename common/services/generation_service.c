#include "services/generation_service.h"

#include "base/limits.h"
#include "cache/cache.h"
#include "services/cache_keys.h"
#include "services/usage_service.h"

/* The operation id is made of the account's: one that was opened anew is found by it next time. */
static enum error record(struct app *app, const struct account *account,
                         struct new_generation *draft, const struct operation_key *key,
                         struct usage_outcome *ret_usage, int64_t *ret_created_at, bool *ret_found)
{
    struct operation operation = operation_make(key, &account->user_id);
    draft->id = operation.id;
    draft->keyed = operation.keyed;
    draft->request_hash = operation.request_hash;
    /* A generation counts against the free ones of the day, which the balance answer tells. */
    struct cache_key cached = cache_keys_balance(&account->user_id);
    struct cache_write write;
    cache_write_begin(app->cache, &cached, &write);
    enum error err = generation_repository_record(app->database, &account->user_id, draft,
                                                  ret_usage, ret_created_at, ret_found);
    cache_write_end(app->cache, &write);
    return err;
}

enum error generation_service_record(struct app *app, struct account *account,
                                     struct new_generation *draft, const struct operation_key *key,
                                     struct generation *ret_generation,
                                     struct usage_outcome *ret_usage)
{
    bool found = false;
    int64_t created_at = 0;
    enum error err = record(app, account, draft, key, ret_usage, &created_at, &found);
    for (int i = 0; !err && !found && i < REOPENS_MAX; i++) {
        err = account_service_reopen(app, account);
        if (!err)
            err = record(app, account, draft, key, ret_usage, &created_at, &found);
    }
    if (err)
        return err;
    if (!found)
        return ERROR_INTERNAL;
    err = usage_service_error(ret_usage->result);
    if (err)
        return err;
    *ret_generation = (struct generation){
        .id = draft->id,
        .user_id = account->user_id,
        .image_url = draft->image_url,
        .prompt_used = draft->prompt_used,
        .trend = draft->trend,
        .quality = draft->quality,
        .status = TEXT_LITERAL("completed"),
        .created_at = created_at,
        .updated_at = created_at,
    };
    return ERROR_OK;
}

enum error generation_service_list(struct app *app, const struct account *account,
                                   int64_t before_created_at, const struct uuid *before_id,
                                   int32_t limit, struct generation_list *ret_list,
                                   int64_t *ret_total)
{
    if (*ret_total < 0) {
        enum error err = generation_repository_count(app->database, &account->user_id, ret_total);
        if (err)
            return err;
    }
    return generation_repository_list(app->database, &account->user_id, before_created_at,
                                      before_id, limit, ret_list);
}

enum error generation_service_delete(struct app *app, const struct account *account,
                                     const struct uuid *id)
{
    bool deleted = false;
    enum error err = generation_repository_delete(app->database, &account->user_id, id, &deleted);
    return !err && !deleted ? ERROR_NOT_FOUND : err;
}
