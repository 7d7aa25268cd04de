#include "repositories/ledger_repository.h"

#include <stdlib.h>

#include "queries.h"
#include "repositories/outcome.h"
#include "repositories/row_access.h"

/* What most movements return. */
struct answer_row {
    struct text outcome;
    int32_t balance, held;
    int64_t expires_at;
    struct uuid reversal_id;
};

/* Reads what a movement returned, and frees it. Without a row there is no such account. */
static enum error read_answer(struct rows *rows, struct answer_row *ret_row,
                              enum ledger_outcome *ret_outcome)
{
    static const char *const WORDS[] = {
        [LEDGER_DONE] = "done",
        [LEDGER_REPLAYED] = "replayed",
        [LEDGER_INSUFFICIENT] = "insufficient",
        [LEDGER_LIMIT] = "limit",
        [LEDGER_REUSED] = "reused",
        [LEDGER_IN_PROGRESS] = "in_progress",
        [LEDGER_NOT_FOUND] = "not_found",
        [LEDGER_NOT_PENDING] = "not_pending",
        [LEDGER_TOO_MUCH] = "too_much",
        [LEDGER_ALREADY_REVERSED] = "already_reversed",
        [LEDGER_OF_PAYMENT] = "of_payment",
    };
    int outcome = LEDGER_NO_ACCOUNT;
    enum error err = ERROR_OK;
    *ret_row = (struct answer_row){.balance = 0};
    if (rows_count(rows) > 0) {
        rows_read(rows, 0, ret_row);
        err = OUTCOME_READ(WORDS, ret_row->outcome, &outcome);
    }
    ret_row->outcome = (struct text){NULL, 0};
    rows_free(rows);
    *ret_outcome = (enum ledger_outcome)outcome;
    return err;
}

static enum error read_movement(struct rows *rows, struct movement_answer *ret_answer)
{
    struct answer_row row;
    enum error err = read_answer(rows, &row, &ret_answer->outcome);
    if (!err)
        ret_answer->balance = row.balance;
    return err;
}

STATEMENT(POST, .query = &query_ledger_post, .flight = &query_ledger_post_flight,
          .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_INT4, SQL_TEXT, SQL_TEXT, SQL_INT8),
          STATEMENT_COLUMNS(struct answer_row, COLUMN(struct answer_row, outcome, TEXT),
                            COLUMN(struct answer_row, balance, INT4)));

static void bind_movement(const struct movement *movement,
                          struct param ret_params[static MOVEMENT_PARAMS])
{
    ret_params[0] = PARAM_UUID(movement->user_id);
    ret_params[1] = PARAM_UUID(movement->operation.id);
    ret_params[2] = PARAM_INT4(movement->amount);
    ret_params[3] = PARAM_TEXT(movement->type);
    ret_params[4] = PARAM_TEXT(movement->description);
    ret_params[5] = PARAM_REQUEST_HASH(movement->operation);
}

static void fill_request(const struct movement *movement, struct movement_request *request)
{
    bind_movement(movement, request->params);
    request->item = (struct flight_item){.statement = &POST, .params = request->params};
}

enum error ledger_repository_post_start(struct database *database, const struct movement *movement,
                                        struct movement_request *request)
{
    const struct flight_listener listener = {.done = request->done, .context = request->context};
    fill_request(movement, request);
    return flight_start(database, &request->item, &listener);
}

bool ledger_repository_post_waits(const struct movement_request *request)
{
    return flight_waits(&request->item);
}

enum error ledger_repository_post_finish(struct database *database,
                                         struct movement_request *request,
                                         struct movement_answer *ret_answer)
{
    struct rows *rows;
    enum error err = flight_finish(database, &request->item, &rows);
    return err ? err : read_movement(rows, ret_answer);
}

enum error ledger_repository_post(struct database *database, const struct movement *movement,
                                  struct movement_answer *ret_answer)
{
    struct param params[MOVEMENT_PARAMS];
    struct rows *rows;
    bind_movement(movement, params);
    enum error err = database_run_alone(database, &POST, params, &rows);
    return err ? err : read_movement(rows, ret_answer);
}

enum error ledger_repository_post_many(struct database *database, struct movement_item *items,
                                       size_t count)
{
    struct movement_request *requests = calloc(count, sizeof(*requests));
    struct flight_item **flight = calloc(count, sizeof(struct flight_item *));
    enum error err = ERROR_NO_MEMORY;
    if (!requests || !flight)
        goto out;
    for (size_t i = 0; i < count; i++) {
        fill_request(&items[i].movement, &requests[i]);
        flight[i] = &requests[i].item;
    }
    err = flight_run_many(database, flight, count);
    for (size_t i = 0; i < count; i++)
        items[i].err = ledger_repository_post_finish(database, &requests[i], &items[i].answer);
out:
    free(requests);
    free(flight);
    return err;
}

