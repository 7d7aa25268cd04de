#include "repositories/payment_repository.h"

#include <stdlib.h>

#include "queries.h"
#include "repositories/outcome.h"
#include "repositories/row_access.h"

void payment_list_done(struct payment_list *list)
{
    free(list->items);
    rows_free(list->rows);
    *list = (struct payment_list){.count = 0};
}

#define PAYMENT_COLUMNS                                                                           \
    COLUMN(struct payment, user_id, UUID), COLUMN(struct payment, id, UUID),                      \
        COLUMN(struct payment, provider_id, TEXT), COLUMN(struct payment, purpose, TEXT),         \
        COLUMN(struct payment, amount, TEXT), COLUMN(struct payment, currency, TEXT),             \
        COLUMN(struct payment, status, TEXT), COLUMN(struct payment, token_package, TEXT),        \
        COLUMN(struct payment, plan, TEXT), COLUMN_NULLABLE(struct payment, tokens_amount, INT4), \
        COLUMN(struct payment, refunded_amount, TEXT),                                            \
        COLUMN(struct payment, confirmation_url, TEXT),                                           \
        COLUMN(struct payment, cancellation_reason, TEXT),                                        \
        COLUMN(struct payment, request_body, TEXT), COLUMN(struct payment, renews, BOOL),         \
        COLUMN(struct payment, credit_days, INT4), COLUMN(struct payment, created_at, TIMESTAMP)

/* The payment first, so that its columns are where PAYMENT_COLUMNS says. */
struct opened_payment {
    struct payment payment;
    struct text outcome;
};

STATEMENT(OPEN, .query = &query_payment_open, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_TEXT, SQL_TEXT, SQL_TEXT, SQL_TEXT, SQL_TEXT,
                           SQL_INT4, SQL_UUID, SQL_BOOL, SQL_TEXT, SQL_INT8, SQL_INT4),
          STATEMENT_COLUMNS(struct opened_payment, COLUMN(struct opened_payment, outcome, TEXT),
                            PAYMENT_COLUMNS));

/* Hands the row over as a list of one where the caller is to see it. Takes rows over. */
static enum error keep_payment(const struct opened_payment *opened, struct rows *rows,
                               enum payment_open_outcome outcome, struct payment_list *ret_list)
{
    if (outcome != PAYMENT_OPEN_DONE && outcome != PAYMENT_OPEN_REPLAYED) {
        rows_free(rows);
        return ERROR_OK;
    }
    struct payment *item = malloc(sizeof(*item));
    if (!item) {
        rows_free(rows);
        return ERROR_NO_MEMORY;
    }
    *item = opened->payment;
    *ret_list = (struct payment_list){.items = item, .count = 1, .rows = rows};
    return ERROR_OK;
}

enum error payment_repository_open(struct database *database, const struct new_payment *payment,
                                   enum payment_open_outcome *ret_outcome,
                                   struct payment_list *ret_list)
{
    static const char *const WORDS[] = {[PAYMENT_OPEN_DONE] = "done",
                                        [PAYMENT_OPEN_REPLAYED] = "replayed",
                                        [PAYMENT_OPEN_REUSED] = "reused",
                                        [PAYMENT_OPEN_IN_PROGRESS] = "in_progress"};
    const struct param params[] = {
        PARAM_UUID(payment->user_id),
        PARAM_UUID(payment->operation.id),
        PARAM_TEXT(payment->purpose),
        PARAM_TEXT(payment->token_package),
        PARAM_TEXT(payment->plan),
        PARAM_TEXT(payment->amount),
        PARAM_TEXT(payment->currency),
        PARAM_INT4_NULLABLE(payment->tokens_amount, payment->has_tokens_amount),
        PARAM_UUID_NULLABLE(payment->subscription_id, payment->has_subscription_id),
        PARAM_BOOL(payment->renews),
        PARAM_TEXT(payment->request_body),
        PARAM_REQUEST_HASH(payment->operation),
        PARAM_INT4(payment->lease_seconds),
    };
    struct opened_payment opened;
    struct rows *rows = NULL;
    bool found;
    int outcome = PAYMENT_OPEN_NO_ACCOUNT;
    *ret_list = (struct payment_list){.count = 0};
    enum error err = row_access_one(database, &OPEN, params, &opened, &found, &rows);
    if (!err && found)
        err = OUTCOME_READ(WORDS, opened.outcome, &outcome);
    if (!err)
        *ret_outcome = (enum payment_open_outcome)outcome;
    if (!err && found)
        return keep_payment(&opened, rows, *ret_outcome, ret_list);
    rows_free(rows);
    return err;
}

