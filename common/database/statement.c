#include "database/statement.h"

#include <assert.h>

/* Made by the linker: begin and end of the section that STATEMENT fills, if anything does. */
extern const struct statement *const __start_statements[] __attribute__((weak));
extern const struct statement *const __stop_statements[] __attribute__((weak));

const struct statement *const *statement_all(size_t *ret_count)
{
    *ret_count = (size_t)(__stop_statements - __start_statements);
    return __start_statements;
}

unsigned sql_type_oid(enum sql_type type)
{
    static const unsigned OIDS[SQL_TYPE_COUNT] = {
#define SQL_TYPE_OID(name, oid, c_type) [SQL_##name] = oid,
        SQL_TYPE_TABLE(SQL_TYPE_OID)
#undef SQL_TYPE_OID
    };
    assert(type < SQL_TYPE_COUNT);
    return OIDS[type];
}

const char *sql_type_name(enum sql_type type)
{
    static const char *const NAMES[SQL_TYPE_COUNT] = {
#define SQL_TYPE_NAME(name, oid, c_type) [SQL_##name] = #name,
        SQL_TYPE_TABLE(SQL_TYPE_NAME)
#undef SQL_TYPE_NAME
    };
    assert(type < SQL_TYPE_COUNT);
    return NAMES[type];
}
