/* Differences, windows and the audit: the part of payment_repository.h about them. */
#include "repositories/payment_repository.h"

#include <stdlib.h>

#include "queries.h"
#include "repositories/row_access.h"

struct new_row {
    bool is_new;
};

STATEMENT(DIFFERENCE, .query = &query_payment_difference, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_TEXT, SQL_TEXT, SQL_UUID, SQL_UUID, SQL_TEXT),
          STATEMENT_COLUMNS(struct new_row, COLUMN(struct new_row, is_new, BOOL)));

enum error payment_repository_difference(struct database *database,
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
    enum error err = row_access_one(database, &DIFFERENCE, params, &row, NULL, NULL);
    if (!err)
        *ret_is_new = row.is_new;
    return err;
}

struct window_row {
    int64_t since;
};

STATEMENT(WINDOW_CLAIM, .query = &query_payment_window_claim, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_TEXT, SQL_INT4, SQL_INT4),
          STATEMENT_COLUMNS(struct window_row, COLUMN(struct window_row, since, TIMESTAMP)));

enum error payment_repository_window_claim(struct database *database, struct text name,
                                           int32_t every_seconds, int32_t lease_seconds,
                                           int64_t *ret_since, bool *ret_claimed)
{
    const struct param params[] = {PARAM_TEXT(name), PARAM_INT4(every_seconds),
                                   PARAM_INT4(lease_seconds)};
    struct window_row row;
    enum error err = row_access_one(database, &WINDOW_CLAIM, params, &row, ret_claimed, NULL);
    if (!err && *ret_claimed)
        *ret_since = row.since;
    return err;
}

struct name_row {
    struct text name;
};

STATEMENT(WINDOW_DONE, .query = &query_payment_window_done, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_TEXT, SQL_TIMESTAMP),
          STATEMENT_COLUMNS(struct name_row, COLUMN(struct name_row, name, TEXT)));

enum error payment_repository_window_done(struct database *database, struct text name,
                                          int64_t until)
{
    const struct param params[] = {PARAM_TEXT(name), PARAM_TIMESTAMP(until)};
    return database_run(database, &WINDOW_DONE, params, NULL);
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
