#include "repositories/system_repository.h"

#include <string.h>

#include "queries.h"
#include "repositories/row_access.h"

STATEMENT(PING, .query = &query_health_ping, .kind = STATEMENT_READ,
          STATEMENT_COLUMNS(struct system_state, COLUMN(struct system_state, writable, BOOL),
                            COLUMN(struct system_state, max_connections, INT4)));

enum error system_repository_ping(struct database *database, struct system_state *ret_state)
{
    return row_access_one(database, &PING, NULL, ret_state, NULL, NULL);
}

_Static_assert(sizeof(((struct schema_report *)0)->applied) ==
                   sizeof(((struct bootstrap_report *)0)->applied),
               "both reports hold every version");

enum error system_repository_migrate(struct database *database, struct schema_report *ret_report)
{
    struct bootstrap_report report;
    enum error err = database_bootstrap(database, &report);
    if (err)
        return err;
    ret_report->version = report.version;
    ret_report->applied_count = report.applied_count;
    memcpy(ret_report->applied, report.applied, sizeof(report.applied));
    return ERROR_OK;
}
