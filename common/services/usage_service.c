#include "services/usage_service.h"

#include "base/clock.h"

enum error usage_service_record(struct app *app, struct account *account, struct text action,
                                struct text client_address, struct usage_outcome *ret_outcome)
{
    struct uuid usage_id = uuid_new();
    bool found = false;
    enum error err = usage_repository_record(app->database, &account->user_id, &usage_id, action,
                                             client_address, ret_outcome, &found);
    if (!err && !found) {
        err = account_service_reopen(app, account);
        if (!err)
            err = usage_repository_record(app->database, &account->user_id, &usage_id, action,
                                          client_address, ret_outcome, &found);
    }
    if (err)
        return err;
    if (!found)
        return ERROR_INTERNAL;
    return ret_outcome->allowed ? ERROR_OK : ERROR_RATE_LIMITED;
}

enum error usage_service_today(struct app *app, const struct account *account,
                               struct usage_today *ret_today)
{
    return usage_repository_today(app->database, &account->user_id, ret_today);
}

int usage_service_wait_seconds(const struct usage_outcome *outcome)
{
    int64_t left_us = outcome->reset_at - clock_unix_us();
    /* The window is a minute; a clock of the database that is off must not say more. */
    int64_t seconds = (left_us + 999999) / 1000000;
    return seconds < 1 ? 1 : seconds > 60 ? 60 : (int)seconds;
}
