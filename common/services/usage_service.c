#include "services/usage_service.h"

#include "base/clock.h"
#include "base/limits.h"
#include "repositories/flight_queue.h"

enum error usage_service_error(enum usage_result result)
{
    return result == USAGE_LIMITED       ? ERROR_RATE_LIMITED
           : result == USAGE_REUSED      ? ERROR_IDEMPOTENCY_KEY_REUSED
           : result == USAGE_IN_PROGRESS ? ERROR_IDEMPOTENCY_IN_PROGRESS
                                         : ERROR_OK;
}

/* The operation id is made of the account's: one that was opened anew is found by it next time. */
static enum error record(struct app *app, const struct account *account,
                         const struct operation_key *key, struct usage_item *item)
{
    struct operation operation = operation_make(key, &account->user_id);
    item->user_id = account->user_id;
    item->usage.id = operation.id;
    item->usage.keyed = operation.keyed;
    item->usage.request_hash = operation.request_hash;
    return flight_queues_run(app->flights, FLIGHT_USAGE, item);
}

enum error usage_service_record(struct app *app, struct account *account, struct text action,
                                struct text client_address, const struct operation_key *key,
                                struct usage_outcome *ret_outcome)
{
    struct usage_item item = {.usage = {.action = action, .ip_address = client_address}};
    enum error err = record(app, account, key, &item);
    for (int i = 0; !err && !item.found && i < REOPENS_MAX; i++) {
        err = account_service_reopen(app, account);
        if (!err)
            err = record(app, account, key, &item);
    }
    if (err)
        return err;
    *ret_outcome = item.outcome;
    return item.found ? usage_service_error(item.outcome.result) : ERROR_INTERNAL;
}

enum error usage_service_today(struct app *app, const struct account *account,
                               struct usage_today *ret_today)
{
    return usage_repository_today(app->database, &account->user_id, ret_today);
}

int usage_service_seconds_until(int64_t time_us)
{
    int64_t left_us = time_us - clock_unix_us();
    /* The window is a minute; a clock of the database that is off must not say more. */
    int64_t seconds = (left_us + 999999) / 1000000;
    return seconds < 1 ? 1 : seconds > 60 ? 60 : (int)seconds;
}
