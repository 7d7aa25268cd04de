/*
 * Brings the schema to the version of this build, on a connection of its own. Private to the room;
 * others call database_bootstrap.
 *
 * Safe in any number of processes at once: each step is one transaction that begins with
 * pg_advisory_xact_lock and looks at what is applied under that lock.
 */
#pragma once

#include "base/error.h"
#include "database/database.h"
#include "observe/log.h"

/*
 * url: a connection string that allows transactions. application_url: what the handlers connect
 * with; its user gets its rights when it is not the one of url. Returns ERROR_OK when every
 * migration is applied, ERROR_DATABASE_UNAVAILABLE when it cannot connect or the failure may pass
 * by itself, ERROR_DATABASE when a migration is refused; both leave the steps before it applied and
 * whole.
 */
enum error bootstrap_run(const char *url, const char *application_url, const char *application_name,
                         struct log *log, struct bootstrap_report *ret_report) MUST_CHECK;
