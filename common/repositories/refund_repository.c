#include "repositories/refund_repository.h"

#include <stdlib.h>

#include "queries.h"
#include "repositories/outcome.h"
#include "repositories/row_access.h"

void refund_list_done(struct refund_list *list)
{
    free(list->items);
    rows_free(list->rows);
    *list = (struct refund_list){.count = 0};
}

#define REFUND_COLUMNS                                                                         \
    COLUMN(struct refund, user_id, UUID), COLUMN(struct refund, id, UUID),                     \
        COLUMN(struct refund, payment_id, UUID), COLUMN(struct refund, provider_id, TEXT),     \
        COLUMN(struct refund, provider_payment_id, TEXT), COLUMN(struct refund, amount, TEXT), \
        COLUMN(struct refund, currency, TEXT), COLUMN(struct refund, status, TEXT),            \
        COLUMN(struct refund, tokens_taken, INT4), COLUMN(struct refund, tokens_owed, INT4),   \
        COLUMN(struct refund, request_body, TEXT), COLUMN(struct refund, created_at, TIMESTAMP)

/* The refund first, as in opened_payment. */
struct opened_refund {
    struct refund refund;
    struct text outcome;
};

STATEMENT(OPEN, .query = &query_refund_open, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_UUID, SQL_TEXT, SQL_TEXT, SQL_INT8, SQL_INT4),
          STATEMENT_COLUMNS(struct opened_refund, COLUMN(struct opened_refund, outcome, TEXT),
                            REFUND_COLUMNS));

enum error refund_repository_open(struct database *database, const struct new_refund *refund,
                                  enum refund_open_outcome *ret_outcome,
                                  struct refund_list *ret_list)
{
    static const char *const WORDS[] = {
        [REFUND_OPEN_DONE] = "done",         [REFUND_OPEN_REPLAYED] = "replayed",
        [REFUND_OPEN_REUSED] = "reused",     [REFUND_OPEN_IN_PROGRESS] = "in_progress",
        [REFUND_OPEN_NOT_PAID] = "not_paid", [REFUND_OPEN_TOO_MUCH] = "too_much"};
    const struct param params[] = {
        PARAM_UUID(refund->user_id),       PARAM_UUID(refund->operation.id),
        PARAM_UUID(refund->payment_id),    PARAM_TEXT(refund->amount),
        PARAM_TEXT(refund->request_body),  PARAM_REQUEST_HASH(refund->operation),
        PARAM_INT4(refund->lease_seconds),
    };
    struct opened_refund opened;
    struct rows *rows = NULL;
    struct refund *item = NULL;
    int outcome;
    *ret_list = (struct refund_list){.count = 0};
    enum error err = row_access_one(database, &OPEN, params, &opened, NULL, &rows);
    if (!err)
        err = OUTCOME_READ(WORDS, opened.outcome, &outcome);
    if (err)
        goto out;
    if (outcome == REFUND_OPEN_DONE || outcome == REFUND_OPEN_REPLAYED) {
        item = malloc(sizeof(*item));
        if (!item) {
            err = ERROR_NO_MEMORY;
            goto out;
        }
        *item = opened.refund;
        *ret_list = (struct refund_list){.items = item, .count = 1, .rows = rows};
        rows = NULL;
    }
    *ret_outcome = (enum refund_open_outcome)outcome;
out:
    rows_free(rows);
    return err;
}

struct touched_row {
    struct uuid id;
};

STATEMENT(UNCERTAIN, .query = &query_refund_uncertain, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_INT4),
          STATEMENT_COLUMNS(struct touched_row, COLUMN(struct touched_row, id, UUID)));

enum error refund_repository_uncertain(struct database *database, const struct uuid *user_id,
                                       const struct uuid *id, int32_t retry_seconds)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(*id),
                                   PARAM_INT4(retry_seconds)};
    return database_run(database, &UNCERTAIN, params, NULL);
}

struct removed_row {
    bool removed;
};

STATEMENT(REFUSED, .query = &query_refund_refused, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID),
          STATEMENT_COLUMNS(struct removed_row, COLUMN(struct removed_row, removed, BOOL)));

enum error refund_repository_refused(struct database *database, const struct uuid *user_id,
                                     const struct uuid *id, bool *ret_removed)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(*id)};
    struct removed_row row;
    enum error err = row_access_one(database, &REFUSED, params, &row, NULL, NULL);
    if (!err)
        *ret_removed = row.removed;
    return err;
}

STATEMENT(APPLY, .query = &query_refund_apply, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_UUID, SQL_TEXT, SQL_TEXT, SQL_TEXT, SQL_TEXT,
                           SQL_TEXT),
          STATEMENT_COLUMNS(struct applied_row, APPLIED_COLUMNS));

enum error refund_repository_apply(struct database *database, const struct refund_state *state,
                                   struct applied *ret_applied)
{
    const struct param params[] = {
        PARAM_UUID(state->user_id),
        PARAM_UUID(state->id),
        PARAM_UUID(state->payment_id),
        PARAM_TEXT(state->provider_id),
        PARAM_TEXT(state->provider_payment_id),
        PARAM_TEXT(state->status),
        PARAM_TEXT(state->amount),
        PARAM_TEXT(state->currency),
    };
    return provider_state_apply(database, &APPLY, params, ret_applied);
}

static enum error read_refunds(struct database *database, const struct statement *statement,
                               const struct param *params, struct refund_list *ret_list)
{
    return row_access_all(database, statement, params, (void **)&ret_list->items, &ret_list->count,
                          &ret_list->rows);
}

STATEMENT(GET, .query = &query_refund_get, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID), STATEMENT_COLUMNS(struct refund, REFUND_COLUMNS));

enum error refund_repository_get(struct database *database, const struct uuid *user_id,
                                 const struct uuid *id, struct refund_list *ret_list)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(*id)};
    return read_refunds(database, &GET, params, ret_list);
}

STATEMENT(EXPORT, .query = &query_refund_export, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_INT4),
          STATEMENT_COLUMNS(struct refund, REFUND_COLUMNS));

enum error refund_repository_export(struct database *database, const struct uuid *user_id,
                                    const struct row_range *range, struct refund_list *ret_list)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(range->after_id),
                                   PARAM_INT4(range->limit)};
    return read_refunds(database, &EXPORT, params, ret_list);
}

STATEMENT(CLAIM_DUE, .query = &query_refund_claim_due, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_INT4, SQL_INT4), STATEMENT_COLUMNS(struct refund, REFUND_COLUMNS));

enum error refund_repository_claim_due(struct database *database, int32_t limit,
                                       int32_t lease_seconds, struct refund_list *ret_list)
{
    const struct param params[] = {PARAM_INT4(limit), PARAM_INT4(lease_seconds)};
    return read_refunds(database, &CLAIM_DUE, params, ret_list);
}
