/*
 * The database as the repositories see it: run a typed statement, get typed rows or an error.
 *
 * Behind it: a pool of connections, prepared statements (or unnamed ones through a pooler that
 * forbids them), a deadline on every reply, repetition by SQLSTATE and connection state, bootstrap
 * of the schema when it is missing, a metric and a slow-statement warning for every statement.
 * Statements that fly share one with others (flight.h). Thread-safe.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "database/migration.h"
#include "database/rows.h"
#include "database/statement.h"

struct config;
struct database;
struct log;
struct metrics;

struct database_options {
    const struct config *config;
    const char *handler; /* application_name, and the label of the pool's metrics */
    struct log *log;
    struct metrics *metrics;
    /* Called after a bootstrap changed the schema, from the thread that ran it; may be NULL. */
    void (*on_bootstrap)(void *context);
    void *on_bootstrap_context;
};

/*
 * Checks the configuration and prepares an empty pool; connects to nothing. All pointers in options
 * must outlive the database. Returns ERROR_NOT_CONFIGURED and fills problem (a sentence that names
 * the environment variable, never its value) when a connection string is missing or malformed.
 */
enum error database_open(const struct database_options *options, struct database **ret_database,
                         char problem[static 256]) MUST_CHECK;

/* No statement may be running. Takes NULL. */
void database_close(struct database *database);

/*
 * Runs one statement outside any transaction of the caller's and waits for its outcome.
 * params: param_count values of exactly the declared types, borrowed for the call.
 * ret_rows: the rows, owned by the caller (rows_free); may be NULL when they are not wanted.
 *
 * ERROR_OK                    it happened, once
 * ERROR_CONFLICT              a unique constraint refused it (SQLSTATE 23505); nothing changed
 * ERROR_DATABASE_UNAVAILABLE  no answer within the deadline and the attempts; a write is then there
 *                             entirely or not at all
 * ERROR_OVERLOADED            no connection came free within the deadline, or too many wait for the
 *                             next flight; nothing was sent
 * ERROR_NO_MEMORY
 * ERROR_SCHEMA_UPDATING       the schema is wanting and being brought up to date, which takes long
 * ERROR_DATABASE              anything else the server refused; logged with its SQLSTATE
 */
enum error database_run(struct database *database, const struct statement *statement,
                        const struct param *params, struct rows **ret_rows) MUST_CHECK;

/* The same by itself, of a statement that flies: nobody else waits for what its rows wait for. */
enum error database_run_alone(struct database *database, const struct statement *statement,
                              const struct param *params, struct rows **ret_rows) MUST_CHECK;

/* What a bootstrap did. */
struct bootstrap_report {
    int version;                 /* of the schema now */
    int applied[MIGRATIONS_MAX]; /* the versions applied by this call, ascending */
    size_t applied_count;
    size_t function_count; /* functions applied by this call */
};

/*
 * Applies the migrations that are missing and the functions that are missing or changed, all or
 * nothing. Safe any number of times, in any number of processes at once. ret_report may be NULL.
 * Errors as database_run.
 */
enum error database_bootstrap(struct database *database,
                              struct bootstrap_report *ret_report) MUST_CHECK;
