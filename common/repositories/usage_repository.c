#include "repositories/usage_repository.h"

#include <stdlib.h>

#include "database/array.h"
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
    int64_t retry_at;
};

STATEMENT(RECORD, .query = &query_usage_record, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_TEXT, SQL_TEXT, SQL_BOOL, SQL_INT8),
          STATEMENT_COLUMNS(struct recorded_row, COLUMN(struct recorded_row, outcome, TEXT),
                            COLUMN(struct recorded_row, used, INT4),
                            COLUMN(struct recorded_row, usage_limit, INT4),
                            COLUMN(struct recorded_row, reset_at, TIMESTAMP),
                            COLUMN(struct recorded_row, retry_at, TIMESTAMP)));

static struct usage_outcome read_recorded(const struct recorded_row *row)
{
    return (struct usage_outcome){
        .result = usage_result_read(row->outcome),
        .used = row->used,
        .usage_limit = row->usage_limit,
        .reset_at = row->reset_at,
        .retry_at = row->retry_at,
    };
}

static enum error record_alone(struct database *database, void *opaque)
{
    struct usage_item *item = opaque;
    const struct new_usage *usage = &item->usage;
    const struct param params[] = {
        PARAM_UUID(item->user_id), PARAM_UUID(usage->id),
        PARAM_TEXT(usage->action), PARAM_TEXT(usage->ip_address),
        PARAM_BOOL(false),         PARAM_INT8_NULLABLE(usage->request_hash, usage->keyed),
    };
    struct recorded_row row;
    struct rows *rows = NULL;
    enum error err = row_access_one(database, &RECORD, params, &row, &item->found, &rows);
    if (err || !item->found)
        return err;
    item->outcome = read_recorded(&row);
    rows_free(rows);
    return ERROR_OK;
}

struct recorded_flight_row {
    int32_t place;
    struct recorded_row answer; /* without an outcome there is no such account */
};

STATEMENT(RECORD_FLIGHT, .query = &query_usage_record_flight, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID_ARRAY, SQL_UUID_ARRAY, SQL_TEXT_ARRAY, SQL_TEXT_ARRAY,
                           SQL_INT8_ARRAY),
          STATEMENT_COLUMNS(struct recorded_flight_row,
                            COLUMN(struct recorded_flight_row, place, INT4),
                            COLUMN_OF(struct recorded_flight_row, answer, outcome, TEXT),
                            COLUMN_OF(struct recorded_flight_row, answer, used, INT4),
                            COLUMN_OF(struct recorded_flight_row, answer, usage_limit, INT4),
                            COLUMN_OF(struct recorded_flight_row, answer, reset_at, TIMESTAMP),
                            COLUMN_OF(struct recorded_flight_row, answer, retry_at, TIMESTAMP)));

static void encode_record(const void *opaque, struct buffer *arrays)
{
    const struct usage_item *item = opaque;
    array_uuid(&arrays[0], &item->user_id);
    array_uuid(&arrays[1], &item->usage.id);
    array_text(&arrays[2], item->usage.action);
    array_text(&arrays[3], item->usage.ip_address);
    array_int8(&arrays[4], item->usage.keyed ? item->usage.request_hash : 0);
}

static enum error decode_record(const void *opaque_row, void *opaque)
{
    const struct recorded_flight_row *row = opaque_row;
    struct usage_item *item = opaque;
    item->found = row->answer.outcome.data != NULL;
    if (item->found)
        item->outcome = read_recorded(&row->answer);
    return ERROR_OK;
}

const struct flight_kind usage_repository_records = {
    .statement = &RECORD_FLIGHT,
    .encode = encode_record,
    .decode = decode_record,
    .run_alone = record_alone,
};

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
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(*after_id), PARAM_INT4(limit)};
    return row_access_all(database, &LIST, params, (void **)&ret_list->items, &ret_list->count,
                          &ret_list->rows);
}

void usage_list_done(struct usage_list *list)
{
    free(list->items);
    rows_free(list->rows);
    *list = (struct usage_list){.count = 0};
}
