#include "services/user_service.h"

#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/limits.h"
#include "services/cache_keys.h"
#include "services/cache_writes.h"

static enum error read_profile(struct app *app, const struct uuid *user_id, void *ret_profile)
{
    bool found = false;
    enum error err = user_repository_profile(app->database, user_id, ret_profile, &found);
    return !err && !found ? ERROR_USER_NOT_FOUND : err;
}

enum error user_service_profile(struct app *app, struct account *account,
                                struct user_profile *ret_profile)
{
    return account_service_retry(app, account, read_profile, ret_profile);
}

enum error user_service_stats(struct app *app, const struct account *account,
                              struct user_stats *ret_stats)
{
    return user_repository_stats(app->database, &account->user_id, ret_stats);
}

static const struct uuid FIRST_ID; /* zero: before every id */

static struct uuid last_id(void)
{
    struct uuid id;
    memset(id.bytes, 0xFF, sizeof(id.bytes));
    return id;
}

static enum error read_account(struct app *app, const struct uuid *user_id, void *ret_user)
{
    bool found = false;
    enum error err = user_repository_export(app->database, user_id, ret_user, &found);
    return !err && !found ? ERROR_USER_NOT_FOUND : err;
}

static enum error export_account(struct app *app, struct account *account,
                                 const struct export_sink *sink)
{
    struct user_export user = {.rows = NULL};
    struct user_identity_list identities = {.count = 0};
    enum error err = account_service_retry(app, account, read_account, &user);
    if (!err)
        err = user_repository_identities(app->database, &account->user_id, &identities);
    if (!err && !sink->user(sink->context, &user))
        err = ERROR_CLIENT_GONE;
    for (size_t i = 0; !err && i < identities.count; i++)
        if (!sink->identity(sink->context, &identities.items[i]))
            err = ERROR_CLIENT_GONE;
    user_identity_list_done(&identities);
    user_export_done(&user);
    return err;
}

static enum error export_subscriptions(struct app *app, const struct account *account,
                                       const struct export_sink *sink)
{
    struct row_range range = {.after_id = FIRST_ID, .limit = EXPORT_PAGE_ROWS};
    size_t count;
    do {
        struct subscription_list list = {.count = 0};
        enum error err =
            subscription_repository_export(app->database, &account->user_id, &range, &list);
        for (size_t i = 0; !err && i < list.count; i++)
            if (!sink->subscription(sink->context, &list.items[i]))
                err = ERROR_CLIENT_GONE;
        count = list.count;
        if (count > 0)
            range.after_id = list.items[count - 1].id;
        subscription_list_done(&list);
        if (err)
            return err;
    } while (count == EXPORT_PAGE_ROWS);
    return ERROR_OK;
}

static enum error export_payments(struct app *app, const struct account *account,
                                  const struct export_sink *sink)
{
    struct row_range range = {.after_id = FIRST_ID, .limit = EXPORT_PAGE_ROWS};
    size_t count;
    do {
        struct payment_list list = {.count = 0};
        enum error err = payment_repository_export(app->database, &account->user_id, &range, &list);
        for (size_t i = 0; !err && i < list.count; i++)
            if (!sink->payment(sink->context, &list.items[i]))
                err = ERROR_CLIENT_GONE;
        count = list.count;
        if (count > 0)
            range.after_id = list.items[count - 1].id;
        payment_list_done(&list);
        if (err)
            return err;
    } while (count == EXPORT_PAGE_ROWS);
    return ERROR_OK;
}

static enum error export_refunds(struct app *app, const struct account *account,
                                 const struct export_sink *sink)
{
    struct row_range range = {.after_id = FIRST_ID, .limit = EXPORT_PAGE_ROWS};
    size_t count;
    do {
        struct refund_list list = {.count = 0};
        enum error err = refund_repository_export(app->database, &account->user_id, &range, &list);
        for (size_t i = 0; !err && i < list.count; i++)
            if (!sink->refund(sink->context, &list.items[i]))
                err = ERROR_CLIENT_GONE;
        count = list.count;
        if (count > 0)
            range.after_id = list.items[count - 1].id;
        refund_list_done(&list);
        if (err)
            return err;
    } while (count == EXPORT_PAGE_ROWS);
    return ERROR_OK;
}

