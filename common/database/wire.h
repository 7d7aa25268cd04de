/*
 * PostgreSQL's binary format for the types of SQL_TYPE_TABLE (PostgreSQL manual, libpq,
 * "binary format"; the layouts are those of each type's send function).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "database/statement.h"

/* PostgreSQL counts dates and times from 2000-01-01, the program from 1970-01-01. */
#define WIRE_EPOCH_DAYS 10957
#define WIRE_EPOCH_US (INT64_C(86400000000) * WIRE_EPOCH_DAYS)

/* Parameters as libpq takes them; points into the params it was made from and into itself. */
struct wire_params {
    const char *values[PARAMS_MAX];
    int lengths[PARAMS_MAX];
    int formats[PARAMS_MAX];
    unsigned types[PARAMS_MAX];
    unsigned char storage[PARAMS_MAX][16];
};

/* params: count values, borrowed as long as ret_wire is used. */
void wire_encode(const struct param *params, size_t count, struct wire_params *ret_wire);

/*
 * Decodes one value into its field. Returns false when its length is not the type's.
 * data: of len bytes, NUL-terminated by libpq. field: of the type's C type; TEXT borrows data.
 */
bool wire_decode(enum sql_type type, const char *data, size_t len, void *field);
