#include "database/rows_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "database/wire.h"

struct rows {
    PGresult *result; /* owned */
    const struct statement *statement;
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
    *rows = (struct rows){.result = result, .statement = statement, .repeated = repeated};
    return rows;
}

size_t rows_count(const struct rows *rows)
{
    return (size_t)PQntuples(rows->result);
}

bool rows_repeated(const struct rows *rows)
{
    return rows->repeated;
}

void rows_read(const struct rows *rows, size_t index, void *ret_row)
{
    const struct statement *statement = rows->statement;
    assert(index < rows_count(rows));
    memset(ret_row, 0, statement->row_size);
    for (int i = 0; i < statement->column_count; i++) {
        const struct column *column = &statement->columns[i];
        if (PQgetisnull(rows->result, (int)index, i))
            continue;
        size_t len = (size_t)PQgetlength(rows->result, (int)index, i);
        const char *data = PQgetvalue(rows->result, (int)index, i);
        bool decoded = wire_decode(column->type, data, len, (char *)ret_row + column->offset);
        if (column->null_offset != NO_NULL_FLAG)
            *(bool *)((char *)ret_row + column->null_offset) = decoded;
    }
}

void rows_free(struct rows *rows)
{
    if (!rows)
        return;
    PQclear(rows->result);
    free(rows);
}
