/*
 * Brings the schema to the version of this build, on a connection of its own. Private to the room;
 * others call database_bootstrap.
 *
 * Everything happens in one transaction: migrations, functions, the rights of the handlers' role.
 * Nobody sees a table without its functions. Safe in any number of processes at once: the
 * transaction begins with pg_advisory_xact_lock and looks at what is applied under that lock.
 */
#pragma once

#include "base/error.h"
#include "database/database.h"
#include "observe/log.h"

/* All borrowed for the call. */
struct bootstrap_options {
    const char *url; /* a connection string that allows transactions; of the schema's owner */
    /* What the handlers connect with; its user gets its rights when it is not the one of url. */
    const char *application_url;
    const char *application_name;
    /* When this process began, of clock_monotonic_ms: it replaces no function applied since. */
    int64_t started_ms;
    struct log *log;
};

/*
 * Returns ERROR_OK when every migration and function is applied, ERROR_DATABASE_UNAVAILABLE when it
 * cannot connect or the failure may pass by itself, ERROR_DATABASE when something is refused; both
 * leave the database as it was. ret_report is filled in any case.
 */
enum error bootstrap_run(const struct bootstrap_options *options,
                         struct bootstrap_report *ret_report) MUST_CHECK;
