#include "database/statement.h"

#include <assert.h>

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
