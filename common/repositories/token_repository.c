#include "repositories/token_repository.h"

#include <stdlib.h>

#include "queries.h"
#include "repositories/outcome.h"
#include "repositories/row_access.h"

STATEMENT(STATUS, .query = &query_token_status, .flight = &query_token_status_flight,
          .kind = STATEMENT_READ, STATEMENT_PARAMS(SQL_UUID),
          STATEMENT_COLUMNS(struct token_row, COLUMN(struct token_row, balance, INT4),
                            COLUMN(struct token_row, held, INT4),
                            COLUMN_NULLABLE(struct token_row, next_hold_expiry, TIMESTAMP),
                            COLUMN_NULLABLE(struct token_row, last_bonus_date, DATE),
                            COLUMN(struct token_row, server_date, DATE),
                            COLUMN(struct token_row, as_of, TIMESTAMP),
                            COLUMN(struct token_row, plan, TEXT),
                            COLUMN(struct token_row, plan_quality, TEXT),
                            COLUMN_NULLABLE(struct token_row, daily_generations, INT4),
                            COLUMN(struct token_row, generations_today, INT4)));

enum error token_repository_status(struct database *database, const struct uuid *user_id,
                                   struct token_row *ret_row, bool *ret_found)
{
    const struct param params[] = {PARAM_UUID(*user_id)};
    struct rows *rows = NULL;
    enum error err = row_access_one(database, &STATUS, params, ret_row, ret_found, &rows);
    if (!err && *ret_found)
        ret_row->rows = rows;
    return err;
}

void token_row_done(struct token_row *row)
{
    rows_free(row->rows);
    row->rows = NULL;
}

struct bonus_row {
    struct text outcome;
    int32_t tokens_awarded;
    int32_t balance;
};

STATEMENT(CLAIM_BONUS, .query = &query_token_claim_bonus, .flight = &query_token_claim_bonus_flight,
          .kind = STATEMENT_WRITE, STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_INT8),
          STATEMENT_COLUMNS(struct bonus_row, COLUMN(struct bonus_row, outcome, TEXT),
                            COLUMN(struct bonus_row, tokens_awarded, INT4),
                            COLUMN(struct bonus_row, balance, INT4)));

enum error token_repository_claim_bonus(struct database *database, const struct uuid *user_id,
                                        const struct operation *operation,
                                        struct token_bonus *ret_bonus)
{
    static const char *const WORDS[] = {
        [BONUS_DONE] = "done",     [BONUS_REPLAYED] = "replayed",       [BONUS_CLAIMED] = "claimed",
        [BONUS_REUSED] = "reused", [BONUS_IN_PROGRESS] = "in_progress",
    };
    const struct param params[] = {
        PARAM_UUID(*user_id),
        PARAM_UUID(operation->id),
        PARAM_REQUEST_HASH(*operation),
    };
    struct bonus_row row = {.balance = 0};
    struct rows *rows = NULL;
    int outcome = BONUS_NO_ACCOUNT;
    bool found = false;
    enum error err = row_access_one(database, &CLAIM_BONUS, params, &row, &found, &rows);
    if (!err && found)
        err = OUTCOME_READ(WORDS, row.outcome, &outcome);
    rows_free(rows);
    if (err)
        return err;
    *ret_bonus = (struct token_bonus){
        .outcome = (enum bonus_outcome)outcome,
        .tokens_awarded = row.tokens_awarded,
        .balance = row.balance,
    };
    return ERROR_OK;
}

STATEMENT(TRANSACTIONS, .query = &query_transaction_list, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID, SQL_TIMESTAMP, SQL_UUID, SQL_INT4, SQL_TEXT, SQL_TIMESTAMP,
                           SQL_TIMESTAMP),
          STATEMENT_COLUMNS(struct transaction, COLUMN(struct transaction, user_id, UUID),
                            COLUMN(struct transaction, id, UUID),
                            COLUMN(struct transaction, amount, INT4),
                            COLUMN(struct transaction, type, TEXT),
                            COLUMN(struct transaction, description, TEXT),
                            COLUMN(struct transaction, balance_after, INT4),
                            COLUMN(struct transaction, created_at, TIMESTAMP)));

enum error token_repository_transactions(struct database *database, const struct uuid *user_id,
                                         const struct transaction_filter *filter,
                                         struct transaction_list *ret_list)
{
    const struct param params[] = {
        PARAM_UUID(*user_id),          PARAM_TIMESTAMP(filter->before_created_at),
        PARAM_UUID(filter->before_id), PARAM_INT4(filter->limit),
        PARAM_TEXT(filter->type),      PARAM_TIMESTAMP(filter->from),
        PARAM_TIMESTAMP(filter->to),
    };
    return row_access_all(database, &TRANSACTIONS, params, (void **)&ret_list->items,
                          &ret_list->count, &ret_list->rows);
}

void transaction_list_done(struct transaction_list *list)
{
    free(list->items);
    rows_free(list->rows);
    *list = (struct transaction_list){.count = 0};
}
