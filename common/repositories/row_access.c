#include "repositories/row_access.h"

#include <stdlib.h>

enum error row_access_one(struct database *database, const struct statement *statement,
                          const struct param *params, void *ret_row, bool *ret_found,
                          struct rows **ret_rows)
{
    struct rows *rows = NULL;
    enum error err = database_run(database, statement, params, &rows);
    return err ? err : row_access_first(rows, ret_row, ret_found, ret_rows);
}

enum error row_access_first(struct rows *rows, void *ret_row, bool *ret_found,
                            struct rows **ret_rows)
{
    bool found = rows_count(rows) > 0;
    if (found)
        rows_read(rows, 0, ret_row);
    if (ret_found)
        *ret_found = found;
    if (found && ret_rows)
        *ret_rows = rows;
    else
        rows_free(rows);
    return found || ret_found ? ERROR_OK : ERROR_INTERNAL;
}

enum error row_access_all(struct database *database, const struct statement *statement,
                          const struct param *params, void **ret_items, size_t *ret_count,
                          struct rows **ret_rows)
{
    struct rows *rows = NULL;
    enum error err = database_run(database, statement, params, &rows);
    if (err)
        return err;
    size_t count = rows_count(rows);
    char *items = count > 0 ? calloc(count, statement->row_size) : NULL;
    if (count > 0 && !items) {
        rows_free(rows);
        return ERROR_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++)
        rows_read(rows, i, items + i * statement->row_size);
    *ret_items = items;
    *ret_count = count;
    *ret_rows = rows;
    return ERROR_OK;
}
