#include "repositories/ledger_repository.h"

#include <stdlib.h>

#include "database/array.h"
#include "queries.h"
#include "repositories/row_access.h"

/* The words of sql/migrations; one that is not here is a defect of this build. */
static enum error read_outcome(struct text word, enum ledger_outcome *ret_outcome)
{
    static const struct {
        const char *word;
        enum ledger_outcome outcome;
    } TABLE[] = {
        {"done", LEDGER_DONE},
        {"replayed", LEDGER_REPLAYED},
        {"insufficient", LEDGER_INSUFFICIENT},
        {"limit", LEDGER_LIMIT},
        {"reused", LEDGER_REUSED},
        {"in_progress", LEDGER_IN_PROGRESS},
        {"not_found", LEDGER_NOT_FOUND},
        {"not_pending", LEDGER_NOT_PENDING},
        {"too_much", LEDGER_TOO_MUCH},
        {"already_reversed", LEDGER_ALREADY_REVERSED},
        {"of_payment", LEDGER_OF_PAYMENT},
    };
    for (size_t i = 0; i < sizeof(TABLE) / sizeof(TABLE[0]); i++) {
        if (text_equal(word, text_from(TABLE[i].word))) {
            *ret_outcome = TABLE[i].outcome;
            return ERROR_OK;
        }
    }
    return ERROR_INTERNAL;
}

/* The columns most movements return. */
struct answer_row {
    struct text outcome;
    int32_t balance, held;
    int64_t expires_at;
    struct uuid reversal_id;
};

static enum error run_movement(struct database *database, const struct statement *statement,
                               const struct param *params, struct answer_row *ret_row,
                               enum ledger_outcome *ret_outcome, bool *ret_found)
{
    struct rows *rows = NULL;
    enum error err = row_access_one(database, statement, params, ret_row, ret_found, &rows);
    if (err || !*ret_found)
        return err;
    err = read_outcome(ret_row->outcome, ret_outcome);
    ret_row->outcome = (struct text){NULL, 0};
    rows_free(rows);
    return err;
}

/* The same of a movement or capture, whose answer is but a balance. */
static enum error run_answered(struct database *database, const struct statement *statement,
                               const struct param *params, struct movement_answer *ret_answer)
{
    struct answer_row row;
    bool found = false;
    enum error err = run_movement(database, statement, params, &row, &ret_answer->outcome, &found);
    if (err)
        return err;
    if (!found)
        *ret_answer = (struct movement_answer){.outcome = LEDGER_NO_ACCOUNT};
    else
        ret_answer->balance = row.balance;
    return ERROR_OK;
}

/* And of many of them at once. Without an outcome there is no such account. */
struct flight_row {
    int32_t place;
    struct text outcome;
    int32_t balance;
};

static enum error read_flight_row(const struct flight_row *row, struct flight_item *ret_item,
                                  struct movement_answer *ret_answer)
{
    ret_answer->balance = row->balance;
    ret_answer->outcome = LEDGER_NO_ACCOUNT;
    ret_item->alone = text_equal(row->outcome, TEXT_LITERAL("alone"));
    if (!row->outcome.data || ret_item->alone)
        return ERROR_OK;
    return read_outcome(row->outcome, &ret_answer->outcome);
}

STATEMENT(POST, .query = &query_ledger_post, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_INT4, SQL_TEXT, SQL_TEXT, SQL_INT8),
          STATEMENT_COLUMNS(struct answer_row, COLUMN(struct answer_row, outcome, TEXT),
                            COLUMN(struct answer_row, balance, INT4)));

static enum error post_alone(struct database *database, void *opaque)
{
    struct movement_item *item = opaque;
    const struct movement *movement = &item->movement;
    const struct param params[] = {
        PARAM_UUID(movement->user_id),
        PARAM_UUID(movement->id),
        PARAM_INT4(movement->amount),
        PARAM_TEXT(movement->type),
        PARAM_TEXT(movement->description),
        PARAM_INT8_NULLABLE(movement->request_hash, movement->keyed),
    };
    return run_answered(database, &POST, params, &item->answer);
}

STATEMENT(POST_FLIGHT, .query = &query_ledger_post_flight, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID_ARRAY, SQL_UUID_ARRAY, SQL_INT4_ARRAY, SQL_TEXT_ARRAY,
                           SQL_TEXT_ARRAY, SQL_INT8_ARRAY),
          STATEMENT_COLUMNS(struct flight_row, COLUMN(struct flight_row, place, INT4),
                            COLUMN(struct flight_row, outcome, TEXT),
                            COLUMN(struct flight_row, balance, INT4)));

static void encode_movement(const void *opaque, struct buffer *arrays)
{
    const struct movement *movement = &((const struct movement_item *)opaque)->movement;
    array_uuid(&arrays[0], &movement->user_id);
    array_uuid(&arrays[1], &movement->id);
    array_int4(&arrays[2], movement->amount);
    array_text(&arrays[3], movement->type);
    array_text(&arrays[4], movement->description);
    array_int8(&arrays[5], movement->keyed ? movement->request_hash : 0);
}

