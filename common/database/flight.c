#include "database/flight.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "base/limits.h"
#include "database/array.h"
#include "database/coalesce.h"
#include "database/database.h"
#include "database/flight_internal.h"
#include "database/rows_internal.h"
#include "database/wire.h"

enum { PLACE_COLUMN, FIRST_COLUMN };

struct flight_queue {
    struct database *database;
    const struct statement *statement;
    struct statement together;   /* flight_statement */
    struct coalescer *coalescer; /* owned */
};

struct flight_queues {
    size_t count;
    struct flight_queue *items;      /* owned */
    struct flight_queue *of_query[]; /* by query index of the statement; NULL: does not fly */
};

static enum sql_type array_of(enum sql_type element)
{
    switch (element) {
    case SQL_UUID:
        return SQL_UUID_ARRAY;
    case SQL_INT4:
        return SQL_INT4_ARRAY;
    case SQL_INT8:
        return SQL_INT8_ARRAY;
    default:
        assert(element == SQL_TEXT);
        return SQL_TEXT_ARRAY;
    }
}

void flight_statement(const struct statement *statement, struct statement *ret_together)
{
    assert(statement->flight && statement->column_count < COLUMNS_MAX);
    *ret_together = (struct statement){
        .query = statement->flight,
        .kind = statement->kind,
        .param_count = statement->param_count,
        .column_count = (uint8_t)(statement->column_count + 1),
        .columns[PLACE_COLUMN] = {.name = "place", .type = SQL_INT4, .null_offset = NO_NULL_FLAG},
    };
    for (size_t i = 0; i < statement->param_count; i++)
        ret_together->params[i] = array_of(statement->params[i]);
    for (size_t i = 0; i < statement->column_count; i++)
        ret_together->columns[FIRST_COLUMN + i] = statement->columns[i];
}

static enum error encode(const struct statement *statement, struct flight_item *const *items,
                         size_t count, struct buffer *arrays)
{
    for (size_t i = 0; i < statement->param_count; i++) {
        array_begin(&arrays[i], statement->params[i], count);
        for (size_t j = 0; j < count; j++) {
            assert(items[j]->params[i].type == statement->params[i]);
            array_append(&arrays[i], &items[j]->params[i]);
        }
        enum error err = buffer_error(&arrays[i]);
        if (err)
            return err;
    }
    return ERROR_OK;
}

/* Gives an item the row that answers it, or none. */
static void answer(struct flight_item *item, struct rows *rows, size_t row)
{
    bool none = row == rows_count(rows);
    struct text first = none ? (struct text){NULL, 0} : rows_value(rows, row, FIRST_COLUMN);
    item->answered = true;
    item->alone =
        item->statement->columns[0].type == SQL_TEXT && text_equal(first, TEXT_LITERAL("alone"));
    if (item->alone)
        return;
    item->rows = rows_part(rows, first.data ? row : rows_count(rows), item->statement);
    item->err = item->rows ? ERROR_OK : ERROR_NO_MEMORY;
}

static enum error hand_out(const struct flight_queue *queue, struct rows *rows,
                           struct flight_item *const *items, size_t count)
{
    size_t answered = rows_count(rows);
    bool all = queue->statement->kind != STATEMENT_READ;
    if (answered > count || (all && answered < count))
        return ERROR_INTERNAL;
    for (size_t i = 0; i < answered; i++) {
        struct text value = rows_value(rows, i, PLACE_COLUMN);
        int32_t place = 0;
        if (!value.data || !wire_decode(SQL_INT4, value.data, value.len, &place) || place < 1 ||
            (size_t)place > count || items[place - 1]->answered)
            return ERROR_INTERNAL; /* then another one has no answer */
        answer(items[place - 1], rows, i);
    }
    for (size_t i = 0; i < count; i++)
        if (!items[i]->answered)
            answer(items[i], rows, answered);
    return ERROR_OK;
}

static enum error fly(const struct flight_queue *queue, struct flight_item *const *items,
                      size_t count)
{
    const struct statement *together = &queue->together;
    struct buffer arrays[PARAMS_MAX];
    struct param params[PARAMS_MAX];
    struct rows *rows = NULL;
    for (size_t i = 0; i < together->param_count; i++)
        buffer_init(&arrays[i], 4 * BATCH_BODY_BYTES_MAX);
    enum error err = encode(queue->statement, items, count, arrays);
    for (size_t i = 0; i < together->param_count; i++)
        params[i] = PARAM_ARRAY(together->params[i], buffer_text(&arrays[i]));
    if (!err)
        err = database_run_alone(queue->database, together, params, &rows);
    if (!err)
        err = hand_out(queue, rows, items, count);
    rows_free(rows);
    for (size_t i = 0; i < together->param_count; i++)
        buffer_done(&arrays[i]);
    return err;
}

static void run_alone(struct database *database, struct flight_item *item)
{
    item->alone = false;
    item->err = database_run_alone(database, item->statement, item->params, &item->rows);
}