struct touched_row {
    struct uuid id;
};

STATEMENT(UNCERTAIN, .query = &query_payment_uncertain, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_INT4),
          STATEMENT_COLUMNS(struct touched_row, COLUMN(struct touched_row, id, UUID)));

enum error payment_repository_uncertain(struct database *database, const struct uuid *user_id,
                                        const struct uuid *id, int32_t retry_seconds)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(*id),
                                   PARAM_INT4(retry_seconds)};
    return database_run(database, &UNCERTAIN, params, NULL);
}

struct removed_row {
    bool removed;
};

STATEMENT(REFUSED, .query = &query_payment_refused, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID),
          STATEMENT_COLUMNS(struct removed_row, COLUMN(struct removed_row, removed, BOOL)));

enum error payment_repository_refused(struct database *database, const struct uuid *user_id,
                                      const struct uuid *id, bool *ret_removed)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(*id)};
    struct removed_row row;
    enum error err = row_access_one(database, &REFUSED, params, &row, NULL, NULL);
    if (!err)
        *ret_removed = row.removed;
    return err;
}

struct failed_row {
    bool failed;
};

STATEMENT(RENEWAL_REFUSED, .query = &query_renewal_refused, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID),
          STATEMENT_COLUMNS(struct failed_row, COLUMN(struct failed_row, failed, BOOL)));

enum error payment_repository_renewal_refused(struct database *database, const struct uuid *user_id,
                                              const struct uuid *id)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(*id)};
    return database_run(database, &RENEWAL_REFUSED, params, NULL);
}

STATEMENT(APPLY, .query = &query_payment_apply, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_TEXT, SQL_TEXT, SQL_TEXT, SQL_TEXT, SQL_BOOL,
                           SQL_BOOL, SQL_TEXT, SQL_TEXT, SQL_TEXT),
          STATEMENT_COLUMNS(struct applied_row, APPLIED_COLUMNS));

enum error payment_repository_apply(struct database *database, const struct payment_state *state,
                                    struct applied *ret_applied)
{
    const struct param params[] = {
        PARAM_UUID(state->user_id),
        PARAM_UUID(state->id),
        PARAM_TEXT(state->provider_id),
        PARAM_TEXT(state->status),
        PARAM_TEXT(state->amount),
        PARAM_TEXT(state->currency),
        PARAM_BOOL(state->test),
        PARAM_BOOL(state->test_accepted),
        PARAM_TEXT(state->confirmation_url),
        PARAM_TEXT(state->payment_method_id),
        PARAM_TEXT(state->cancellation_reason),
    };
    return provider_state_apply(database, &APPLY, params, ret_applied);
}

static enum error read_payments(struct database *database, const struct statement *statement,
                                const struct param *params, struct payment_list *ret_list)
{
    return row_access_all(database, statement, params, (void **)&ret_list->items, &ret_list->count,
                          &ret_list->rows);
}

STATEMENT(GET, .query = &query_payment_get, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID), STATEMENT_COLUMNS(struct payment, PAYMENT_COLUMNS));

enum error payment_repository_get(struct database *database, const struct uuid *user_id,
                                  const struct uuid *id, struct payment_list *ret_list)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(*id)};
    return read_payments(database, &GET, params, ret_list);
}

