#include "services/link_service.h"

#include "cache/cache.h"
#include "repositories/user_repository.h"
#include "services/cache_keys.h"
#include "services/cache_writes.h"

/* A link on its way. */
struct linking {
    const struct identity *device;
    enum link_outcome outcome; /* result */
};

/* Both accounts' balances and the device's identity change together. */
static enum error move(struct app *app, const struct uuid *user_id,
                       const struct uuid *device_user_id, struct linking *linking)
{
    struct device_link link = {
        .user_id = *user_id,
        .device_user_id = *device_user_id,
        .entry_ids = {uuid_new(), uuid_new()},
    };
    const struct cache_key keys[] = {
        cache_keys_identity(identity_key(linking->device)),
        cache_keys_balance(user_id),
        cache_keys_balance(device_user_id),
    };
    struct cache_write writes[sizeof(keys) / sizeof(keys[0])];
    cache_writes_begin(app, keys, sizeof(keys) / sizeof(keys[0]), writes);
    enum error err = user_repository_link_device(app->database, &link, &linking->outcome);
    cache_writes_end(app, writes, sizeof(keys) / sizeof(keys[0]));
    /* An account is gone, or was linked away while this waited. */
    return !err && linking->outcome == LINK_NO_ACCOUNT ? ERROR_USER_NOT_FOUND : err;
}

static enum error link_once(struct app *app, const struct uuid *user_id, void *context)
{
    struct linking *linking = context;
    struct identity_owner ours = {.identity = identity_key(linking->device), .user_id = *user_id};
    struct uuid owner;
    bool known = false;
    bool there = true;
    enum error err = user_repository_find_identity(app->database, ours.identity, &owner, &known);
    if (!err && !known)
        err = user_repository_attach_identity(app->database, &ours, &owner, &there);
    if (err)
        return err;
    if (!there)
        return ERROR_USER_NOT_FOUND;
    if (!known && uuid_equal(&owner, user_id)) {
        linking->outcome = LINK_DONE;
        return ERROR_OK;
    }
    /* One that is linked already goes the same way: the statement locks the account, so that a
     * repeated request is answered only when a synchronous standby has the link as well. */
    return move(app, user_id, &owner, linking);
}

enum error link_service_link(struct app *app, struct account *account,
                             const struct identity *device, bool *ret_moved)
{
    struct linking linking = {.device = device, .outcome = LINK_ELSEWHERE};
    enum error err = account_service_retry(app, account, link_once, &linking);
    if (err)
        return err;
    if (linking.outcome == LINK_ELSEWHERE)
        return ERROR_DEVICE_ALREADY_LINKED;
    *ret_moved = linking.outcome == LINK_DONE;
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
