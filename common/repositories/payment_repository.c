#include "repositories/payment_repository.h"

#include <stdlib.h>
#include <string.h>

#include "queries.h"
#include "repositories/payment_repository_internal.h"
#include "repositories/row_access.h"

enum error payment_repository_outcome(const struct outcome_word *table, struct text word,
                                      int *ret_outcome)
{
    for (; table->word; table++) {
        if (text_equal(word, text_from(table->word))) {
            *ret_outcome = table->outcome;
            return ERROR_OK;
        }
    }
    return ERROR_INTERNAL;
}

/* ---- prices ---- */

void price_done(struct price *price)
{
    rows_free(price->rows);
    price->rows = NULL;
}

#define PRICE_COLUMNS                                                         \
    COLUMN(struct price, amount, TEXT), COLUMN(struct price, currency, TEXT), \
        COLUMN(struct price, tokens, INT4)

STATEMENT(PACKAGE, .query = &query_payment_package, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_TEXT), STATEMENT_COLUMNS(struct price, PRICE_COLUMNS));
STATEMENT(PLAN, .query = &query_payment_plan, .kind = STATEMENT_READ, STATEMENT_PARAMS(SQL_TEXT),
          STATEMENT_COLUMNS(struct price, PRICE_COLUMNS));

static enum error read_price(struct database *database, const struct statement *statement,
                             struct text name, struct price *ret_price, bool *ret_found)
{
    const struct param params[] = {PARAM_TEXT(name)};
    struct rows *rows = NULL;
    enum error err = row_access_one(database, statement, params, ret_price, ret_found, &rows);
    if (!err && *ret_found)
        ret_price->rows = rows;
    return err;
}

enum error payment_repository_package(struct database *database, struct text package,
                                      struct price *ret_price, bool *ret_found)
{
    return read_price(database, &PACKAGE, package, ret_price, ret_found);
}

enum error payment_repository_plan(struct database *database, struct text plan,
                                   struct price *ret_price, bool *ret_found)
{
    return read_price(database, &PLAN, plan, ret_price, ret_found);
}

/* ---- payments ---- */

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
        COLUMN(struct payment, request_body, TEXT), COLUMN(struct payment, created_at, TIMESTAMP)

/* The payment first, so that its columns are where PAYMENT_COLUMNS says. */
struct opened_payment {
    struct payment payment;
    struct text outcome;
};

STATEMENT(OPEN, .query = &query_payment_open, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_TEXT, SQL_TEXT, SQL_TEXT, SQL_TEXT, SQL_TEXT,
                           SQL_INT4, SQL_UUID, SQL_TEXT, SQL_INT8, SQL_INT4),
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
                                   int32_t lease_seconds, enum payment_open_outcome *ret_outcome,
                                   struct payment_list *ret_list)
{
    static const struct outcome_word WORDS[] = {{"done", PAYMENT_OPEN_DONE},
                                                {"replayed", PAYMENT_OPEN_REPLAYED},
                                                {"reused", PAYMENT_OPEN_REUSED},
                                                {"in_progress", PAYMENT_OPEN_IN_PROGRESS},
                                                {NULL, 0}};
    const struct param params[] = {
        PARAM_UUID(payment->user_id),
        PARAM_UUID(payment->id),
        PARAM_TEXT(payment->purpose),
        PARAM_TEXT(payment->token_package),
        PARAM_TEXT(payment->plan),
        PARAM_TEXT(payment->amount),
        PARAM_TEXT(payment->currency),
        PARAM_INT4_NULLABLE(payment->tokens_amount, payment->has_tokens_amount),
        PARAM_UUID_NULLABLE(payment->subscription_id, payment->has_subscription_id),
        PARAM_TEXT(payment->request_body),
        PARAM_INT8_NULLABLE(payment->request_hash, payment->keyed),
        PARAM_INT4(lease_seconds),
    };
    struct opened_payment opened;
    struct rows *rows = NULL;
    bool found;
    int outcome = PAYMENT_OPEN_NO_ACCOUNT;
    *ret_list = (struct payment_list){.count = 0};
    enum error err = row_access_one(database, &OPEN, params, &opened, &found, &rows);
    if (!err && found)
        err = payment_repository_outcome(WORDS, opened.outcome, &outcome);
    if (!err)
        *ret_outcome = (enum payment_open_outcome)outcome;
    if (!err && found)
        return keep_payment(&opened, rows, *ret_outcome, ret_list);
    rows_free(rows);
    return err;
}

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

STATEMENT(REFUSED, .query = &query_payment_refused, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID),
          STATEMENT_COLUMNS(struct removed_row, COLUMN(struct removed_row, removed, BOOL)));

