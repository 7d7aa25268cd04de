#include "database/sqlstate.h"

#include <stddef.h>
#include <string.h>

/* The first match counts; a prefix of two characters is a whole class. */
static const struct {
    const char *prefix;
    struct failure_class class;
} TABLE[] = {
    {"08", {FAILURE_TRANSIENT, true}},     /* connection; every error of PgBouncer's own is 08P01 */
    {"0A000", {FAILURE_TRANSIENT, true}},  /* a prepared statement's result type changed */
    {"23505", {FAILURE_UNIQUE, false}},    /* unique_violation */
    {"25006", {FAILURE_TRANSIENT, true}},  /* read-only: the primary is elsewhere now */
    {"26000", {FAILURE_PREPARED, false}},  /* invalid_sql_statement_name */
    {"42P05", {FAILURE_PREPARED, false}},  /* duplicate_prepared_statement */
    {"40001", {FAILURE_TRANSIENT, false}}, /* serialization_failure */
    {"40003", {FAILURE_TRANSIENT, false}}, /* statement_completion_unknown */
    {"40P01", {FAILURE_TRANSIENT, false}}, /* deadlock_detected */
    {"42P01", {FAILURE_SCHEMA, false}},    /* undefined_table */
    {"42703", {FAILURE_SCHEMA, false}},    /* undefined_column */
    {"42P10", {FAILURE_SCHEMA, false}}, /* invalid_column_reference: a key of ON CONFLICT is gone */
    {"42883", {FAILURE_SCHEMA, false}}, /* undefined_function */
    {"53", {FAILURE_TRANSIENT, false}}, /* insufficient resources: connections, disk, memory */
    {"55P03", {FAILURE_BUSY, false}},   /* lock_not_available */
    {"57014", {FAILURE_BUSY, false}},   /* query_canceled, by statement_timeout */
    {"57P01", {FAILURE_TRANSIENT, true}}, /* admin_shutdown */
    {"57P02", {FAILURE_TRANSIENT, true}}, /* crash_shutdown */
    {"57P03", {FAILURE_TRANSIENT, true}}, /* cannot_connect_now */
    {"57P05", {FAILURE_TRANSIENT, true}}, /* idle_session_timeout */
    {"XX000", {FAILURE_TRANSIENT, true}}, /* a relation dropped meanwhile; ambiguous on Citus */
};

struct failure_class sqlstate_classify(const char *sqlstate)
{
    if (!sqlstate)
        return (struct failure_class){FAILURE_TRANSIENT, true};
    for (size_t i = 0; i < sizeof(TABLE) / sizeof(TABLE[0]); i++)
        if (strncmp(sqlstate, TABLE[i].prefix, strlen(TABLE[i].prefix)) == 0)
            return TABLE[i].class;
    return (struct failure_class){FAILURE_FATAL, false};
}
