/*
 * Brings the schema to the version of this build, on a connection of its own. Private to the room;
 * others call database_bootstrap.
 *
 * Everything happens in one transaction: migrations, functions, the rights of the handlers' role.
 * Nobody sees a table without its functions. Safe in any number of processes at once: the
 * transaction takes an advisory lock first, and looks at what is applied under it. One that is
 * about to take long, because migrations meet a large database, takes a second advisory lock: who
 * finds that one held does not wait.
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
    /* With the connection's socket, and with -1 before that is closed. */
    void (*on_connected)(void *context, int socket);
    void (*on_long)(void *context); /* when it turns out to take long, before it does */
    void *context;
};

/*
 * Returns ERROR_OK when every migration and function is applied, ERROR_DATABASE_UNAVAILABLE when it
 * cannot connect or the failure may pass by itself, ERROR_SCHEMA_UPDATING when another process is
 * at one that takes long, ERROR_DATABASE when something is refused; they leave the database as it
 * was. ret_report is filled in any case.
 */
enum error bootstrap_run(const struct bootstrap_options *options,
                         struct bootstrap_report *ret_report) MUST_CHECK;
