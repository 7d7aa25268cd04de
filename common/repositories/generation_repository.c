#include "repositories/generation_repository.h"

#include <stdlib.h>

#include "queries.h"
#include "repositories/row_access.h"

struct recorded_row {
    struct text outcome;
    int32_t used;
    int32_t usage_limit;
    int64_t reset_at;
    int64_t retry_at;
    bool has_created_at;
    int64_t created_at;
};

STATEMENT(RECORD, .query = &query_generation_record, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_TEXT, SQL_TEXT, SQL_TEXT, SQL_TEXT, SQL_TEXT,
                           SQL_BOOL, SQL_INT8),
          STATEMENT_COLUMNS(struct recorded_row, COLUMN(struct recorded_row, outcome, TEXT),
                            COLUMN(struct recorded_row, used, INT4),
                            COLUMN(struct recorded_row, usage_limit, INT4),
                            COLUMN(struct recorded_row, reset_at, TIMESTAMP),
                            COLUMN(struct recorded_row, retry_at, TIMESTAMP),
                            COLUMN_NULLABLE(struct recorded_row, created_at, TIMESTAMP)));

enum error generation_repository_record(struct database *database, const struct uuid *user_id,
                                        const struct new_generation *generation,
                                        struct generation_answer *ret_answer)
{
    const struct param params[] = {
        PARAM_UUID(*user_id),
        PARAM_UUID(generation->operation.id),
        PARAM_TEXT(generation->image_url),
        PARAM_TEXT(generation->prompt_used),
        PARAM_TEXT(generation->trend),
        PARAM_TEXT(generation->quality),
        PARAM_TEXT(generation->ip_address),
        PARAM_BOOL(generation->by_address),
        PARAM_REQUEST_HASH(generation->operation),
    };
    struct recorded_row row = {.used = 0};
    struct rows *rows = NULL;
    enum usage_result result = USAGE_NO_ACCOUNT;
    bool found = false;
    enum error err = row_access_one(database, &RECORD, params, &row, &found, &rows);
    if (!err && found)
        err = usage_result_read(row.outcome, &result);
    rows_free(rows);
    if (err)
        return err;
    *ret_answer = (struct generation_answer){
        .usage = {.result = result,
                  .used = row.used,
                  .usage_limit = row.usage_limit,
                  .reset_at = row.reset_at,
                  .retry_at = row.retry_at},
        .created_at = row.created_at,
    };
    return ERROR_OK;
}

STATEMENT(LIST, .query = &query_generation_list, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID, SQL_TIMESTAMP, SQL_UUID, SQL_INT4),
          STATEMENT_COLUMNS(
              struct generation, COLUMN(struct generation, id, UUID),
              COLUMN(struct generation, user_id, UUID), COLUMN(struct generation, image_url, TEXT),
              COLUMN(struct generation, prompt_used, TEXT), COLUMN(struct generation, trend, TEXT),
              COLUMN(struct generation, quality, TEXT), COLUMN(struct generation, status, TEXT),
              COLUMN(struct generation, error_message, TEXT),
              COLUMN(struct generation, created_at, TIMESTAMP),
              COLUMN(struct generation, updated_at, TIMESTAMP)));

enum error generation_repository_list(struct database *database, const struct uuid *user_id,
                                      const struct row_page *page, struct generation_list *ret_list)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_TIMESTAMP(page->before_created_at),
                                   PARAM_UUID(page->before_id), PARAM_INT4(page->limit)};
    return row_access_all(database, &LIST, params, (void **)&ret_list->items, &ret_list->count,
                          &ret_list->rows);
}

void generation_list_done(struct generation_list *list)
{
    free(list->items);
    rows_free(list->rows);
    *list = (struct generation_list){.count = 0};
}

struct total_row {
    int64_t total;
};

STATEMENT(COUNT, .query = &query_generation_count, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID),
          STATEMENT_COLUMNS(struct total_row, COLUMN(struct total_row, total, INT8)));

enum error generation_repository_count(struct database *database, const struct uuid *user_id,
                                       int64_t *ret_total)
{
    const struct param params[] = {PARAM_UUID(*user_id)};
    struct total_row row;
    enum error err = row_access_one(database, &COUNT, params, &row, NULL, NULL);
    if (!err)
        *ret_total = row.total;
    return err;
}

struct deleted_row {
    struct uuid id;
};

STATEMENT(DELETE, .query = &query_generation_delete, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID),
          STATEMENT_COLUMNS(struct deleted_row, COLUMN(struct deleted_row, id, UUID)));

enum error generation_repository_delete(struct database *database, const struct uuid *user_id,
                                        const struct uuid *id, bool *ret_deleted)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(*id)};
    struct rows *rows = NULL;
    enum error err = database_run(database, &DELETE, params, &rows);
    if (err)
        return err;
    *ret_deleted = rows_count(rows) > 0 || rows_repeated(rows);
    rows_free(rows);
    return ERROR_OK;
}
