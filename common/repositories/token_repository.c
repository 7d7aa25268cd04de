#include "repositories/token_repository.h"

#include <stdlib.h>

#include "database/array.h"
#include "queries.h"
#include "repositories/row_access.h"

STATEMENT(STATUS, .query = &query_token_status, .kind = STATEMENT_READ, STATEMENT_PARAMS(SQL_UUID),
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

static enum error answer_status(const struct token_row *row, struct status_item *item)
{
    if (!text_copy(row->plan, item->plan, sizeof(item->plan)) ||
        !text_copy(row->plan_quality, item->plan_quality, sizeof(item->plan_quality)))
        return ERROR_INTERNAL;
    item->found = true;
    item->row = *row;
    item->row.plan = text_from(item->plan);
    item->row.plan_quality = text_from(item->plan_quality);
    return ERROR_OK;
}

static enum error status_alone(struct database *database, void *opaque)
{
    struct status_item *item = opaque;
    const struct param params[] = {PARAM_UUID(item->user_id)};
    struct token_row row;
    struct rows *rows = NULL;
    bool found = false;
    enum error err = row_access_one(database, &STATUS, params, &row, &found, &rows);
    if (!err && found)
        err = answer_status(&row, item);
    rows_free(rows);
    return err;
}

struct status_flight_row {
    int32_t place;
    struct token_row answer;
};

#define ANSWER(field, type) COLUMN_OF(struct status_flight_row, answer, field, type)
#define ANSWER_NULLABLE(field, type) \
    COLUMN_NULLABLE_OF(struct status_flight_row, answer, field, type)
STATEMENT(STATUS_FLIGHT, .query = &query_token_status_flight, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID_ARRAY),
          STATEMENT_COLUMNS(struct status_flight_row, COLUMN(struct status_flight_row, place, INT4),
                            ANSWER(balance, INT4), ANSWER(held, INT4),
                            ANSWER_NULLABLE(next_hold_expiry, TIMESTAMP),
                            ANSWER_NULLABLE(last_bonus_date, DATE), ANSWER(server_date, DATE),
                            ANSWER(as_of, TIMESTAMP), ANSWER(plan, TEXT),
                            ANSWER(plan_quality, TEXT), ANSWER_NULLABLE(daily_generations, INT4),
                            ANSWER(generations_today, INT4)));
#undef ANSWER
#undef ANSWER_NULLABLE

static void encode_status(const void *opaque, struct buffer *arrays)
{
    const struct status_item *item = opaque;
    array_uuid(&arrays[0], &item->user_id);
}

static enum error decode_status(const void *row, void *item)
{
    return answer_status(&((const struct status_flight_row *)row)->answer, item);
}

const struct flight_kind token_repository_statuses = {
    .statement = &STATUS_FLIGHT,
    .encode = encode_status,
    .decode = decode_status,
    .run_alone = status_alone,
};

struct bonus_row {
    struct text outcome;
    int32_t tokens_awarded;
    int32_t balance;
};

STATEMENT(CLAIM_BONUS, .query = &query_token_claim_bonus, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_INT8),
          STATEMENT_COLUMNS(struct bonus_row, COLUMN(struct bonus_row, outcome, TEXT),
                            COLUMN(struct bonus_row, tokens_awarded, INT4),
                            COLUMN(struct bonus_row, balance, INT4)));

static enum bonus_outcome read_bonus_outcome(struct text word)
{
    return text_equal(word, TEXT_LITERAL("done"))          ? BONUS_DONE
           : text_equal(word, TEXT_LITERAL("replayed"))    ? BONUS_REPLAYED
           : text_equal(word, TEXT_LITERAL("reused"))      ? BONUS_REUSED
           : text_equal(word, TEXT_LITERAL("in_progress")) ? BONUS_IN_PROGRESS
                                                           : BONUS_CLAIMED;
}

static void read_bonus(const struct bonus_row *row, struct token_bonus *ret_bonus)
{
    ret_bonus->outcome = read_bonus_outcome(row->outcome);
    ret_bonus->tokens_awarded = row->tokens_awarded;
    ret_bonus->balance = row->balance;
}

static enum error claim_alone(struct database *database, void *opaque)
{
    struct bonus_item *item = opaque;
    const struct param params[] = {
        PARAM_UUID(item->user_id),
        PARAM_UUID(item->claim.operation_id),
        PARAM_INT8_NULLABLE(item->claim.request_hash, item->claim.keyed),
    };
    struct bonus_row row;
    struct rows *rows = NULL;
    enum error err = row_access_one(database, &CLAIM_BONUS, params, &row, &item->found, &rows);
    if (err || !item->found)
        return err;
    read_bonus(&row, &item->bonus);
    rows_free(rows);
    return ERROR_OK;
}

struct bonus_flight_row {
    int32_t place;
    struct bonus_row answer; /* without an outcome there is no such account */
};

STATEMENT(CLAIM_BONUS_FLIGHT, .query = &query_token_claim_bonus_flight, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID_ARRAY, SQL_UUID_ARRAY, SQL_INT8_ARRAY),
          STATEMENT_COLUMNS(struct bonus_flight_row, COLUMN(struct bonus_flight_row, place, INT4),
                            COLUMN_OF(struct bonus_flight_row, answer, outcome, TEXT),
                            COLUMN_OF(struct bonus_flight_row, answer, tokens_awarded, INT4),
                            COLUMN_OF(struct bonus_flight_row, answer, balance, INT4)));

static void encode_claim(const void *opaque, struct buffer *arrays)
{
    const struct bonus_item *item = opaque;
    array_uuid(&arrays[0], &item->user_id);
    array_uuid(&arrays[1], &item->claim.operation_id);
    array_int8(&arrays[2], item->claim.keyed ? item->claim.request_hash : 0);
}

static enum error decode_claim(const void *opaque_row, void *opaque)
{
    const struct bonus_flight_row *row = opaque_row;
    struct bonus_item *item = opaque;
    item->found = row->answer.outcome.data != NULL;
    if (item->found)
        read_bonus(&row->answer, &item->bonus);
    return ERROR_OK;
}

const struct flight_kind token_repository_bonuses = {
    .statement = &CLAIM_BONUS_FLIGHT,
    .encode = encode_claim,
    .decode = decode_claim,
    .run_alone = claim_alone,
};

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
