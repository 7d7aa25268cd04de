#include "repositories/subscription_repository.h"

#include <stdlib.h>

#include "queries.h"
#include "repositories/row_access.h"

void subscription_list_done(struct subscription_list *list)
{
    free(list->items);
    rows_free(list->rows);
    *list = (struct subscription_list){.count = 0};
}

#define SUBSCRIPTION_COLUMNS                                                                \
    COLUMN(struct subscription, user_id, UUID), COLUMN(struct subscription, id, UUID),      \
        COLUMN(struct subscription, plan, TEXT), COLUMN(struct subscription, status, TEXT), \
        COLUMN_NULLABLE(struct subscription, current_period_start, TIMESTAMP),              \
        COLUMN_NULLABLE(struct subscription, current_period_end, TIMESTAMP),                \
        COLUMN(struct subscription, cancel_at_period_end, BOOL),                            \
        COLUMN(struct subscription, payment_method_id, TEXT),                               \
        COLUMN(struct subscription, renewal_attempts, INT4),                                \
        COLUMN_NULLABLE(struct subscription, next_check_at, TIMESTAMP),                     \
        COLUMN_NULLABLE(struct subscription, grace_until, TIMESTAMP),                       \
        COLUMN(struct subscription, created_at, TIMESTAMP)

static enum error read_list(struct database *database, const struct statement *statement,
                            const struct param *params, struct subscription_list *ret_list)
{
    return row_access_all(database, statement, params, (void **)&ret_list->items, &ret_list->count,
                          &ret_list->rows);
}

STATEMENT(EXPORT, .query = &query_subscription_export, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_INT4),
          STATEMENT_COLUMNS(struct subscription, SUBSCRIPTION_COLUMNS));

enum error subscription_repository_export(struct database *database, const struct uuid *user_id,
                                          const struct row_range *range,
                                          struct subscription_list *ret_list)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(range->after_id),
                                   PARAM_INT4(range->limit)};
    return read_list(database, &EXPORT, params, ret_list);
}

STATEMENT(LIST, .query = &query_subscription_list, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID, SQL_INT4),
          STATEMENT_COLUMNS(struct subscription, SUBSCRIPTION_COLUMNS));

enum error subscription_repository_list(struct database *database, const struct uuid *user_id,
                                        int32_t limit, struct subscription_list *ret_list)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_INT4(limit)};
    return read_list(database, &LIST, params, ret_list);
}

STATEMENT(CURRENT, .query = &query_subscription_current, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID), STATEMENT_COLUMNS(struct subscription, SUBSCRIPTION_COLUMNS));

enum error subscription_repository_current(struct database *database, const struct uuid *user_id,
                                           struct subscription_list *ret_list)
{
    const struct param params[] = {PARAM_UUID(*user_id)};
    return read_list(database, &CURRENT, params, ret_list);
}

STATEMENT(CANCEL, .query = &query_subscription_cancel, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_BOOL, SQL_UUID),
          STATEMENT_COLUMNS(struct subscription, SUBSCRIPTION_COLUMNS));

enum error subscription_repository_cancel(struct database *database,
                                          const struct subscription_cancellation *wanted,
                                          struct subscription_list *ret_list)
{
    const struct param params[] = {
        PARAM_UUID(wanted->user_id), PARAM_BOOL(wanted->cancel),
        PARAM_UUID_NULLABLE(wanted->only_id ? *wanted->only_id : wanted->user_id,
                            wanted->only_id != NULL)};
    return read_list(database, &CANCEL, params, ret_list);
}

STATEMENT(END, .query = &query_subscription_end, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID),
          STATEMENT_COLUMNS(struct subscription, SUBSCRIPTION_COLUMNS));

enum error subscription_repository_end(struct database *database, const struct row_key *key,
                                       struct subscription_list *ret_list)
{
    const struct param params[] = {PARAM_UUID(key->user_id), PARAM_UUID(key->id)};
    return read_list(database, &END, params, ret_list);
}

struct place_row {
    struct uuid user_id;
};

STATEMENT(LOCATE, .query = &query_subscription_locate, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID),
          STATEMENT_COLUMNS(struct place_row, COLUMN(struct place_row, user_id, UUID)));

enum error subscription_repository_locate(struct database *database, const struct row_key *known,
                                          struct row_key *ret_key, bool *ret_found)
{
    const struct param params[] = {PARAM_UUID(known->user_id), PARAM_UUID(known->id)};
    struct place_row row;
    enum error err = row_access_one(database, &LOCATE, params, &row, ret_found, NULL);
    if (!err && *ret_found)
        *ret_key = (struct row_key){.user_id = row.user_id, .id = known->id};
    return err;
}

STATEMENT(CLAIM_DUE, .query = &query_subscription_claim_due, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_INT4, SQL_INT4),
          STATEMENT_COLUMNS(struct subscription, SUBSCRIPTION_COLUMNS,
                            COLUMN(struct subscription, late, BOOL)));

enum error subscription_repository_claim_due(struct database *database, int32_t limit,
                                             int32_t lease_seconds,
                                             struct subscription_list *ret_list)
{
    const struct param params[] = {PARAM_INT4(limit), PARAM_INT4(lease_seconds)};
    return read_list(database, &CLAIM_DUE, params, ret_list);
}
