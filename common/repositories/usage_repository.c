#include "repositories/usage_repository.h"

#include <stdlib.h>

#include "queries.h"
#include "repositories/row_access.h"

enum usage_result usage_result_read(struct text word)
{
    return text_equal(word, TEXT_LITERAL("done"))          ? USAGE_DONE
           : text_equal(word, TEXT_LITERAL("replayed"))    ? USAGE_REPLAYED
           : text_equal(word, TEXT_LITERAL("reused"))      ? USAGE_REUSED
           : text_equal(word, TEXT_LITERAL("in_progress")) ? USAGE_IN_PROGRESS
                                                           : USAGE_LIMITED;
}

struct recorded_row {
    struct text outcome;
    int32_t used;
    int32_t usage_limit;
    int64_t reset_at;
};

STATEMENT(RECORD, .query = &query_usage_record, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_TEXT, SQL_TEXT, SQL_BOOL, SQL_INT8),
          STATEMENT_COLUMNS(struct recorded_row, COLUMN(struct recorded_row, outcome, TEXT),
                            COLUMN(struct recorded_row, used, INT4),
                            COLUMN(struct recorded_row, usage_limit, INT4),
                            COLUMN(struct recorded_row, reset_at, TIMESTAMP)));

enum error usage_repository_record(struct database *database, const struct uuid *user_id,
                                   const struct new_usage *usage,
                                   struct usage_outcome *ret_outcome, bool *ret_found)
{
    const struct param params[] = {
        PARAM_UUID(*user_id),
        PARAM_UUID(usage->id),
        PARAM_TEXT(usage->action),
        PARAM_TEXT(usage->ip_address),
        PARAM_BOOL(false),
        PARAM_INT8_NULLABLE(usage->request_hash, usage->keyed),
    };
    struct recorded_row row;
    struct rows *rows = NULL;
    enum error err = row_access_one(database, &RECORD, params, &row, ret_found, &rows);
    if (err || !*ret_found)
        return err;
    *ret_outcome = (struct usage_outcome){.result = usage_result_read(row.outcome),
                                          .used = row.used,
                                          .usage_limit = row.usage_limit,
                                          .reset_at = row.reset_at};
    rows_free(rows);
    return ERROR_OK;
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
