#include "database/array.h"

#include <endian.h>

static void append_int4(struct buffer *buffer, int32_t value)
{
    uint32_t big = htobe32((uint32_t)value);
    buffer_append(buffer, &big, sizeof(big));
}

void array_begin(struct buffer *buffer, enum sql_type element, size_t count)
{
    buffer_reset(buffer, buffer->max);
    append_int4(buffer, count > 0 ? 1 : 0);   /* dimensions; an empty array has none */
    append_int4(buffer, element == SQL_TEXT); /* may hold nulls */
    append_int4(buffer, (int32_t)sql_type_oid(element));
    if (count > 0) {
        append_int4(buffer, (int32_t)count);
        append_int4(buffer, 1); /* lower bound */
    }
}

void array_uuid(struct buffer *buffer, const struct uuid *value)
{
    append_int4(buffer, sizeof(value->bytes));
    buffer_append(buffer, value->bytes, sizeof(value->bytes));
}

void array_int4(struct buffer *buffer, int32_t value)
{
    append_int4(buffer, sizeof(value));
    append_int4(buffer, value);
}

void array_int8(struct buffer *buffer, int64_t value)
{
    uint64_t big = htobe64((uint64_t)value);
    append_int4(buffer, sizeof(big));
    buffer_append(buffer, &big, sizeof(big));
}

void array_text(struct buffer *buffer, struct text value)
{
    if (!value.data) {
        append_int4(buffer, -1);
        return;
    }
    append_int4(buffer, (int32_t)value.len);
    buffer_append_text(buffer, value);
}