static enum error export_holds(struct app *app, const struct account *account,
                               const struct export_sink *sink)
{
    struct row_range range = {.after_id = FIRST_ID, .limit = EXPORT_PAGE_ROWS};
    size_t count;
    do {
        struct hold_entry_list list = {.count = 0};
        enum error err = hold_repository_export(app->database, &account->user_id, &range, &list);
        for (size_t i = 0; !err && i < list.count; i++)
            if (!sink->hold(sink->context, &list.items[i]))
                err = ERROR_CLIENT_GONE;
        count = list.count;
        if (count > 0)
            range.after_id = list.items[count - 1].id;
        hold_entry_list_done(&list);
        if (err)
            return err;
    } while (count == EXPORT_PAGE_ROWS);
    return ERROR_OK;
}

static enum error export_generations(struct app *app, const struct account *account,
                                     const struct export_sink *sink)
{
    struct row_page page = {
        .before_created_at = INT64_MAX,
        .before_id = last_id(),
        .limit = EXPORT_PAGE_ROWS,
    };
    size_t count;
    do {
        struct generation_list list = {.count = 0};
        enum error err = generation_repository_list(app->database, &account->user_id, &page, &list);
        for (size_t i = 0; !err && i < list.count; i++)
            if (!sink->generation(sink->context, &list.items[i]))
                err = ERROR_CLIENT_GONE;
        count = list.count;
        if (count > 0) {
            page.before_created_at = list.items[count - 1].created_at;
            page.before_id = list.items[count - 1].id;
        }
        generation_list_done(&list);
        if (err)
            return err;
    } while (count == EXPORT_PAGE_ROWS);
    return ERROR_OK;
}

static enum error export_uploads(struct app *app, const struct account *account,
                                 const struct export_sink *sink)
{
    struct row_range range = {.after_id = FIRST_ID, .limit = EXPORT_PAGE_ROWS};
    size_t count;
    do {
        struct upload_list list = {.count = 0};
        enum error err = upload_repository_export(app->database, &account->user_id, &range, &list);
        for (size_t i = 0; !err && i < list.count; i++)
            if (!sink->upload(sink->context, &list.items[i]))
                err = ERROR_CLIENT_GONE;
        count = list.count;
        if (count > 0)
            range.after_id = list.items[count - 1].id;
        upload_list_done(&list);
        if (err)
            return err;
    } while (count == EXPORT_PAGE_ROWS);
    return ERROR_OK;
}

static enum error export_transactions(struct app *app, const struct account *account,
                                      const struct export_sink *sink)
{
    struct transaction_filter filter = {
        .before_created_at = INT64_MAX,
        .before_id = last_id(),
        .limit = EXPORT_PAGE_ROWS,
        .from = INT64_MIN,
        .to = INT64_MAX,
    };
    size_t count;
    do {
        struct transaction_list list = {.count = 0};
        enum error err =
            token_repository_transactions(app->database, &account->user_id, &filter, &list);
        for (size_t i = 0; !err && i < list.count; i++)
            if (!sink->transaction(sink->context, &list.items[i]))
                err = ERROR_CLIENT_GONE;
        count = list.count;
        if (count > 0) {
            filter.before_created_at = list.items[count - 1].created_at;
            filter.before_id = list.items[count - 1].id;
        }
        transaction_list_done(&list);
        if (err)
            return err;
    } while (count == EXPORT_PAGE_ROWS);
    return ERROR_OK;
}

