#include "database/rows_internal.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "database/wire.h"

struct rows {
    struct rows_parts *parts; /* what it is one of; NULL: the result is its own */
    PGresult *result;
    const struct statement *statement;
    size_t first_row, count;
    size_t first_column;
    bool repeated;
};

struct rows_parts {
    atomic_size_t shares; /* of the maker and of parts that were given out; the last one frees */
    const struct statement *statement;
    struct rows *whole; /* owned; NULL until it is filled */
    size_t count;
    struct rows items[];
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
        .result = result,
        .statement = statement,
        .count = (size_t)PQntuples(result),
        .repeated = repeated,
    };
    return rows;
}

struct rows_parts *rows_parts_new(const struct statement *statement, size_t count)
{
    struct rows_parts *parts = malloc(sizeof(*parts) + count * sizeof(parts->items[0]));
    if (!parts)
        return NULL;
    atomic_init(&parts->shares, 1);
    parts->statement = statement;
    parts->whole = NULL;
    parts->count = count;
    return parts;
}

void rows_parts_fill(struct rows_parts *parts, struct rows *whole)
{
    assert(!parts->whole && !whole->parts);
    parts->whole = whole;
}

struct rows *rows_part(struct rows_parts *parts, size_t number, size_t row)
{
    const struct rows *whole = parts->whole;
    struct rows *part = &parts->items[number];
    assert(number < parts->count && row <= whole->count);
    *part = (struct rows){
        .parts = parts,
        .result = whole->result,
        .statement = parts->statement,
        .first_row = row,
        .count = row < whole->count,
        .first_column = 1,
        .repeated = whole->repeated,
    };
    atomic_fetch_add_explicit(&parts->shares, 1, memory_order_relaxed);
    return part;
}

void rows_parts_free(struct rows_parts *parts)
{
    if (!parts || atomic_fetch_sub_explicit(&parts->shares, 1, memory_order_acq_rel) > 1)
        return;
    rows_free(parts->whole);
    free(parts);
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
    if (rows->parts) {
        rows_parts_free(rows->parts);
        return;
    }
    PQclear(rows->result);
    free(rows);
}
