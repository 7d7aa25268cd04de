#include "repositories/hold_repository.h"

#include <stdlib.h>

#include "queries.h"
#include "repositories/row_access.h"

void hold_list_done(struct hold_list *list)
{
    free(list->items);
    rows_free(list->rows);
    *list = (struct hold_list){.count = 0};
}

#define HOLD_COLUMNS                                                                        \
    COLUMN(struct hold, user_id, UUID), COLUMN(struct hold, id, UUID),                      \
        COLUMN(struct hold, amount, INT4), COLUMN(struct hold, status, TEXT),               \
        COLUMN(struct hold, description, TEXT), COLUMN(struct hold, created_at, TIMESTAMP), \
        COLUMN(struct hold, expires_at, TIMESTAMP),                                         \
        COLUMN_NULLABLE(struct hold, entry_user_id, UUID),                                  \
        COLUMN_NULLABLE(struct hold, captured, INT4)

STATEMENT(GET, .query = &query_hold_get, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID), STATEMENT_COLUMNS(struct hold, HOLD_COLUMNS));

enum error hold_repository_get(struct database *database, const struct uuid *user_id,
                               const struct uuid *id, struct hold_list *ret_list)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(*id)};
    return row_access_all(database, &GET, params, (void **)&ret_list->items, &ret_list->count,
                          &ret_list->rows);
}

STATEMENT(LIST, .query = &query_hold_list, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID, SQL_TIMESTAMP, SQL_UUID, SQL_INT4, SQL_TEXT),
          STATEMENT_COLUMNS(struct hold, HOLD_COLUMNS));

enum error hold_repository_list(struct database *database, const struct uuid *user_id,
                                const struct hold_filter *filter, struct hold_list *ret_list)
{
    const struct row_page *page = &filter->page;
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_TIMESTAMP(page->before_created_at),
                                   PARAM_UUID(page->before_id), PARAM_INT4(page->limit),
                                   PARAM_TEXT(filter->status)};
    return row_access_all(database, &LIST, params, (void **)&ret_list->items, &ret_list->count,
                          &ret_list->rows);
}

STATEMENT(EXPORT, .query = &query_hold_export, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_INT4),
          STATEMENT_COLUMNS(struct hold_entry, COLUMN(struct hold_entry, id, UUID),
                            COLUMN(struct hold_entry, amount, INT4),
                            COLUMN(struct hold_entry, status, TEXT),
                            COLUMN(struct hold_entry, description, TEXT),
                            COLUMN(struct hold_entry, expires_at, TIMESTAMP),
                            COLUMN(struct hold_entry, created_at, TIMESTAMP),
                            COLUMN_NULLABLE(struct hold_entry, settled_at, TIMESTAMP)));

enum error hold_repository_export(struct database *database, const struct uuid *user_id,
                                  const struct row_range *range, struct hold_entry_list *ret_list)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(range->after_id),
                                   PARAM_INT4(range->limit)};
    return row_access_all(database, &EXPORT, params, (void **)&ret_list->items, &ret_list->count,
                          &ret_list->rows);
}

void hold_entry_list_done(struct hold_entry_list *list)
{
    free(list->items);
    rows_free(list->rows);
    *list = (struct hold_entry_list){.count = 0};
}
