#include "database/array.h"

#include <assert.h>
#include <endian.h>

#include "base/uuid.h"

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

static void append_int8(struct buffer *buffer, int64_t value)
{
    uint64_t big = htobe64((uint64_t)value);
    append_int4(buffer, sizeof(big));
    buffer_append(buffer, &big, sizeof(big));
}

static void append_text(struct buffer *buffer, const struct param *value)
{
    if (value->is_null) {
        append_int4(buffer, -1);
        return;
    }
    append_int4(buffer, (int32_t)value->text.len);
    buffer_append_text(buffer, value->text);
}

void array_append(struct buffer *buffer, const struct param *value)
{
    static const struct uuid NONE;
    const struct uuid *uuid = value->is_null ? &NONE : &value->uuid;
    switch (value->type) {
    case SQL_UUID:
        append_int4(buffer, sizeof(uuid->bytes));
        buffer_append(buffer, uuid->bytes, sizeof(uuid->bytes));
        break;
    case SQL_INT4:
        append_int4(buffer, sizeof(value->int4));
        append_int4(buffer, value->is_null ? 0 : value->int4);
        break;
    case SQL_INT8:
        append_int8(buffer, value->is_null ? 0 : value->int8);
        break;
    default:
        assert(value->type == SQL_TEXT);
        append_text(buffer, value);
        break;
    }
}
