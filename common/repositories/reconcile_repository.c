#include "repositories/reconcile_repository.h"

#include "queries.h"
#include "repositories/row_access.h"

struct new_row {
    bool is_new;
};

STATEMENT(RECORD_DIFFERENCE, .query = &query_payment_difference, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_TEXT, SQL_TEXT, SQL_UUID, SQL_UUID, SQL_TEXT),
          STATEMENT_COLUMNS(struct new_row, COLUMN(struct new_row, is_new, BOOL)));

enum error reconcile_repository_record_difference(struct database *database,
                                                  const struct payment_difference *difference,
                                                  bool *ret_is_new)
{
    const struct param params[] = {
        PARAM_TEXT(difference->provider_id),
        PARAM_TEXT(difference->kind),
        PARAM_UUID_NULLABLE(difference->user_id, difference->has_payment),
        PARAM_UUID_NULLABLE(difference->payment_id, difference->has_payment),
        PARAM_TEXT(difference->details),
    };
    struct new_row row;
    enum error err = row_access_one(database, &RECORD_DIFFERENCE, params, &row, NULL, NULL);
    if (!err)
        *ret_is_new = row.is_new;
    return err;
}

STATEMENT(SHOP, .query = &query_reconcile_shop, .kind = STATEMENT_READ,
          STATEMENT_COLUMNS(struct shop_difference, COLUMN(struct shop_difference, details, TEXT)));

enum error reconcile_repository_shop(struct database *database,
                                     struct shop_difference *ret_difference, bool *ret_found)
{
    struct rows *rows = NULL;
    enum error err = row_access_one(database, &SHOP, NULL, ret_difference, ret_found, &rows);
    if (!err && *ret_found)
        ret_difference->rows = rows;
    return err;
}

void shop_difference_done(struct shop_difference *difference)
{
    rows_free(difference->rows);
    difference->rows = NULL;
}

struct window_row {
    int64_t since;
};

STATEMENT(CLAIM_WINDOW, .query = &query_reconcile_claim_window, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_TEXT, SQL_INT4, SQL_INT4),
          STATEMENT_COLUMNS(struct window_row, COLUMN(struct window_row, since, TIMESTAMP)));

enum error reconcile_repository_claim_window(struct database *database,
                                             const struct listing_claim *claim, int64_t *ret_since,
                                             bool *ret_claimed)
{
    const struct param params[] = {PARAM_TEXT(claim->name), PARAM_INT4(claim->every_seconds),
                                   PARAM_INT4(claim->lease_seconds)};
    struct window_row row;
    enum error err = row_access_one(database, &CLAIM_WINDOW, params, &row, ret_claimed, NULL);
    if (!err && *ret_claimed)
        *ret_since = row.since;
    return err;
}

struct name_row {
    struct text name;
};

STATEMENT(FINISH_WINDOW, .query = &query_reconcile_finish_window, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_TEXT, SQL_TIMESTAMP),
          STATEMENT_COLUMNS(struct name_row, COLUMN(struct name_row, name, TEXT)));

enum error reconcile_repository_finish_window(struct database *database, struct text name,
                                              int64_t until)
{
    const struct param params[] = {PARAM_TEXT(name), PARAM_TIMESTAMP(until)};
    return database_run(database, &FINISH_WINDOW, params, NULL);
}
