/* What each SQLSTATE means for the statement and for its connection. */
#include "database/sqlstate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_table(void **state)
{
    (void)state;
    static const struct {
        const char *sqlstate;
        enum failure failure;
        bool drop_connection;
    } ROWS[] = {
        {NULL, FAILURE_TRANSIENT, true}, /* the connection broke: outcome unknown */
        {"08000", FAILURE_TRANSIENT, true},
        {"08003", FAILURE_TRANSIENT, true},
        {"08006", FAILURE_TRANSIENT, true},
        {"08P01", FAILURE_TRANSIENT, true}, /* whatever PgBouncer has to say */
        {"0A000", FAILURE_TRANSIENT, true},
        {"23505", FAILURE_UNIQUE, false},
        {"23514", FAILURE_FATAL, false}, /* check_violation */
        {"23503", FAILURE_FATAL, false}, /* foreign_key_violation */
        {"22021", FAILURE_FATAL, false}, /* character_not_in_repertoire */
        {"22003", FAILURE_FATAL, false}, /* numeric_value_out_of_range */
        {"25006", FAILURE_TRANSIENT, true},
        {"26000", FAILURE_PREPARED, false},
        {"28P01", FAILURE_FATAL, false}, /* invalid_password */
        {"3D000", FAILURE_FATAL, false}, /* invalid_catalog_name */
        {"40001", FAILURE_TRANSIENT, false},
        {"40003", FAILURE_TRANSIENT, false},
        {"40P01", FAILURE_TRANSIENT, false},
        {"42501", FAILURE_FATAL, false}, /* insufficient_privilege */
        {"42601", FAILURE_FATAL, false}, /* syntax_error */
        {"42703", FAILURE_SCHEMA, false},
        {"42883", FAILURE_SCHEMA, false},
        {"42P01", FAILURE_SCHEMA, false},
        {"42P05", FAILURE_PREPARED, false},
        {"53100", FAILURE_TRANSIENT, false}, /* disk_full */
        {"53200", FAILURE_TRANSIENT, false}, /* out_of_memory */
        {"53300", FAILURE_TRANSIENT, false}, /* too_many_connections */
        {"55P03", FAILURE_BUSY, false},
        {"57014", FAILURE_BUSY, false},
        {"57P01", FAILURE_TRANSIENT, true},
        {"57P02", FAILURE_TRANSIENT, true},
        {"57P03", FAILURE_TRANSIENT, true},
        {"57P05", FAILURE_TRANSIENT, true},
        {"XX000", FAILURE_TRANSIENT, true},
        {"P0001", FAILURE_FATAL, false}, /* raise_exception */
        {"00000", FAILURE_FATAL, false},
        {"", FAILURE_FATAL, false},
        {"4", FAILURE_FATAL, false},
        {"ZZZZZ", FAILURE_FATAL, false},
    };
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        struct failure_class class = sqlstate_classify(ROWS[i].sqlstate);
        if (class.failure != ROWS[i].failure || class.drop_connection != ROWS[i].drop_connection)
            fail_msg("%s", ROWS[i].sqlstate);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