static enum error decode_movement(const void *row, void *opaque)
{
    struct movement_item *item = opaque;
    return read_flight_row(row, &item->flight, &item->answer);
}

const struct flight_kind ledger_repository_movements = {
    .statement = &POST_FLIGHT,
    .encode = encode_movement,
    .decode = decode_movement,
    .run_alone = post_alone,
};

STATEMENT(ENTRY, .query = &query_ledger_entry, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID),
          STATEMENT_COLUMNS(struct answer_row, COLUMN(struct answer_row, balance, INT4)));

enum error ledger_repository_entry(struct database *database, const struct uuid *user_id,
                                   const struct uuid *id, int32_t *ret_balance, bool *ret_found)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(*id)};
    struct answer_row row;
    enum error err = row_access_one(database, &ENTRY, params, &row, ret_found, NULL);
    if (!err && *ret_found)
        *ret_balance = row.balance;
    return err;
}

STATEMENT(REVERSE, .query = &query_ledger_reverse, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_UUID, SQL_UUID, SQL_INT8),
          STATEMENT_COLUMNS(struct answer_row, COLUMN(struct answer_row, outcome, TEXT),
                            COLUMN(struct answer_row, balance, INT4),
                            COLUMN(struct answer_row, reversal_id, UUID)));

enum error ledger_repository_reverse(struct database *database, const struct reversal *reversal,
                                     enum ledger_outcome *ret_outcome, int32_t *ret_balance,
                                     struct uuid *ret_reversal_id, bool *ret_found)
{
    const struct param params[] = {
        PARAM_UUID(reversal->user_id),
        PARAM_UUID(reversal->entry_user_id),
        PARAM_UUID(reversal->entry_id),
        PARAM_UUID(reversal->operation_id),
        PARAM_INT8_NULLABLE(reversal->request_hash, reversal->keyed),
    };
    struct answer_row row;
    enum error err = run_movement(database, &REVERSE, params, &row, ret_outcome, ret_found);
    if (!err && *ret_found) {
        *ret_balance = row.balance;
        *ret_reversal_id = row.reversal_id;
    }
    return err;
}

STATEMENT(HOLD, .query = &query_hold_create, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_INT4, SQL_INT4, SQL_TEXT, SQL_INT8),
          STATEMENT_COLUMNS(struct answer_row, COLUMN(struct answer_row, outcome, TEXT),
                            COLUMN(struct answer_row, balance, INT4),
                            COLUMN(struct answer_row, held, INT4),
                            COLUMN(struct answer_row, expires_at, TIMESTAMP)));

enum error ledger_repository_hold(struct database *database, const struct new_hold *hold,
                                  struct hold_answer *ret_answer, bool *ret_found)
{
    const struct param params[] = {
        PARAM_UUID(hold->user_id),     PARAM_UUID(hold->id),
        PARAM_INT4(hold->amount),      PARAM_INT4(hold->ttl_seconds),
        PARAM_TEXT(hold->description), PARAM_INT8_NULLABLE(hold->request_hash, hold->keyed),
    };
    struct answer_row row;
    enum error err = run_movement(database, &HOLD, params, &row, &ret_answer->outcome, ret_found);
    if (!err && *ret_found) {
        ret_answer->balance = row.balance;
        ret_answer->held = row.held;
        ret_answer->expires_at = row.expires_at;
    }
    return err;
}

STATEMENT(CAPTURE, .query = &query_hold_capture, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_INT4, SQL_UUID, SQL_INT8),
          STATEMENT_COLUMNS(struct answer_row, COLUMN(struct answer_row, outcome, TEXT),
                            COLUMN(struct answer_row, balance, INT4)));

static enum error capture_alone(struct database *database, void *opaque)
{
    struct capture_item *item = opaque;
    const struct capture *capture = &item->capture;
    const struct param params[] = {
        PARAM_UUID(capture->user_id),
        PARAM_UUID(capture->hold_id),
        PARAM_INT4_NULLABLE(capture->amount, !capture->whole),
        PARAM_UUID(capture->operation_id),
        PARAM_INT8_NULLABLE(capture->request_hash, capture->keyed),
    };
    return run_answered(database, &CAPTURE, params, &item->answer);
}

STATEMENT(CAPTURE_FLIGHT, .query = &query_hold_capture_flight, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID_ARRAY, SQL_UUID_ARRAY, SQL_INT4_ARRAY, SQL_UUID_ARRAY,
                           SQL_INT8_ARRAY),
          STATEMENT_COLUMNS(struct flight_row, COLUMN(struct flight_row, place, INT4),
                            COLUMN(struct flight_row, outcome, TEXT),
                            COLUMN(struct flight_row, balance, INT4)));

static void encode_capture(const void *opaque, struct buffer *arrays)
{
    const struct capture *capture = &((const struct capture_item *)opaque)->capture;
    array_uuid(&arrays[0], &capture->user_id);
    array_uuid(&arrays[1], &capture->hold_id);
    array_int4(&arrays[2], capture->whole ? 0 : capture->amount);
    array_uuid(&arrays[3], &capture->operation_id);
    array_int8(&arrays[4], capture->keyed ? capture->request_hash : 0);
}

