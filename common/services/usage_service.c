#include "services/usage_service.h"

#include "base/clock.h"

enum error usage_service_error(enum usage_result result)
{
    switch (result) {
    case USAGE_DONE:
    case USAGE_REPLAYED:
        return ERROR_OK;
    case USAGE_LIMITED:
        return ERROR_RATE_LIMITED;
    case USAGE_REUSED:
        return ERROR_IDEMPOTENCY_KEY_REUSED;
    case USAGE_IN_PROGRESS:
        return ERROR_IDEMPOTENCY_IN_PROGRESS;
    case USAGE_NO_ACCOUNT:
        return ERROR_USER_NOT_FOUND;
    }
    return ERROR_INTERNAL;
}

struct recording {
    const struct usage_order *order;
    struct usage_outcome outcome; /* result */
};

/* The operation id is made of the account's: one that was opened anew is found by it next time. */
static enum error record(struct app *app, const struct uuid *user_id, void *context)
{
    struct recording *recording = context;
    const struct usage_order *order = recording->order;
    struct new_usage usage = {
        .operation = operation_make(order->key, user_id),
        .action = order->action,
        .ip_address = order->client_address,
    };
    enum error err = usage_repository_record(app->database, user_id, &usage, &recording->outcome);
    bool missing = !err && recording->outcome.result == USAGE_NO_ACCOUNT;
    return missing ? ERROR_USER_NOT_FOUND : err;
}

enum error usage_service_record(struct app *app, struct account *account,
                                const struct usage_order *order, struct usage_outcome *ret_outcome)
{
    struct recording recording = {.order = order};
    enum error err = account_service_retry(app, account, record, &recording);
    if (err)
        return err;
    *ret_outcome = recording.outcome;
    return usage_service_error(recording.outcome.result);
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
