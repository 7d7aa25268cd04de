#include "services/account_service.h"

#include <string.h>

#include "base/config.h"
#include "base/digest.h"
#include "cache/cache.h"
#include "repositories/user_repository.h"
#include "repositories/flight_queue.h"
#include "services/cache_keys.h"

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
    struct identity_item item = {.identity = identity_key(identity)};
    ret_account->identity = *identity;
    if (cache_get(app->cache, &key, &ret_account->user_id, sizeof(item.user_id), &lease))
        return ERROR_OK;
    enum error err = flight_queues_run(app->flights, FLIGHT_IDENTITY, &item);
    if (!err && !item.found)
        err = open_account(app, ret_account, &item.user_id);
    else if (!err && identity->email[0])
        err = user_repository_set_email(app->database, &item.user_id, text_from(identity->email));
    if (err)
        return err;
    cache_store(app->cache, &key, &lease, &item.user_id, sizeof(item.user_id));
    ret_account->user_id = item.user_id;
    return ERROR_OK;
}

enum error account_service_reopen(struct app *app, struct account *account)
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

static bool is_of_kind(struct text key, enum identity_kind kind)
{
    struct text prefix = identity_prefix(kind);
    return key.len > prefix.len && memcmp(key.data, prefix.data, prefix.len) == 0;
}

enum error account_service_needs_sign_in(struct app *app, const struct account *account,
                                         bool *ret_needs)
{
    struct user_identity_list identities = {.count = 0};
    *ret_needs = false;
    if (account->identity.kind == IDENTITY_CLERK)
        return ERROR_OK;
    enum error err = user_repository_identities(app->database, &account->user_id, &identities);
    for (size_t i = 0; !err && i < identities.count; i++)
        if (is_of_kind(identities.items[i].identity, IDENTITY_CLERK))
            *ret_needs = true;
    user_identity_list_done(&identities);
    return err;
}