static enum error export_usage(struct app *app, const struct account *account,
                               const struct export_sink *sink)
{
    struct row_range range = {.after_id = FIRST_ID, .limit = EXPORT_PAGE_ROWS};
    size_t count;
    do {
        struct usage_list list = {.count = 0};
        enum error err = usage_repository_list(app->database, &account->user_id, &range, &list);
        for (size_t i = 0; !err && i < list.count; i++)
            if (!sink->usage(sink->context, &list.items[i]))
                err = ERROR_CLIENT_GONE;
        count = list.count;
        if (count > 0)
            range.after_id = list.items[count - 1].id;
        usage_list_done(&list);
        if (err)
            return err;
    } while (count == EXPORT_PAGE_ROWS);
    return ERROR_OK;
}

enum error user_service_export(struct app *app, struct account *account,
                               const struct export_sink *sink)
{
    enum error err = export_account(app, account, sink);
    if (!err)
        err = export_subscriptions(app, account, sink);
    if (!err)
        err = export_payments(app, account, sink);
    if (!err)
        err = export_refunds(app, account, sink);
    if (!err)
        err = export_transactions(app, account, sink);
    if (!err)
        err = export_holds(app, account, sink);
    if (!err)
        err = export_generations(app, account, sink);
    if (!err)
        err = export_uploads(app, account, sink);
    if (!err)
        err = export_usage(app, account, sink);
    return err;
}

/* What is cached of the account and of whatever leads to it. */
static void name_cached(const struct uuid *user_id, const struct user_identity_list *identities,
                        struct cache_key *ret_keys)
{
    for (size_t i = 0; i < identities->count; i++)
        ret_keys[i] = cache_keys_identity(identities->items[i].identity);
    ret_keys[identities->count] = cache_keys_balance(user_id);
}

/* What is kept of each identity. */
static void make_digests(struct text secret, const struct user_identity_list *identities,
                         char (*digests)[DIGEST_TEXT_SIZE])
{
    for (size_t i = 0; i < identities->count; i++)
        identity_digest(secret, identities->items[i].identity, digests[i]);
}

static enum error erase_identities(struct app *app, const struct uuid *user_id,
                                   const struct user_identity_list *identities)
{
    enum erase_outcome outcome = ERASE_GONE;
    size_t count = identities->count + 1;
    struct cache_key *keys = calloc(count, sizeof(*keys));
    struct cache_write *writes = calloc(count, sizeof(*writes));
    char(*digests)[DIGEST_TEXT_SIZE] = calloc(count, sizeof(*digests));
    enum error err = ERROR_NO_MEMORY;
    if (!keys || !writes || !digests)
        goto out;
    make_digests(text_from(app->config->identity_digest_key), identities, digests);
    name_cached(user_id, identities, keys);
    cache_writes_begin(app, keys, count, writes);
    struct user_erasure erasure = {identities->items, digests, identities->count};
    err = user_repository_erase(app->database, user_id, &erasure, &outcome);
    cache_writes_end(app, writes, count);
    /* The identities, or the account they lead to, are read again. */
    if (!err && outcome != ERASE_DONE)
        err = ERROR_USER_NOT_FOUND;
out:
    free(keys);
    free(writes);
    free(digests);
    return err;
}

static enum error erase_once(struct app *app, const struct uuid *user_id, void *context)
{
    const struct account *account = context;
    struct user_identity_list identities = {.count = 0};
    enum error err = user_repository_identities(app->database, user_id, &identities);
    /* The account of a device that was linked meanwhile is the person's: a session erases it. */
    if (!err && account_is_linked_device(account, &identities))
        err = ERROR_SIGN_IN_REQUIRED;
    if (!err)
        err = erase_identities(app, user_id, &identities);
    user_identity_list_done(&identities);
    return err;
}

enum error user_service_erase(struct app *app, struct account *account)
{
    /* Without it a person could take every bonus once more after each erasure. */
    if (!app->config->identity_digest_key[0])
        return ERROR_NOT_CONFIGURED;
    return account_service_retry(app, account, erase_once, account);
}

enum error user_service_sweep(struct app *app)
{
    return user_repository_sweep(app->database, PERSON_SWEEP_ROWS_MAX);
}
