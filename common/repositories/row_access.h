/* What the repositories share: one row into a struct, all rows into an array. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/operation.h"
#include "database/database.h"

/* What tells a repetition of an operation from another request with its key; NULL without a key. */
#define PARAM_REQUEST_HASH(operation) \
    PARAM_INT8_NULLABLE((operation).request_hash, (operation).keyed)

/*
 * Runs a statement and reads its first row. ret_rows: owned by the caller when a row was found and
 * ret_rows is not NULL; pass NULL when the row has no text. ret_found NULL: a row is expected, and
 * none is ERROR_INTERNAL.
 */
enum error row_access_one(struct database *database, const struct statement *statement,
                          const struct param *params, void *ret_row, bool *ret_found,
                          struct rows **ret_rows) MUST_CHECK;

/* The same of rows that are there already, taken over also on failure. */
enum error row_access_first(struct rows *rows, void *ret_row, bool *ret_found,
                            struct rows **ret_rows) MUST_CHECK;

/*
 * Runs a statement and reads every row into an array of row structs. ret_items: heap memory owned
 * by the caller, NULL for no rows. ret_rows: owned by the caller; texts are borrowed from it.
 */
enum error row_access_all(struct database *database, const struct statement *statement,
                          const struct param *params, void **ret_items, size_t *ret_count,
                          struct rows **ret_rows) MUST_CHECK;
