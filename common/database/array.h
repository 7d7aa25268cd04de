/*
 * One-dimensional arrays as parameters, in PostgreSQL's binary format (array_send: dimensions, flag
 * for nulls, element type, length, lower bound, then each element with its length).
 *
 * The buffer holds the bytes; failures stick in it (buffer_error). Begin, then exactly count items.
 */
#pragma once

#include "base/buffer.h"
#include "database/statement.h"

/* element: SQL_UUID, SQL_INT4, SQL_INT8 or SQL_TEXT. The buffer is emptied first. */
void array_begin(struct buffer *buffer, enum sql_type element, size_t count);

/* value: of the element's type. A text that is NULL is NULL, any other type zero. */
void array_append(struct buffer *buffer, const struct param *value);
