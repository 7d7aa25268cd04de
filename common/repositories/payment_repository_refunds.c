/* Refunds: the part of payment_repository.h about them. */
#include "repositories/payment_repository.h"

#include <stdlib.h>
#include <string.h>

#include "queries.h"
#include "repositories/payment_repository_internal.h"
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

STATEMENT(REFUND_OPEN, .query = &query_refund_open, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_UUID, SQL_TEXT, SQL_TEXT, SQL_INT8, SQL_INT4),
          STATEMENT_COLUMNS(struct opened_refund, COLUMN(struct opened_refund, outcome, TEXT),
                            REFUND_COLUMNS));

enum error payment_repository_refund_open(struct database *database,
                                          const struct new_refund *refund, int32_t lease_seconds,
                                          enum refund_open_outcome *ret_outcome,
                                          struct refund_list *ret_list)
{
    static const struct outcome_word WORDS[] = {{"done", REFUND_OPEN_DONE},
                                                {"replayed", REFUND_OPEN_REPLAYED},
                                                {"reused", REFUND_OPEN_REUSED},
                                                {"in_progress", REFUND_OPEN_IN_PROGRESS},
                                                {"not_paid", REFUND_OPEN_NOT_PAID},
                                                {"too_much", REFUND_OPEN_TOO_MUCH},
                                                {NULL, 0}};
    const struct param params[] = {
        PARAM_UUID(refund->user_id),      PARAM_UUID(refund->id),
        PARAM_UUID(refund->payment_id),   PARAM_TEXT(refund->amount),
        PARAM_TEXT(refund->request_body), PARAM_INT8_NULLABLE(refund->request_hash, refund->keyed),
        PARAM_INT4(lease_seconds),
    };
    struct opened_refund opened;
    struct rows *rows = NULL;
    struct refund *item = NULL;
    int outcome;
    *ret_list = (struct refund_list){.count = 0};
    enum error err = row_access_one(database, &REFUND_OPEN, params, &opened, NULL, &rows);
    if (!err)
        err = payment_repository_outcome(WORDS, opened.outcome, &outcome);
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

STATEMENT(REFUND_UNCERTAIN, .query = &query_refund_uncertain, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_INT4),
          STATEMENT_COLUMNS(struct touched_row, COLUMN(struct touched_row, id, UUID)));

enum error payment_repository_refund_uncertain(struct database *database,
                                               const struct uuid *user_id, const struct uuid *id,
                                               int32_t retry_seconds)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(*id),
                                   PARAM_INT4(retry_seconds)};
    return database_run(database, &REFUND_UNCERTAIN, params, NULL);
}

STATEMENT(REFUND_REFUSED, .query = &query_refund_refused, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID),
          STATEMENT_COLUMNS(struct removed_row, COLUMN(struct removed_row, removed, BOOL)));

enum error payment_repository_refund_refused(struct database *database, const struct uuid *user_id,
                                             const struct uuid *id, bool *ret_removed)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(*id)};
    return payment_repository_run_refused(database, &REFUND_REFUSED, params, ret_removed);
}

STATEMENT(REFUND_APPLY, .query = &query_refund_apply, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_UUID, SQL_TEXT, SQL_TEXT, SQL_TEXT, SQL_TEXT,
                           SQL_TEXT),
          STATEMENT_COLUMNS(struct applied_row, APPLIED_COLUMNS));

enum error payment_repository_refund_apply(struct database *database,
                                           const struct refund_truth *truth,
                                           enum payment_apply_outcome *ret_outcome,
                                           char ret_kind[static PAYMENT_KIND_SIZE])
{
    const struct param params[] = {
        PARAM_UUID(truth->user_id),
        PARAM_UUID(truth->id),
        PARAM_UUID(truth->payment_id),
        PARAM_TEXT(truth->provider_id),
        PARAM_TEXT(truth->provider_payment_id),
        PARAM_TEXT(truth->status),
        PARAM_TEXT(truth->amount),
        PARAM_TEXT(truth->currency),
    };
    struct applied applied;
    enum error err = payment_repository_run_apply(database, &REFUND_APPLY, params, &applied);
    if (err)
        return err;
    *ret_outcome = applied.outcome;
    memcpy(ret_kind, applied.kind, PAYMENT_KIND_SIZE);
    return ERROR_OK;
}

static enum error read_refunds(struct database *database, const struct statement *statement,
                               const struct param *params, struct refund_list *ret_list)
{
    return row_access_all(database, statement, params, (void **)&ret_list->items, &ret_list->count,
                          &ret_list->rows);
}

STATEMENT(REFUND_GET, .query = &query_refund_get, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID), STATEMENT_COLUMNS(struct refund, REFUND_COLUMNS));

enum error payment_repository_refund_get(struct database *database, const struct uuid *user_id,
                                         const struct uuid *id, struct refund_list *ret_list)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(*id)};
    return read_refunds(database, &REFUND_GET, params, ret_list);
}

STATEMENT(REFUND_EXPORT, .query = &query_refund_export, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_INT4),
          STATEMENT_COLUMNS(struct refund, REFUND_COLUMNS));

enum error payment_repository_refund_export(struct database *database, const struct uuid *user_id,
                                            const struct uuid *after_id, int32_t limit,
                                            struct refund_list *ret_list)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(*after_id), PARAM_INT4(limit)};
    return read_refunds(database, &REFUND_EXPORT, params, ret_list);
}

STATEMENT(REFUND_CLAIM_DUE, .query = &query_refund_claim_due, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_INT4, SQL_INT4), STATEMENT_COLUMNS(struct refund, REFUND_COLUMNS));

enum error payment_repository_refund_claim_due(struct database *database, int32_t limit,
                                               int32_t lease_seconds, struct refund_list *ret_list)
{
    const struct param params[] = {PARAM_INT4(limit), PARAM_INT4(lease_seconds)};
    return read_refunds(database, &REFUND_CLAIM_DUE, params, ret_list);
}
