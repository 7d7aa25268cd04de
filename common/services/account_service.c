#include "services/account_service.h"

#include "base/limits.h"
#include "cache/cache.h"
#include "repositories/user_repository.h"
#include "services/cache_keys.h"
#include "services/cache_writes.h"

static struct account_names names_of(const struct identity *identity)
{
    struct text subject = identity_subject(identity);
    struct text nothing = {NULL, 0};
    bool device = identity->kind == IDENTITY_DEVICE;
    return (struct account_names){
        .identity = identity_key(identity),
        .clerk_id = device ? nothing : subject,
        .device_id = device ? subject : nothing,
        .email = identity->email[0] ? text_from(identity->email) : nothing,
    };
}

static enum error open_account(struct app *app, const struct identity *identity,
                               struct uuid *ret_user_id)
{
    struct account_names names = names_of(identity);
    struct uuid new_id = uuid_new();
    enum error err = user_repository_create(app->database, &names, &new_id, ret_user_id);
    if (err != ERROR_CONFLICT)
        return err;
    /* The original backend opened it after this database was adopted. */
    bool found = false;
    err = user_repository_adopt_identity(app->database, &names, ret_user_id, &found);
    return !err && !found ? ERROR_CONFLICT : err;
}

enum error account_service_resolve(struct app *app, const struct identity *identity,
                                   struct account *ret_account)
{
    struct cache_key key = cache_keys_identity(identity_key(identity));
    struct cache_lease lease;
    struct uuid user_id;
    bool found = false;
    ret_account->identity = *identity;
    if (cache_get(app->cache, &key, &ret_account->user_id, sizeof(user_id), &lease))
        return ERROR_OK;
    enum error err =
        user_repository_find_identity(app->database, identity_key(identity), &user_id, &found);
    if (!err && !found)
        err = open_account(app, identity, &user_id);
    else if (!err && identity->email[0])
        err = user_repository_set_email(app->database, &user_id, text_from(identity->email));
    if (err)
        return err;
    cache_store(app->cache, &key, &lease, &user_id, sizeof(user_id));
    ret_account->user_id = user_id;
    return ERROR_OK;
}

static enum error reopen(struct app *app, struct account *account)
{
    struct cache_key key = cache_keys_identity(identity_key(&account->identity));
    struct account_names names = names_of(&account->identity);
    struct cache_write write;
    bool found = false;
    cache_write_begin(app->cache, &key, &write);
    enum error err =
        user_repository_find_identity(app->database, names.identity, &account->user_id, &found);
    if (!err && found)
        err = user_repository_restore(app->database, &names, &account->user_id);
    else if (!err)
        err = open_account(app, &account->identity, &account->user_id);
    cache_write_end(app->cache, &write);
    return err;
}

enum error account_service_retry(struct app *app, struct account *account, account_step *step,
                                 void *context)
{
    enum error err = step(app, &account->user_id, context);
    for (int i = 0; err == ERROR_USER_NOT_FOUND && i < REOPENS_MAX; i++) {
        err = reopen(app, account);
        if (!err)
            err = step(app, &account->user_id, context);
    }
    return err == ERROR_USER_NOT_FOUND ? ERROR_INTERNAL : err;
}

enum error account_service_write(struct app *app, struct account *account, account_step *step,
                                 void *context)
{
    struct cache_writes_inner inner = {.step = step, .context = context};
    return account_service_retry(app, account, cache_writes_step, &inner);
}
