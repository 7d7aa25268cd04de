#include "repositories/usage_repository.h"

#include <stdlib.h>

#include "queries.h"
#include "repositories/row_access.h"

STATEMENT(RECORD, .query = &query_usage_record, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_TEXT, SQL_TEXT),
          STATEMENT_COLUMNS(struct usage_outcome, COLUMN(struct usage_outcome, allowed, BOOL),
                            COLUMN(struct usage_outcome, used, INT4),
                            COLUMN(struct usage_outcome, usage_limit, INT4),
                            COLUMN(struct usage_outcome, reset_at, TIMESTAMP)));

enum error usage_repository_record(struct database *database, const struct uuid *user_id,
                                   const struct uuid *usage_id, struct text action,
                                   struct text ip_address, struct usage_outcome *ret_outcome,
                                   bool *ret_found)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(*usage_id),
                                   PARAM_TEXT(action), PARAM_TEXT(ip_address)};
    return row_access_one(database, &RECORD, params, ret_outcome, ret_found, NULL);
}

STATEMENT(TODAY, .query = &query_usage_today, .kind = STATEMENT_READ, STATEMENT_PARAMS(SQL_UUID),
          STATEMENT_COLUMNS(struct usage_today, COLUMN(struct usage_today, generations, INT4),
                            COLUMN(struct usage_today, downloads, INT4),
                            COLUMN(struct usage_today, generations_per_minute, INT4),
                            COLUMN(struct usage_today, downloads_per_minute, INT4)));

enum error usage_repository_today(struct database *database, const struct uuid *user_id,
                                  struct usage_today *ret_today)
{
    const struct param params[] = {PARAM_UUID(*user_id)};
    return row_access_one(database, &TODAY, params, ret_today, NULL, NULL);
}

STATEMENT(LIST, .query = &query_usage_list, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_INT4),
          STATEMENT_COLUMNS(struct usage_entry, COLUMN(struct usage_entry, id, UUID),
                            COLUMN(struct usage_entry, action, TEXT),
                            COLUMN(struct usage_entry, ip_address, TEXT),
                            COLUMN(struct usage_entry, created_at, TIMESTAMP)));

enum error usage_repository_list(struct database *database, const struct uuid *user_id,
                                 const struct uuid *after_id, int32_t limit,
                                 struct usage_list *ret_list)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(*after_id),
                                   PARAM_INT4(limit)};
    return row_access_all(database, &LIST, params, (void **)&ret_list->items, &ret_list->count,
                          &ret_list->rows);
}

void usage_list_done(struct usage_list *list)
{
    free(list->items);
    rows_free(list->rows);
    *list = (struct usage_list){.count = 0};
}
