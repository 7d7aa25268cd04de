/*
 * Typed statements: what a query takes and returns, declared once beside the repository function
 * that runs it, and compared with the database by a test (PQdescribePrepared).
 *
 * Values travel in PostgreSQL's binary format, so a declared type is an exact one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/text.h"
#include "base/uuid.h"
#include "database/query.h"

/* Type, its object id (PostgreSQL's pg_type.dat; fixed for ever) and the C type of a field. */
#define SQL_TYPE_TABLE(X)                                                              \
    X(BOOL, 16, bool)                                                                  \
    X(INT4, 23, int32_t)                                                               \
    X(INT8, 20, int64_t)                                                               \
    X(TEXT, 25, struct text) /* borrowed until rows_free */                            \
    X(UUID, 2950, struct uuid)                                                         \
    X(DATE, 1082, int32_t)           /* days since 1970-01-01 */                       \
    X(TIMESTAMP, 1114, int64_t)      /* microseconds since 1970-01-01 UTC */           \
    X(UUID_ARRAY, 2951, struct text) /* arrays: parameters only, encoded by array.h */ \
    X(INT4_ARRAY, 1007, struct text)                                                   \
    X(INT8_ARRAY, 1016, struct text)                                                   \
    X(TEXT_ARRAY, 1009, struct text)

enum sql_type {
#define SQL_TYPE_ENUM(name, oid, c_type) SQL_##name,
    SQL_TYPE_TABLE(SQL_TYPE_ENUM)
#undef SQL_TYPE_ENUM
        SQL_TYPE_COUNT,
};

/* PostgreSQL's timestamps have both; as positions they stand before and after every row. */
#define SQL_TIMESTAMP_MIN INT64_MIN
#define SQL_TIMESTAMP_MAX INT64_MAX

/* Where a column goes in the row struct. */
struct column {
    const char *name;
    enum sql_type type;
    size_t offset; /* of the field */
    size_t
        null_offset; /* of a bool that is set when the value is there; NO_NULL_FLAG without one */
};

#define NO_NULL_FLAG SIZE_MAX

/*
 * kind tells what a repetition does, since the database layer repeats a statement whose outcome it
 * could not learn:
 *   READ   changes nothing
 *   WRITE  changes rows and, sent twice with the same parameters, changes them once
 *          (an operation id, an idempotent UPDATE or DELETE, ON CONFLICT)
 * There is no third kind: a write that cannot be repeated must not be written.
 */
enum statement_kind { STATEMENT_READ, STATEMENT_WRITE };

struct statement {
    const struct query *query;
    const struct query *flight; /* what does many of it at once (flight.h), or NULL */
    enum statement_kind kind;
    uint8_t param_count;
    uint8_t column_count;
    enum sql_type params[PARAMS_MAX];
    struct column columns[COLUMNS_MAX];
    size_t row_size; /* sizeof the row struct */
};

/* A column that is never NULL: the field has the column's name. */
#define COLUMN(row_type, field, sql_type)                                            \
    {                                                                                \
        .name = #field, .type = SQL_##sql_type, .offset = offsetof(row_type, field), \
        .null_offset = NO_NULL_FLAG                                                  \
    }
/* The same in a struct within the row. */
#define COLUMN_OF(row_type, member, field, sql_type)                                        \
    {                                                                                       \
        .name = #field, .type = SQL_##sql_type, .offset = offsetof(row_type, member.field), \
        .null_offset = NO_NULL_FLAG                                                         \
    }
/* One that may be NULL, with a bool field has_<name> beside it. Text needs none: data is NULL. */
#define COLUMN_NULLABLE(row_type, field, sql_type)                                   \
    {                                                                                \
        .name = #field, .type = SQL_##sql_type, .offset = offsetof(row_type, field), \
        .null_offset = offsetof(row_type, has_##field)                               \
    }

#define COLUMN_NULLABLE_OF(row_type, member, field, sql_type)                               \
    {                                                                                       \
        .name = #field, .type = SQL_##sql_type, .offset = offsetof(row_type, member.field), \
        .null_offset = offsetof(row_type, member.has_##field)                               \
    }

/* Statements register themselves, so that nobody keeps a list of them by hand. */
#define STATEMENT(identifier, ...)                               \
    static const struct statement identifier = {__VA_ARGS__};    \
    static const struct statement *const identifier##_registered \
        __attribute__((section("statements"), used)) = &identifier

#define STATEMENT_PARAMS(...)                                                      \
    .param_count = sizeof((enum sql_type[]){__VA_ARGS__}) / sizeof(enum sql_type), \
    .params = {__VA_ARGS__}
#define STATEMENT_COLUMNS(row_type, ...)                                            \
    .column_count = sizeof((struct column[]){__VA_ARGS__}) / sizeof(struct column), \
    .columns = {__VA_ARGS__}, .row_size = sizeof(row_type)

/* Every statement that is linked into the program. */
const struct statement *const *statement_all(size_t *ret_count);

/* A value for a parameter. Texts are borrowed for the call. */
struct param {
    enum sql_type type;
    bool is_null;
    union {
        bool boolean;
        int32_t int4;
        int64_t int8;
        struct text text;
        struct uuid uuid;
    };
};

#define PARAM_BOOL(value) ((struct param){.type = SQL_BOOL, .boolean = (value)})
#define PARAM_INT4(value) ((struct param){.type = SQL_INT4, .int4 = (value)})
#define PARAM_INT8(value) ((struct param){.type = SQL_INT8, .int8 = (value)})
#define PARAM_TIMESTAMP(value) ((struct param){.type = SQL_TIMESTAMP, .int8 = (value)})
#define PARAM_UUID(value) ((struct param){.type = SQL_UUID, .uuid = (value)})
/* The bytes array.h made, borrowed for the call. */
#define PARAM_ARRAY(sql_type, value) ((struct param){.type = (sql_type), .text = (value)})
/* Or NULL. */
#define PARAM_INT8_NULLABLE(value, there) \
    ((struct param){.type = SQL_INT8, .int8 = (value), .is_null = !(there)})
#define PARAM_INT4_NULLABLE(value, there) \
    ((struct param){.type = SQL_INT4, .int4 = (value), .is_null = !(there)})
#define PARAM_UUID_NULLABLE(value, there) \
    ((struct param){.type = SQL_UUID, .uuid = (value), .is_null = !(there)})
/* An absent text is NULL. */
#define PARAM_TEXT(value) \
    ((struct param){.type = SQL_TEXT, .text = (value), .is_null = !(value).data})

/* The object id of a type, for Parse messages and the test that compares. */
unsigned sql_type_oid(enum sql_type type);
const char *sql_type_name(enum sql_type type);