STATEMENT(PAGE, .query = &query_payment_page, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID, SQL_TIMESTAMP, SQL_UUID, SQL_INT4),
          STATEMENT_COLUMNS(struct payment, PAYMENT_COLUMNS));

enum error payment_repository_page(struct database *database, const struct uuid *user_id,
                                   const struct row_page *page, struct payment_list *ret_list)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_TIMESTAMP(page->before_created_at),
                                   PARAM_UUID(page->before_id), PARAM_INT4(page->limit)};
    return read_payments(database, &PAGE, params, ret_list);
}

STATEMENT(EXPORT, .query = &query_payment_export, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_INT4),
          STATEMENT_COLUMNS(struct payment, PAYMENT_COLUMNS));

enum error payment_repository_export(struct database *database, const struct uuid *user_id,
                                     const struct row_range *range, struct payment_list *ret_list)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(range->after_id),
                                   PARAM_INT4(range->limit)};
    return read_payments(database, &EXPORT, params, ret_list);
}

STATEMENT(CLAIM_DUE, .query = &query_payment_claim_due, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_INT4, SQL_INT4), STATEMENT_COLUMNS(struct payment, PAYMENT_COLUMNS));

enum error payment_repository_claim_due(struct database *database, int32_t limit,
                                        int32_t lease_seconds, struct payment_list *ret_list)
{
    const struct param params[] = {PARAM_INT4(limit), PARAM_INT4(lease_seconds)};
    return read_payments(database, &CLAIM_DUE, params, ret_list);
}

struct place_row {
    struct uuid user_id, payment_id;
};

STATEMENT(LOCATE_PROVIDER, .query = &query_payment_locate_provider, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_TEXT),
          STATEMENT_COLUMNS(struct place_row, COLUMN(struct place_row, user_id, UUID),
                            COLUMN(struct place_row, payment_id, UUID)));

enum error payment_repository_locate_provider(struct database *database, struct text provider_id,
                                              struct row_key *ret_key, bool *ret_found)
{
    const struct param params[] = {PARAM_TEXT(provider_id)};
    struct place_row row;
    enum error err = row_access_one(database, &LOCATE_PROVIDER, params, &row, ret_found, NULL);
    if (!err && *ret_found)
        *ret_key = (struct row_key){.user_id = row.user_id, .id = row.payment_id};
    return err;
}

STATEMENT(LOCATE, .query = &query_payment_locate, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID),
          STATEMENT_COLUMNS(struct place_row, COLUMN(struct place_row, user_id, UUID)));

enum error payment_repository_locate(struct database *database, const struct row_key *opened,
                                     struct row_key *ret_key, bool *ret_found)
{
    const struct param params[] = {PARAM_UUID(opened->user_id), PARAM_UUID(opened->id)};
    struct place_row row;
    enum error err = row_access_one(database, &LOCATE, params, &row, ret_found, NULL);
    if (!err && *ret_found)
        *ret_key = (struct row_key){.user_id = row.user_id, .id = opened->id};
    return err;
}

STATEMENT(VERIFY, .query = &query_payment_verify, .kind = STATEMENT_READ,
          STATEMENT_COLUMNS(struct payment_mismatch, COLUMN(struct payment_mismatch, user_id, UUID),
                            COLUMN(struct payment_mismatch, id, UUID),
                            COLUMN(struct payment_mismatch, expected, INT4),
                            COLUMN(struct payment_mismatch, found, INT8),
                            COLUMN(struct payment_mismatch, entries, INT8)));

enum error payment_repository_verify(struct database *database,
                                     struct payment_mismatch_list *ret_list)
{
    return row_access_all(database, &VERIFY, NULL, (void **)&ret_list->items, &ret_list->count,
                          &ret_list->rows);
}

void payment_mismatch_list_done(struct payment_mismatch_list *list)
{
    free(list->items);
    rows_free(list->rows);
    *list = (struct payment_mismatch_list){.count = 0};
}
