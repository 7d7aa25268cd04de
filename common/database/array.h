/*
 * One-dimensional arrays as parameters, in PostgreSQL's binary format (array_send: dimensions, flag
 * for nulls, element type, length, lower bound, then each element with its length).
 *
 * The buffer holds the bytes; failures stick in it (buffer_error). Begin, then exactly count items.
 */
#pragma once

#include "base/buffer.h"
#include "base/uuid.h"
#include "database/statement.h"

/* element: SQL_UUID, SQL_INT4, SQL_INT8 or SQL_TEXT. The buffer is emptied first. */
void array_begin(struct buffer *buffer, enum sql_type element, size_t count);

void array_uuid(struct buffer *buffer, const struct uuid *value);
void array_int4(struct buffer *buffer, int32_t value);
void array_int8(struct buffer *buffer, int64_t value);
/* An absent text is NULL. */
void array_text(struct buffer *buffer, struct text value);
