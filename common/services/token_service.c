#include "services/token_service.h"

#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "cache/cache.h"
#include "repositories/flight_queue.h"
#include "services/cache_keys.h"

_Static_assert(sizeof(struct token_status) <= CACHE_VALUE_BYTES_MAX, "a status fits a cache slot");

static enum error fill_status(const struct token_row *row, struct token_status *ret_status)
{
    struct token_status status;
    memset(&status, 0, sizeof(status)); /* no padding of the stack goes into shared memory */
    status.balance = row->balance;
    status.held = row->held;
    status.has_last_bonus_date = row->has_last_bonus_date;
    status.last_bonus_date = row->last_bonus_date;
    status.server_date = row->server_date;
    status.as_of = row->as_of;
    status.valid_until = row->has_next_hold_expiry ? row->next_hold_expiry : INT64_MAX;
    status.clock_offset = row->as_of - clock_unix_us();
    status.can_claim_bonus = !row->has_last_bonus_date || row->last_bonus_date < row->server_date;
    status.unlimited = !row->has_daily_generations;
    if (row->has_daily_generations) {
        int32_t left = row->daily_generations - row->generations_today;
        status.free_total = row->daily_generations;
        status.free_remaining = left > 0 ? left : 0;
    }
    if (!text_copy(row->plan, status.plan, sizeof(status.plan)) ||
        !text_copy(row->plan_quality, status.max_quality, sizeof(status.max_quality)))
        return ERROR_INTERNAL;
    *ret_status = status;
    return ERROR_OK;
}

/* Whether a cached status still holds: the database's date is the same and no hold has expired. */
static bool is_current(const struct token_status *status)
{
    int64_t now = clock_unix_us() + status->clock_offset;
    return clock_day(now) == status->server_date && now < status->valid_until;
}

enum error token_service_status(struct app *app, struct account *account,
                                struct token_status *ret_status)
{
    struct cache_key key = cache_keys_balance(&account->user_id);
    struct cache_lease lease;
    struct token_status cached;
    if (cache_get(app->cache, &key, &cached, sizeof(cached), &lease)) {
        if (is_current(&cached)) {
            *ret_status = cached;
            return ERROR_OK;
        }
        lease.may_store = false;
    }
    struct status_item item = {.user_id = account->user_id};
    enum error err = flight_queues_run(app->flights, FLIGHT_STATUS, &item);
    for (int i = 0; !err && !item.found && i < REOPENS_MAX; i++) {
        err = account_service_reopen(app, account);
        lease.may_store = false;
        item.user_id = account->user_id;
        if (!err)
            err = flight_queues_run(app->flights, FLIGHT_STATUS, &item);
    }
    if (!err)
        err = item.found ? fill_status(&item.row, ret_status) : ERROR_INTERNAL;
    if (!err)
        cache_store(app->cache, &key, &lease, ret_status, sizeof(*ret_status));
    return err;
}

/* The operation id is made of the account's: one that was opened anew is found by it next time. */
static enum error claim(struct app *app, const struct account *account,
                        const struct operation_key *key, struct token_bonus *ret_bonus,
                        bool *ret_found)
{
    struct operation operation = operation_make(key, &account->user_id);
    struct bonus_item item = {
        .user_id = account->user_id,
        .claim = {.operation_id = operation.id,
                  .keyed = operation.keyed,
                  .request_hash = operation.request_hash},
    };
    struct cache_key cached = cache_keys_balance(&account->user_id);
    struct cache_write write;
    cache_write_begin(app->cache, &cached, &write);
    enum error err = flight_queues_run(app->flights, FLIGHT_BONUS, &item);
    cache_write_end(app->cache, &write);
    *ret_bonus = item.bonus;
    *ret_found = item.found;
    return err;
}

enum error token_service_claim_bonus(struct app *app, struct account *account,
                                     const struct operation_key *key, struct token_bonus *ret_bonus)
{
    struct token_bonus bonus;
    bool found = false;
    enum error err = claim(app, account, key, &bonus, &found);
    for (int i = 0; !err && !found && i < REOPENS_MAX; i++) {
        err = account_service_reopen(app, account);
        if (!err)
            err = claim(app, account, key, &bonus, &found);
    }
    if (err)
        return err;
    if (!found)
        return ERROR_INTERNAL;
    if (bonus.outcome == BONUS_CLAIMED)
        return ERROR_BONUS_ALREADY_CLAIMED;
    if (bonus.outcome == BONUS_REUSED)
        return ERROR_IDEMPOTENCY_KEY_REUSED;
    if (bonus.outcome == BONUS_IN_PROGRESS)
        return ERROR_IDEMPOTENCY_IN_PROGRESS;
    *ret_bonus = bonus;
    return ERROR_OK;
}

enum error token_service_transactions(struct app *app, const struct account *account,
                                      const struct transaction_filter *filter,
                                      struct transaction_list *ret_list)
{
    return token_repository_transactions(app->database, &account->user_id, filter, ret_list);
}