static enum error decode_capture(const void *row, void *opaque)
{
    struct capture_item *item = opaque;
    return read_flight_row(row, &item->flight, &item->answer);
}

const struct flight_kind ledger_repository_captures = {
    .statement = &CAPTURE_FLIGHT,
    .encode = encode_capture,
    .decode = decode_capture,
    .run_alone = capture_alone,
};

STATEMENT(RELEASE, .query = &query_hold_release, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID),
          STATEMENT_COLUMNS(struct answer_row, COLUMN(struct answer_row, outcome, TEXT),
                            COLUMN(struct answer_row, balance, INT4)));

enum error ledger_repository_release(struct database *database, const struct uuid *user_id,
                                     const struct uuid *hold_id, enum ledger_outcome *ret_outcome,
                                     int32_t *ret_balance, bool *ret_found)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(*hold_id)};
    struct answer_row row;
    enum error err = run_movement(database, &RELEASE, params, &row, ret_outcome, ret_found);
    if (!err && *ret_found)
        *ret_balance = row.balance;
    return err;
}

struct swept_row {
    int32_t swept;
};

STATEMENT(SWEEP, .query = &query_hold_sweep, .kind = STATEMENT_WRITE, STATEMENT_PARAMS(SQL_INT4),
          STATEMENT_COLUMNS(struct swept_row, COLUMN(struct swept_row, swept, INT4)));

enum error ledger_repository_sweep(struct database *database, int32_t limit)
{
    const struct param params[] = {PARAM_INT4(limit)};
    return database_run(database, &SWEEP, params, NULL);
}

STATEMENT(ACCOUNT, .query = &query_ledger_account, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID),
          STATEMENT_COLUMNS(struct ledger_account, COLUMN(struct ledger_account, balance, INT4),
                            COLUMN(struct ledger_account, held, INT4)));

enum error ledger_repository_account(struct database *database, const struct uuid *user_id,
                                     struct ledger_account *ret_account, bool *ret_found)
{
    const struct param params[] = {PARAM_UUID(*user_id)};
    return row_access_one(database, &ACCOUNT, params, ret_account, ret_found, NULL);
}

STATEMENT(ACCOUNT_AT, .query = &query_ledger_account_at, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID, SQL_TIMESTAMP),
          STATEMENT_COLUMNS(struct ledger_account, COLUMN(struct ledger_account, balance, INT4),
                            COLUMN(struct ledger_account, held, INT4)));

enum error ledger_repository_account_at(struct database *database, const struct uuid *user_id,
                                        int64_t at, struct ledger_account *ret_account,
                                        bool *ret_found)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_TIMESTAMP(at)};
    return row_access_one(database, &ACCOUNT_AT, params, ret_account, ret_found, NULL);
}

STATEMENT(VERIFY, .query = &query_ledger_verify, .kind = STATEMENT_READ,
          STATEMENT_COLUMNS(struct ledger_mismatch, COLUMN(struct ledger_mismatch, user_id, UUID),
                            COLUMN(struct ledger_mismatch, balance, INT4),
                            COLUMN(struct ledger_mismatch, entries_sum, INT8),
                            COLUMN(struct ledger_mismatch, chain_breaks, INT8),
                            COLUMN(struct ledger_mismatch, held, INT4),
                            COLUMN(struct ledger_mismatch, holds_sum, INT8)));

enum error ledger_repository_verify(struct database *database,
                                    struct ledger_mismatch_list *ret_list)
{
    return row_access_all(database, &VERIFY, NULL, (void **)&ret_list->items, &ret_list->count,
                          &ret_list->rows);
}

void ledger_mismatch_list_done(struct ledger_mismatch_list *list)
{
    free(list->items);
    rows_free(list->rows);
    *list = (struct ledger_mismatch_list){.count = 0};
}

STATEMENT(TOTALS, .query = &query_ledger_totals, .kind = STATEMENT_READ,
          STATEMENT_COLUMNS(struct ledger_totals, COLUMN(struct ledger_totals, accounts, INT8),
                            COLUMN(struct ledger_totals, entries, INT8)));

enum error ledger_repository_totals(struct database *database, struct ledger_totals *ret_totals)
{
    return row_access_one(database, &TOTALS, NULL, ret_totals, NULL, NULL);
}

struct merged_row {
    struct uuid merged_into;
};

STATEMENT(MERGED_INTO, .query = &query_user_merged_into, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID),
          STATEMENT_COLUMNS(struct merged_row, COLUMN(struct merged_row, merged_into, UUID)));

enum error ledger_repository_merged_into(struct database *database, const struct uuid *user_id,
                                         struct uuid *ret_user_id, bool *ret_found)
{
    const struct param params[] = {PARAM_UUID(*user_id)};
    struct merged_row row;
    enum error err = row_access_one(database, &MERGED_INTO, params, &row, ret_found, NULL);
    if (!err && *ret_found)
        *ret_user_id = row.merged_into;
    return err;
}
