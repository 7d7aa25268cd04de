#include "services/link_service.h"

#include <stdio.h>

#include "base/limits.h"
#include "cache/cache.h"
#include "repositories/user_repository.h"
#include "services/cache_keys.h"

/* Both accounts' balances and the device's identity change together. */
struct link_writes {
    struct cache_write identity, ours, theirs;
};

static void begin_writes(struct app *app, const struct identity *device, const struct uuid *user_id,
                         const struct uuid *device_user_id, struct link_writes *ret_writes)
{
    struct cache_key identity = cache_keys_identity(identity_key(device));
    struct cache_key ours = cache_keys_balance(user_id);
    struct cache_key theirs = cache_keys_balance(device_user_id);
    cache_write_begin(app->cache, &identity, &ret_writes->identity);
    cache_write_begin(app->cache, &ours, &ret_writes->ours);
    cache_write_begin(app->cache, &theirs, &ret_writes->theirs);
}

static void end_writes(struct app *app, struct link_writes *writes)
{
    cache_write_end(app->cache, &writes->identity);
    cache_write_end(app->cache, &writes->ours);
    cache_write_end(app->cache, &writes->theirs);
}

/* ret_found false: an account is gone, or was linked away while this waited. */
static enum error move(struct app *app, const struct account *account,
                       const struct identity *device, const struct uuid *device_user_id,
                       enum link_outcome *ret_outcome, bool *ret_found)
{
    struct uuid entry_ids[2] = {uuid_new(), uuid_new()};
    struct link_writes writes;
    begin_writes(app, device, &account->user_id, device_user_id, &writes);
    enum error err = user_repository_link_device(app->database, &account->user_id, device_user_id,
                                                 entry_ids, ret_outcome, ret_found);
    end_writes(app, &writes);
    return err;
}

static enum error link_once(struct app *app, const struct account *account,
                            const struct identity *device, enum link_outcome *ret_outcome,
                            bool *ret_found)
{
    struct uuid owner;
    bool known = false;
    bool there = true;
    enum error err =
        user_repository_find_identity(app->database, identity_key(device), &owner, &known);
    if (!err && !known)
        err = user_repository_attach_identity(app->database, identity_key(device),
                                              &account->user_id, &owner, &there);
    if (err)
        return err;
    if (!there) {
        *ret_found = false;
        return ERROR_OK;
    }
    if (!known && uuid_equal(&owner, &account->user_id)) {
        *ret_outcome = LINK_DONE;
        *ret_found = true;
        return ERROR_OK;
    }
    /* One that is linked already goes the same way: the statement locks the account, so that a
     * repeated request is answered only when a synchronous standby has the link as well. */
    return move(app, account, device, &owner, ret_outcome, ret_found);
}

enum error link_service_link(struct app *app, struct account *account,
                             const struct identity *device, bool *ret_moved)
{
    enum link_outcome outcome = LINK_ELSEWHERE;
    bool found = false;
    enum error err = link_once(app, account, device, &outcome, &found);
    for (int i = 0; !err && !found && i < REOPENS_MAX; i++) {
        err = account_service_reopen(app, account);
        if (!err)
            err = link_once(app, account, device, &outcome, &found);
    }
    if (err)
        return err;
    if (!found)
        return ERROR_INTERNAL;
    if (outcome == LINK_ELSEWHERE)
        return ERROR_DEVICE_ALREADY_LINKED;
    *ret_moved = outcome == LINK_DONE;
    return ERROR_OK;
}

enum error link_service_link_quietly(struct app *app, struct account *account,
                                     const struct identity *device)
{
    struct cache_key device_key = cache_keys_identity(identity_key(device));
    struct cache_key refused_key = cache_keys_refused_link(&account->user_id, device);
    struct cache_lease lease;
    struct cache_lease ignored;
    struct uuid owner;
    char refused = 1;
    bool moved;
    if (cache_get(app->cache, &device_key, &owner, sizeof(owner), &ignored) &&
        uuid_equal(&owner, &account->user_id))
        return ERROR_OK;
    if (cache_get(app->cache, &refused_key, &refused, sizeof(refused), &lease))
        return ERROR_OK;
    enum error err = link_service_link(app, account, device, &moved);
    if (err != ERROR_DEVICE_ALREADY_LINKED && err != ERROR_OK)
        return err;
    if (err == ERROR_DEVICE_ALREADY_LINKED) {
        cache_store(app->cache, &refused_key, &lease, &refused, sizeof(refused));
        return ERROR_OK;
    }
    /* So that the next request finds the device's owner in the cache. */
    struct account as_device = {.client_address = {NULL, 0}};
    return account_service_resolve(app, device, &as_device);
}
