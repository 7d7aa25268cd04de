#include "services/user_service.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "cache/cache.h"
#include "services/cache_keys.h"

enum error user_service_profile(struct app *app, struct account *account,
                                struct user_profile *ret_profile)
{
    bool found = false;
    enum error err = user_repository_profile(app->database, &account->user_id, ret_profile, &found);
    for (int i = 0; !err && !found && i < REOPENS_MAX; i++) {
        err = account_service_reopen(app, account);
        if (!err)
            err = user_repository_profile(app->database, &account->user_id, ret_profile, &found);
    }
    return !err && !found ? ERROR_INTERNAL : err;
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

static enum error export_account(struct app *app, struct account *account,
                                 const struct export_sink *sink)
{
    struct user_export user = {.rows = NULL};
    struct user_identity_list identities = {.count = 0};
    bool found = false;
    enum error err = user_repository_export(app->database, &account->user_id, &user, &found);
    for (int i = 0; !err && !found && i < REOPENS_MAX; i++) {
        err = account_service_reopen(app, account);
        if (!err)
            err = user_repository_export(app->database, &account->user_id, &user, &found);
    }
    if (!err && !found)
        err = ERROR_INTERNAL;
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

static enum error export_generations(struct app *app, const struct account *account,
                                     const struct export_sink *sink)
{
    int64_t before = INT64_MAX;
    struct uuid before_id = last_id();
    size_t count;
    do {
        struct generation_list list = {.count = 0};
        enum error err = generation_repository_list(app->database, &account->user_id, before,
                                                    &before_id, EXPORT_PAGE_ROWS, &list);
        for (size_t i = 0; !err && i < list.count; i++)
            if (!sink->generation(sink->context, &list.items[i]))
                err = ERROR_CLIENT_GONE;
        count = list.count;
        if (count > 0) {
            before = list.items[count - 1].created_at;
            before_id = list.items[count - 1].id;
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
    struct uuid after = FIRST_ID;
    size_t count;
    do {
        struct usage_list list = {.count = 0};
        enum error err = usage_repository_list(app->database, &account->user_id, &after,
                                               EXPORT_PAGE_ROWS, &list);
        for (size_t i = 0; !err && i < list.count; i++)
            if (!sink->usage(sink->context, &list.items[i]))
                err = ERROR_CLIENT_GONE;
        count = list.count;
        if (count > 0)
            after = list.items[count - 1].id;
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
        err = export_generations(app, account, sink);
    if (!err)
        err = export_uploads(app, account, sink);
    if (!err)
        err = export_usage(app, account, sink);
    return err;
}

/* ret_erased false: there is no such open account (any more). */
static enum error erase_once(struct app *app, const struct account *account, bool *ret_erased)
{
    struct cache_key balance = cache_keys_balance(&account->user_id);
    struct cache_write balance_write;
    struct cache_write *writes = NULL;
    struct user_identity_list identities = {.count = 0};
    enum error err = user_repository_identities(app->database, &account->user_id, &identities);
    if (err)
        return err;
    writes = calloc(identities.count + 1, sizeof(*writes));
    if (!writes) {
        err = ERROR_NO_MEMORY;
        goto out;
    }
    for (size_t i = 0; i < identities.count; i++) {
        struct cache_key key = cache_keys_identity(identities.items[i].identity);
        cache_write_begin(app->cache, &key, &writes[i]);
    }
    cache_write_begin(app->cache, &balance, &balance_write);
    err = user_repository_erase(app->database, &account->user_id, ret_erased);
    cache_write_end(app->cache, &balance_write);
    for (size_t i = 0; i < identities.count; i++)
        cache_write_end(app->cache, &writes[i]);
out:
    free(writes);
    user_identity_list_done(&identities);
    return err;
}

enum error user_service_erase(struct app *app, struct account *account)
{
    bool erased = false;
    enum error err = erase_once(app, account, &erased);
    /* A device that was linked meanwhile is erased with the account it belongs to now. */
    for (int i = 0; !err && !erased && i < REOPENS_MAX; i++) {
        err = account_service_reopen(app, account);
        if (!err)
            err = erase_once(app, account, &erased);
    }
    return !err && !erased ? ERROR_INTERNAL : err;
}
