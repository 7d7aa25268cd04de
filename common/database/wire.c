#include "database/wire.h"

#include <endian.h>
#include <string.h>

static int store_int4(unsigned char *to, int32_t value)
{
    uint32_t big = htobe32((uint32_t)value);
    memcpy(to, &big, sizeof(big));
    return sizeof(big);
}

static int store_int8(unsigned char *to, int64_t value)
{
    uint64_t big = htobe64((uint64_t)value);
    memcpy(to, &big, sizeof(big));
    return sizeof(big);
}

/* The two infinities keep their value, all other times move to PostgreSQL's epoch. */
static int64_t timestamp_to_wire(int64_t unix_us)
{
    if (unix_us == SQL_TIMESTAMP_MIN || unix_us == SQL_TIMESTAMP_MAX)
        return unix_us;
    return unix_us - WIRE_EPOCH_US;
}

void wire_encode(const struct param *params, size_t count, struct wire_params *ret_wire)
{
    for (size_t i = 0; i < count; i++) {
        const struct param *param = &params[i];
        unsigned char *to = ret_wire->storage[i];
        ret_wire->types[i] = sql_type_oid(param->type);
        ret_wire->formats[i] = 1;
        ret_wire->lengths[i] = 0;
        ret_wire->values[i] = NULL;
        if (param->is_null)
            continue;
        ret_wire->values[i] = (const char *)to;
        switch (param->type) {
        case SQL_BOOL:
            to[0] = param->boolean;
            ret_wire->lengths[i] = 1;
            break;
        case SQL_INT4:
            ret_wire->lengths[i] = store_int4(to, param->int4);
            break;
        case SQL_DATE:
            ret_wire->lengths[i] = store_int4(to, param->int4 - WIRE_EPOCH_DAYS);
            break;
        case SQL_INT8:
            ret_wire->lengths[i] = store_int8(to, param->int8);
            break;
        case SQL_TIMESTAMP:
            ret_wire->lengths[i] = store_int8(to, timestamp_to_wire(param->int8));
            break;
        case SQL_UUID:
            memcpy(to, param->uuid.bytes, sizeof(param->uuid.bytes));
            ret_wire->lengths[i] = sizeof(param->uuid.bytes);
            break;
        case SQL_TEXT:
        case SQL_UUID_ARRAY:
        case SQL_INT4_ARRAY:
        case SQL_INT8_ARRAY:
        case SQL_TEXT_ARRAY:
            ret_wire->values[i] = param->text.data;
            ret_wire->lengths[i] = (int)param->text.len;
            break;
        case SQL_TYPE_COUNT:
            __builtin_unreachable();
        }
    }
}

static int32_t load_int4(const char *data)
{
    uint32_t big;
    memcpy(&big, data, sizeof(big));
    return (int32_t)be32toh(big);
}

static int64_t load_int8(const char *data)
{
    uint64_t big;
    memcpy(&big, data, sizeof(big));
    return (int64_t)be64toh(big);
}

/* The infinities keep their value; what lies too far ahead to be counted from 1970 becomes one. */
static int32_t date_from_wire(int32_t value)
{
    int32_t days;
    if (value == INT32_MIN || __builtin_add_overflow(value, WIRE_EPOCH_DAYS, &days))
        return value == INT32_MIN ? INT32_MIN : INT32_MAX;
    return days;
}

static int64_t timestamp_from_wire(int64_t value)
{
    int64_t unix_us;
    if (value == SQL_TIMESTAMP_MIN || __builtin_add_overflow(value, WIRE_EPOCH_US, &unix_us))
        return value == SQL_TIMESTAMP_MIN ? SQL_TIMESTAMP_MIN : SQL_TIMESTAMP_MAX;
    return unix_us;
}

bool wire_decode(enum sql_type type, const char *data, size_t len, void *field)
{
    static const size_t LENGTHS[SQL_TYPE_COUNT] = {
        [SQL_BOOL] = 1,  [SQL_INT4] = 4, [SQL_INT8] = 8,
        [SQL_UUID] = 16, [SQL_DATE] = 4, [SQL_TIMESTAMP] = 8,
    };
    if (type != SQL_TEXT && len != LENGTHS[type])
        return false;
    switch (type) {
    case SQL_BOOL:
        *(bool *)field = data[0] != 0;
        return true;
    case SQL_INT4:
        *(int32_t *)field = load_int4(data);
        return true;
    case SQL_DATE:
        *(int32_t *)field = date_from_wire(load_int4(data));
        return true;
    case SQL_INT8:
        *(int64_t *)field = load_int8(data);
        return true;
    case SQL_TIMESTAMP:
        *(int64_t *)field = timestamp_from_wire(load_int8(data));
        return true;
    case SQL_UUID:
        memcpy(field, data, len);
        return true;
    case SQL_TEXT:
        *(struct text *)field = (struct text){data, len};
        return true;
    case SQL_UUID_ARRAY:
    case SQL_INT4_ARRAY:
    case SQL_INT8_ARRAY:
    case SQL_TEXT_ARRAY:
        return false; /* parameters only */
    case SQL_TYPE_COUNT:
        break;
    }
    __builtin_unreachable();
}
