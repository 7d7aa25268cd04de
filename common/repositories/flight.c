#include "repositories/flight.h"

#include <assert.h>
#include <stdint.h>

#include "base/limits.h"
#include "database/array.h"
#include "database/database.h"

enum { ROW_BYTES_MAX = 128 };

/* The head of every row of a flight's statement. */
struct place_row {
    int32_t place;
};

static enum sql_type element_of(enum sql_type array)
{
    switch (array) {
    case SQL_UUID_ARRAY:
        return SQL_UUID;
    case SQL_INT4_ARRAY:
        return SQL_INT4;
    case SQL_INT8_ARRAY:
        return SQL_INT8;
    default:
        assert(array == SQL_TEXT_ARRAY);
        return SQL_TEXT;
    }
}

static enum error encode(const struct flight_kind *kind, void *const *items, size_t count,
                         struct buffer *arrays)
{
    const struct statement *statement = kind->statement;
    for (size_t i = 0; i < statement->param_count; i++)
        array_begin(&arrays[i], element_of(statement->params[i]), count);
    for (size_t i = 0; i < count; i++)
        kind->encode(items[i], arrays);
    enum error err = ERROR_OK;
    for (size_t i = 0; i < statement->param_count && !err; i++)
        err = buffer_error(&arrays[i]);
    return err;
}

static enum error decode(const struct flight_kind *kind, const struct rows *rows,
                         void *const *items, size_t count)
{
    _Alignas(max_align_t) char row[ROW_BYTES_MAX];
    assert(kind->statement->row_size <= sizeof(row));
    size_t answered = rows_count(rows);
    bool all = kind->statement->kind != STATEMENT_READ;
    if (answered > count || (all && answered < count))
        return ERROR_INTERNAL;
    for (size_t i = 0; i < answered; i++) {
        rows_read(rows, i, row);
        int32_t place = ((const struct place_row *)row)->place;
        if (place < 1 || (size_t)place > count)
            return ERROR_INTERNAL;
        struct flight_item *item = items[place - 1];
        if (item->answered)
            return ERROR_INTERNAL; /* then another one has no answer */
        item->answered = true;
        item->err = kind->decode(row, item);
    }
    return ERROR_OK;
}

static enum error fly(struct database *database, const struct flight_kind *kind, void *const *items,
                      size_t count)
{
    const struct statement *statement = kind->statement;
    struct buffer arrays[PARAMS_MAX];
    struct param params[PARAMS_MAX];
    struct rows *rows = NULL;
    for (size_t i = 0; i < statement->param_count; i++)
        buffer_init(&arrays[i], 4 * BATCH_BODY_BYTES_MAX);
    enum error err = encode(kind, items, count, arrays);
    for (size_t i = 0; i < statement->param_count; i++)
        params[i] = PARAM_ARRAY(statement->params[i], buffer_text(&arrays[i]));
    if (!err)
        err = database_run(database, statement, params, &rows);
    if (!err)
        err = decode(kind, rows, items, count);
    rows_free(rows);
    for (size_t i = 0; i < statement->param_count; i++)
        buffer_done(&arrays[i]);
    return err;
}

void flight_run_alone(struct database *database, const struct flight_kind *kind, void *item)
{
    struct flight_item *head = item;
    head->alone = false;
    head->err = kind->run_alone(database, item);
}

enum error flight_try(struct database *database, const struct flight_kind *kind, void *const *items,
                      size_t count)
{
    for (size_t i = 0; i < count; i++)
        *(struct flight_item *)items[i] = (struct flight_item){.err = ERROR_OK};
    /* One by itself needs no arrays, and its statement does less. */
    if (count == 1) {
        flight_run_alone(database, kind, items[0]);
        return ERROR_OK;
    }
    enum error err = fly(database, kind, items, count);
    bool refused = err == ERROR_CONFLICT || err == ERROR_DATABASE || err == ERROR_DATABASE_BUSY;
    for (size_t i = 0; i < count && err; i++) {
        struct flight_item *item = items[i];
        item->alone = refused;
        item->err = refused ? ERROR_OK : err;
    }
    return refused ? ERROR_OK : err;
}

enum error flight_run(struct database *database, const struct flight_kind *kind, void *const *items,
                      size_t count)
{
    enum error err = flight_try(database, kind, items, count);
    bool lost = false;
    for (size_t i = 0; i < count; i++) {
        struct flight_item *item = items[i];
        if (!item->alone)
            continue;
        if (lost)
            item->err = ERROR_DATABASE_UNAVAILABLE;
        else
            flight_run_alone(database, kind, item);
        lost = lost || item->err == ERROR_DATABASE_UNAVAILABLE;
    }
    return err;
}
