#include "services/account_service.h"

#include <string.h>

#include "base/config.h"
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

static enum error open_account(struct app *app, const struct account *account,
                               struct uuid *ret_user_id)
{
    char digest[DIGEST_TEXT_SIZE];
    struct text secret = text_from(app->config->identity_digest_key);
    struct account_names names = names_of(&account->identity);
    struct uuid new_id = uuid_new();
    names.ip_address = account->client_address.data ? account->client_address : TEXT_LITERAL("");
    if (secret.len > 0) {
        identity_digest(secret, names.identity, digest);
        names.digest = text_from(digest);
    }
    enum error err = user_repository_open(app->database, &names, &new_id, ret_user_id);
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
        err = open_account(app, ret_account, &user_id);
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
        err = open_account(app, account, &account->user_id);
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

bool account_is_linked_device(const struct account *account,
                              const struct user_identity_list *identities)
{
    struct text prefix = identity_prefix(IDENTITY_CLERK);
    if (account->identity.kind == IDENTITY_CLERK)
        return false;
    for (size_t i = 0; i < identities->count; i++) {
        struct text key = identities->items[i].identity;
        if (key.len > prefix.len && memcmp(key.data, prefix.data, prefix.len) == 0)
            return true;
    }
    return false;
}

enum error account_service_needs_sign_in(struct app *app, const struct account *account,
                                         bool *ret_needs)
{
    struct user_identity_list identities = {.count = 0};
    *ret_needs = false;
    if (account->identity.kind == IDENTITY_CLERK)
        return ERROR_OK;
    enum error err = user_repository_identities(app->database, &account->user_id, &identities);
    if (!err)
        *ret_needs = account_is_linked_device(account, &identities);
    user_identity_list_done(&identities);
    return err;
}