STATEMENT(ENTRY, .query = &query_ledger_entry, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID),
          STATEMENT_COLUMNS(struct answer_row, COLUMN(struct answer_row, balance, INT4)));

enum error ledger_repository_entry(struct database *database, const struct row_key *entry,
                                   int32_t *ret_balance, bool *ret_found)
{
    const struct param params[] = {PARAM_UUID(entry->user_id), PARAM_UUID(entry->id)};
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
                                     struct reversal_answer *ret_answer)
{
    const struct param params[] = {
        PARAM_UUID(reversal->user_id),           PARAM_UUID(reversal->entry_user_id),
        PARAM_UUID(reversal->entry_id),          PARAM_UUID(reversal->operation.id),
        PARAM_REQUEST_HASH(reversal->operation),
    };
    struct rows *rows;
    struct answer_row row;
    enum error err = database_run(database, &REVERSE, params, &rows);
    if (!err)
        err = read_answer(rows, &row, &ret_answer->outcome);
    if (err)
        return err;
    ret_answer->balance = row.balance;
    ret_answer->reversal_id = row.reversal_id;
    return ERROR_OK;
}

STATEMENT(HOLD, .query = &query_hold_create, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_INT4, SQL_INT4, SQL_TEXT, SQL_INT8),
          STATEMENT_COLUMNS(struct answer_row, COLUMN(struct answer_row, outcome, TEXT),
                            COLUMN(struct answer_row, balance, INT4),
                            COLUMN(struct answer_row, held, INT4),
                            COLUMN(struct answer_row, expires_at, TIMESTAMP)));

enum error ledger_repository_hold(struct database *database, const struct new_hold *hold,
                                  struct hold_answer *ret_answer)
{
    const struct param params[] = {
        PARAM_UUID(hold->user_id),     PARAM_UUID(hold->operation.id),
        PARAM_INT4(hold->amount),      PARAM_INT4(hold->ttl_seconds),
        PARAM_TEXT(hold->description), PARAM_REQUEST_HASH(hold->operation),
    };
    struct rows *rows;
    struct answer_row row;
    enum error err = database_run(database, &HOLD, params, &rows);
    if (!err)
        err = read_answer(rows, &row, &ret_answer->outcome);
    if (err)
        return err;
    ret_answer->balance = row.balance;
    ret_answer->held = row.held;
    ret_answer->expires_at = row.expires_at;
    return ERROR_OK;
}

STATEMENT(CAPTURE, .query = &query_hold_capture, .flight = &query_hold_capture_flight,
          .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_INT4, SQL_UUID, SQL_INT8),
          STATEMENT_COLUMNS(struct answer_row, COLUMN(struct answer_row, outcome, TEXT),
                            COLUMN(struct answer_row, balance, INT4)));

enum error ledger_repository_capture(struct database *database, const struct capture *capture,
                                     struct movement_answer *ret_answer)
{
    const struct param params[] = {
        PARAM_UUID(capture->hold.user_id),
        PARAM_UUID(capture->hold.id),
        PARAM_INT4_NULLABLE(capture->amount, !capture->whole),
        PARAM_UUID(capture->operation.id),
        PARAM_REQUEST_HASH(capture->operation),
    };
    struct rows *rows;
    enum error err = database_run(database, &CAPTURE, params, &rows);
    return err ? err : read_movement(rows, ret_answer);
}

STATEMENT(RELEASE, .query = &query_hold_release, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID),
          STATEMENT_COLUMNS(struct answer_row, COLUMN(struct answer_row, outcome, TEXT),
                            COLUMN(struct answer_row, balance, INT4)));

enum error ledger_repository_release(struct database *database, const struct row_key *hold,
                                     struct movement_answer *ret_answer)
{
    const struct param params[] = {PARAM_UUID(hold->user_id), PARAM_UUID(hold->id)};
    struct rows *rows;
    enum error err = database_run(database, &RELEASE, params, &rows);
    return err ? err : read_movement(rows, ret_answer);
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

enum error ledger_repository_account_at(struct database *database,
                                        const struct account_moment *moment,
                                        struct ledger_account *ret_account, bool *ret_found)
{
    const struct param params[] = {PARAM_UUID(moment->user_id), PARAM_TIMESTAMP(moment->at)};
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
