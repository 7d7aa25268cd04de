#include "database/rows_internal.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "database/wire.h"

struct rows {
    struct rows *whole;   /* that the result belongs to: these ones, or what they are a part of */
    atomic_size_t shares; /* of a whole: itself and its parts; the last one frees it */
    PGresult *result;     /* the whole's */
    const struct statement *statement;
    size_t first_row, count;
    size_t first_column;
    bool repeated;
};

bool rows_match(const PGresult *result, const struct statement *statement)
{
    if (PQnfields(result) != statement->column_count)
        return false;
    for (int i = 0; i < statement->column_count; i++)
        if (PQftype(result, i) != sql_type_oid(statement->columns[i].type))
            return false;
    return true;
}

struct rows *rows_new(PGresult *result, const struct statement *statement, bool repeated)
{
    struct rows *rows = malloc(sizeof(*rows));
    if (!rows) {
        PQclear(result);
        return NULL;
    }
    *rows = (struct rows){
        .whole = rows,
        .result = result,
        .statement = statement,
        .count = (size_t)PQntuples(result),
        .repeated = repeated,
    };
    atomic_init(&rows->shares, 1);
    return rows;
}

struct rows *rows_part(struct rows *whole, size_t row, const struct statement *statement)
{
    assert(whole->whole == whole && row <= whole->count);
    struct rows *part = malloc(sizeof(*part));
    if (!part)
        return NULL;
    *part = (struct rows){
        .whole = whole,
        .result = whole->result,
        .statement = statement,
        .first_row = row,
        .count = row < whole->count,
        .first_column = 1,
        .repeated = whole->repeated,
    };
    atomic_fetch_add_explicit(&whole->shares, 1, memory_order_relaxed);
    return part;
}

size_t rows_count(const struct rows *rows)
{
    return rows->count;
}

bool rows_repeated(const struct rows *rows)
{
    return rows->repeated;
}

struct text rows_value(const struct rows *rows, size_t row, size_t column)
{
    int tuple = (int)(rows->first_row + row);
    int field = (int)(rows->first_column + column);
    if (PQgetisnull(rows->result, tuple, field))
        return (struct text){NULL, 0};
    return (struct text){PQgetvalue(rows->result, tuple, field),
                         (size_t)PQgetlength(rows->result, tuple, field)};
}

void rows_read(const struct rows *rows, size_t index, void *ret_row)
{
    const struct statement *statement = rows->statement;
    assert(index < rows_count(rows));
    memset(ret_row, 0, statement->row_size);
    for (size_t i = 0; i < statement->column_count; i++) {
        const struct column *column = &statement->columns[i];
        struct text value = rows_value(rows, index, i);
        if (!value.data)
            continue;
        bool decoded =
            wire_decode(column->type, value.data, value.len, (char *)ret_row + column->offset);
        if (column->null_offset != NO_NULL_FLAG)
            *(bool *)((char *)ret_row + column->null_offset) = decoded;
    }
}

void rows_free(struct rows *rows)
{
    if (!rows)
        return;
    struct rows *whole = rows->whole;
    if (rows != whole)
        free(rows);
    if (atomic_fetch_sub_explicit(&whole->shares, 1, memory_order_acq_rel) > 1)
        return;
    PQclear(whole->result);
    free(whole);
}