/* Leaves in each item its answer, or alone. Returns what kept all of them from being answered. */
static enum error try_together(const struct flight_queue *queue, struct flight_item *const *items,
                               size_t count)
{
    /* One by itself needs no arrays, and its statement does less. */
    if (count == 1) {
        run_alone(queue->database, items[0]);
        return ERROR_OK;
    }
    enum error err = fly(queue, items, count);
    bool refused = err == ERROR_CONFLICT || err == ERROR_DATABASE || err == ERROR_DATABASE_BUSY;
    for (size_t i = 0; i < count && err; i++) {
        struct flight_item *item = items[i];
        rows_free(item->rows);
        item->rows = NULL;
        item->alone = refused;
        item->err = refused ? ERROR_OK : err;
    }
    return refused ? ERROR_OK : err;
}

/* --- the queues --- */

static void lead(void *context, void *const *items, size_t count)
{
    const struct flight_queue *queue = context;
    enum error err = try_together(queue, (struct flight_item *const *)items, count);
    (void)err; /* each item has it */
}

static bool open_queue(struct database *database, const struct statement *statement,
                       struct flight_queue *ret_queue)
{
    struct coalescer_options options = {
        .slots = COALESCE_SLOTS,
        .flight_max = COALESCE_FLIGHT_MAX,
        .queue_max = COALESCE_QUEUE_MAX,
        .run = lead,
        .context = ret_queue,
    };
    ret_queue->database = database;
    ret_queue->statement = statement;
    flight_statement(statement, &ret_queue->together);
    ret_queue->coalescer = coalescer_new(&options);
    return ret_queue->coalescer != NULL;
}

struct flight_queues *flight_queues_new(struct database *database)
{
    size_t statement_count;
    const struct statement *const *statements = statement_all(&statement_count);
    struct flight_queues *queues =
        calloc(1, sizeof(*queues) + QUERY_COUNT * sizeof(queues->of_query[0]));
    size_t flying = 0;
    if (!queues)
        return NULL;
    for (size_t i = 0; i < statement_count; i++)
        flying += statements[i]->flight != NULL;
    queues->items = calloc(flying + 1, sizeof(queues->items[0]));
    bool opened = queues->items != NULL;
    for (size_t i = 0; opened && i < statement_count; i++) {
        if (!statements[i]->flight)
            continue;
        struct flight_queue *queue = &queues->items[queues->count++];
        queues->of_query[statements[i]->query->index] = queue;
        opened = open_queue(database, statements[i], queue);
    }
    if (opened)
        return queues;
    flight_queues_free(queues);
    return NULL;
}

void flight_queues_free(struct flight_queues *queues)
{
    if (!queues)
        return;
    for (size_t i = 0; i < queues->count; i++)
        coalescer_free(queues->items[i].coalescer);
    free(queues->items);
    free(queues);
}

static struct flight_queue *queue_of(struct database *database, const struct statement *statement)
{
    struct flight_queue *queue =
        database_flight_queues(database)->of_query[statement->query->index];
    assert(queue && queue->statement == statement);
    return queue;
}

static void begin(struct flight_item *item)
{
    *item = (struct flight_item){.statement = item->statement, .params = item->params};
}

enum error flight_start(struct database *database, struct flight_item *item,
                        const struct flight_listener *listener)
{
    begin(item);
    return coalescer_start(queue_of(database, item->statement)->coalescer, item, listener->done,
                           listener->context);
}

bool flight_waits(const struct flight_item *item)
{
    return item->alone;
}

enum error flight_finish(struct database *database, struct flight_item *item,
                         struct rows **ret_rows)
{
    /* By the item's own thread: nobody else waits for what its row waits for. */
    if (item->alone)
        run_alone(database, item);
    if (item->err)
        return item->err;
    if (ret_rows)
        *ret_rows = item->rows;
    else
        rows_free(item->rows);
    item->rows = NULL;
    return ERROR_OK;
}

enum error flight_run(struct database *database, const struct statement *statement,
                      const struct param *params, struct rows **ret_rows)
{
    struct flight_item item = {.statement = statement, .params = params};
    enum error err = coalescer_submit(queue_of(database, statement)->coalescer, &item);
    return err ? err : flight_finish(database, &item, ret_rows);
}

enum error flight_run_many(struct database *database, struct flight_item *const *items,
                           size_t count)
{
    bool lost = false;
    if (count == 0)
        return ERROR_OK;
    for (size_t i = 0; i < count; i++)
        begin(items[i]);
    enum error err = try_together(queue_of(database, items[0]->statement), items, count);
    for (size_t i = 0; i < count; i++) {
        struct flight_item *item = items[i];
        if (!item->alone)
            continue;
        if (!lost)
            run_alone(database, item);
        else
            item->err = ERROR_DATABASE_UNAVAILABLE;
        item->alone = false;
        lost = lost || item->err == ERROR_DATABASE_UNAVAILABLE;
    }
    return err;
}
