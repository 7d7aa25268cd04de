#include "repositories/billing_repository.h"

#include <stdlib.h>

#include "queries.h"
#include "repositories/row_access.h"

STATEMENT(SUBSCRIPTIONS, .query = &query_subscription_list, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_INT4),
          STATEMENT_COLUMNS(struct subscription, COLUMN(struct subscription, id, UUID),
                            COLUMN(struct subscription, plan, TEXT),
                            COLUMN(struct subscription, status, TEXT),
                            COLUMN_NULLABLE(struct subscription, current_period_start, TIMESTAMP),
                            COLUMN_NULLABLE(struct subscription, current_period_end, TIMESTAMP),
                            COLUMN(struct subscription, created_at, TIMESTAMP)));

enum error billing_repository_subscriptions(struct database *database, const struct uuid *user_id,
                                            const struct uuid *after_id, int32_t limit,
                                            struct subscription_list *ret_list)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(*after_id),
                                   PARAM_INT4(limit)};
    return row_access_all(database, &SUBSCRIPTIONS, params, (void **)&ret_list->items,
                          &ret_list->count, &ret_list->rows);
}

void subscription_list_done(struct subscription_list *list)
{
    free(list->items);
    rows_free(list->rows);
    *list = (struct subscription_list){.count = 0};
}

STATEMENT(PAYMENTS, .query = &query_payment_list, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_INT4),
          STATEMENT_COLUMNS(struct payment, COLUMN(struct payment, id, UUID),
                            COLUMN(struct payment, amount, TEXT),
                            COLUMN(struct payment, currency, TEXT),
                            COLUMN(struct payment, status, TEXT),
                            COLUMN(struct payment, token_package, TEXT),
                            COLUMN_NULLABLE(struct payment, tokens_amount, INT4),
                            COLUMN(struct payment, created_at, TIMESTAMP)));

enum error billing_repository_payments(struct database *database, const struct uuid *user_id,
                                       const struct uuid *after_id, int32_t limit,
                                       struct payment_list *ret_list)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(*after_id),
                                   PARAM_INT4(limit)};
    return row_access_all(database, &PAYMENTS, params, (void **)&ret_list->items,
                          &ret_list->count, &ret_list->rows);
}

void payment_list_done(struct payment_list *list)
{
    free(list->items);
    rows_free(list->rows);
    *list = (struct payment_list){.count = 0};
}
