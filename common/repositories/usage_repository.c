#include "repositories/usage_repository.h"

#include <stdlib.h>

#include "queries.h"
#include "repositories/outcome.h"
#include "repositories/row_access.h"

enum error usage_result_read(struct text word, enum usage_result *ret_result)
{
    static const char *const WORDS[] = {
        [USAGE_DONE] = "done",
        [USAGE_LIMITED] = "limited",
        [USAGE_REPLAYED] = "replayed",
        [USAGE_REUSED] = "reused",
        [USAGE_IN_PROGRESS] = "in_progress",
    };
    int result;
    enum error err = OUTCOME_READ(WORDS, word, &result);
    if (!err)
        *ret_result = (enum usage_result)result;
    return err;
}

struct recorded_row {
    struct text outcome;
    int32_t used;
    int32_t usage_limit;
    int64_t reset_at;
    int64_t retry_at;
};

STATEMENT(RECORD, .query = &query_usage_record, .flight = &query_usage_record_flight,
          .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_TEXT, SQL_TEXT, SQL_INT8),
          STATEMENT_COLUMNS(struct recorded_row, COLUMN(struct recorded_row, outcome, TEXT),
                            COLUMN(struct recorded_row, used, INT4),
                            COLUMN(struct recorded_row, usage_limit, INT4),
                            COLUMN(struct recorded_row, reset_at, TIMESTAMP),
                            COLUMN(struct recorded_row, retry_at, TIMESTAMP)));

enum error usage_repository_record(struct database *database, const struct uuid *user_id,
                                   const struct new_usage *usage, struct usage_outcome *ret_outcome)
{
    const struct param params[] = {
        PARAM_UUID(*user_id),
        PARAM_UUID(usage->operation.id),
        PARAM_TEXT(usage->action),
        PARAM_TEXT(usage->ip_address),
        PARAM_REQUEST_HASH(usage->operation),
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
    *ret_outcome = (struct usage_outcome){
        .result = result,
        .used = row.used,
        .usage_limit = row.usage_limit,
        .reset_at = row.reset_at,
        .retry_at = row.retry_at,
    };
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
                                 const struct row_range *range, struct usage_list *ret_list)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(range->after_id),
                                   PARAM_INT4(range->limit)};
    return row_access_all(database, &LIST, params, (void **)&ret_list->items, &ret_list->count,
                          &ret_list->rows);
}

void usage_list_done(struct usage_list *list)
{
    free(list->items);
    rows_free(list->rows);
    *list = (struct usage_list){.count = 0};
}
