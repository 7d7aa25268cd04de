#include "services/token_service.h"

#include "base/clock.h"
#include "cache/cache.h"
#include "services/cache_keys.h"

_Static_assert(sizeof(struct token_status) <= CACHE_VALUE_BYTES_MAX, "a status fits a cache slot");

/* What is asked of the database where the cache does not know. */
struct status_query {
    struct token_status status; /* result */
    struct cache_lease lease;
};

static enum error read_status(struct app *app, const struct uuid *user_id, void *context)
{
    struct status_query *query = context;
    struct token_row row;
    bool found = false;
    int64_t asked_us = clock_unix_us();
    enum error err = token_repository_status(app->database, user_id, &row, &found);
    if (!err && !found) {
        query->lease.may_store = false; /* it is of the account that is not there */
        return ERROR_USER_NOT_FOUND;
    }
    if (err)
        return err;
    err = token_status_fill(&row, asked_us, &query->status);
    token_row_done(&row);
    return err;
}

enum error token_service_status(struct app *app, struct account *account,
                                struct token_status *ret_status)
{
    struct cache_key key = cache_keys_balance(&account->user_id);
    struct status_query query;
    struct token_status cached;
    if (cache_get(app->cache, &key, &cached, sizeof(cached), &query.lease)) {
        if (token_status_is_current(&cached, clock_unix_us())) {
            *ret_status = cached;
            return ERROR_OK;
        }
        query.lease.may_store = false;
    }
    enum error err = account_service_retry(app, account, read_status, &query);
    if (err)
        return err;
    cache_store(app->cache, &key, &query.lease, &query.status, sizeof(query.status));
    *ret_status = query.status;
    return ERROR_OK;
}

struct bonus_claim {
    const struct operation_key *key;
    struct token_bonus bonus; /* result */
};

/* The operation id is made of the account's: one that was opened anew is found by it next time. */
static enum error claim(struct app *app, const struct uuid *user_id, void *context)
{
    struct bonus_claim *claim = context;
    struct operation operation = operation_make(claim->key, user_id);
    enum error err =
        token_repository_claim_bonus(app->database, user_id, &operation, &claim->bonus);
    return !err && claim->bonus.outcome == BONUS_NO_ACCOUNT ? ERROR_USER_NOT_FOUND : err;
}

enum error token_service_claim_bonus(struct app *app, struct account *account,
                                     const struct operation_key *key, struct token_bonus *ret_bonus)
{
    struct bonus_claim bonus = {.key = key};
    enum error err = account_service_write(app, account, claim, &bonus);
    if (err)
        return err;
    switch (bonus.bonus.outcome) {
    case BONUS_DONE:
    case BONUS_REPLAYED:
        *ret_bonus = bonus.bonus;
        return ERROR_OK;
    case BONUS_CLAIMED:
        return ERROR_BONUS_ALREADY_CLAIMED;
    case BONUS_REUSED:
        return ERROR_IDEMPOTENCY_KEY_REUSED;
    case BONUS_IN_PROGRESS:
        return ERROR_IDEMPOTENCY_IN_PROGRESS;
    case BONUS_NO_ACCOUNT:
        break;
    }
    return ERROR_INTERNAL;
}

enum error token_service_transactions(struct app *app, const struct account *account,
                                      const struct transaction_filter *filter,
                                      struct transaction_list *ret_list)
{
    return token_repository_transactions(app->database, &account->user_id, filter, ret_list);
}