enum error payment_repository_run_refused(struct database *database,
                                          const struct statement *statement,
                                          const struct param *params, bool *ret_removed)
{
    struct removed_row row;
    enum error err = row_access_one(database, statement, params, &row, NULL, NULL);
    if (!err)
        *ret_removed = row.removed;
    return err;
}

enum error payment_repository_refused(struct database *database, const struct uuid *user_id,
                                      const struct uuid *id, bool *ret_removed)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(*id)};
    return payment_repository_run_refused(database, &REFUSED, params, ret_removed);
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

enum error payment_repository_run_apply(struct database *database,
                                        const struct statement *statement,
                                        const struct param *params, struct applied *ret_applied)
{
    static const struct outcome_word WORDS[] = {{"applied", PAYMENT_APPLIED},
                                                {"unchanged", PAYMENT_UNCHANGED},
                                                {"conflict", PAYMENT_CONFLICT},
                                                {"uncredited", PAYMENT_UNCREDITED},
                                                {NULL, 0}};
    struct applied_row row;
    struct rows *rows = NULL;
    bool found;
    int outcome = PAYMENT_NOT_THERE;
    char kind[PAYMENT_KIND_SIZE] = "";
    enum error err = row_access_one(database, statement, params, &row, &found, &rows);
    if (!err && found)
        err = payment_repository_outcome(WORDS, row.outcome, &outcome);
    if (!err && found && !text_copy(row.kind, kind, sizeof(kind)))
        err = ERROR_INTERNAL;
    rows_free(rows);
    if (err)
        return err;
    ret_applied->outcome = (enum payment_apply_outcome)outcome;
    memcpy(ret_applied->kind, kind, sizeof(kind));
    return ERROR_OK;
}

enum error payment_repository_apply(struct database *database, const struct payment_truth *truth,
                                    enum payment_apply_outcome *ret_outcome,
                                    char ret_kind[static PAYMENT_KIND_SIZE])
{
    const struct param params[] = {
        PARAM_UUID(truth->user_id),
        PARAM_UUID(truth->id),
        PARAM_TEXT(truth->provider_id),
        PARAM_TEXT(truth->status),
        PARAM_TEXT(truth->amount),
        PARAM_TEXT(truth->currency),
        PARAM_BOOL(truth->test),
        PARAM_BOOL(truth->test_accepted),
        PARAM_TEXT(truth->confirmation_url),
        PARAM_TEXT(truth->payment_method_id),
        PARAM_TEXT(truth->cancellation_reason),
    };
    struct applied applied;
    enum error err = payment_repository_run_apply(database, &APPLY, params, &applied);
    if (err)
        return err;
    *ret_outcome = applied.outcome;
    memcpy(ret_kind, applied.kind, PAYMENT_KIND_SIZE);
    return ERROR_OK;
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
                                   int64_t before_created_at, const struct uuid *before_id,
                                   int32_t limit, struct payment_list *ret_list)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_TIMESTAMP(before_created_at),
                                   PARAM_UUID(*before_id), PARAM_INT4(limit)};
    return read_payments(database, &PAGE, params, ret_list);
}

STATEMENT(EXPORT, .query = &query_payment_export, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_INT4),
          STATEMENT_COLUMNS(struct payment, PAYMENT_COLUMNS));

enum error payment_repository_export(struct database *database, const struct uuid *user_id,
                                     const struct uuid *after_id, int32_t limit,
                                     struct payment_list *ret_list)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(*after_id), PARAM_INT4(limit)};
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
                                              struct uuid *ret_user_id, struct uuid *ret_id,
                                              bool *ret_found)
{
    const struct param params[] = {PARAM_TEXT(provider_id)};
    struct place_row row;
    enum error err = row_access_one(database, &LOCATE_PROVIDER, params, &row, ret_found, NULL);
    if (!err && *ret_found) {
        *ret_user_id = row.user_id;
        *ret_id = row.payment_id;
    }
    return err;
}

STATEMENT(LOCATE, .query = &query_payment_locate, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID),
          STATEMENT_COLUMNS(struct place_row, COLUMN(struct place_row, user_id, UUID)));

enum error payment_repository_locate(struct database *database, const struct uuid *user_id,
                                     const struct uuid *id, struct uuid *ret_user_id,
                                     bool *ret_found)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(*id)};
    struct place_row row;
    enum error err = row_access_one(database, &LOCATE, params, &row, ret_found, NULL);
    if (!err && *ret_found)
        *ret_user_id = row.user_id;
    return err;
}
