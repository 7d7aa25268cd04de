#include "database/bootstrap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "database/connection.h"
#include "database/migration.h"
#include "database/sqlstate.h"

/*
 * The number is "DREAMLEN" in ASCII: any constant does, as long as every process uses the same one
 * and nothing else of the database does.
 */
#define LOCK_SQL "SELECT pg_advisory_xact_lock(x'445245414D4C454E'::bigint)"

/*
 * schema_migrations holds a row a migration, and in it the names of the columns, functions and
 * triggers that were there when it was applied: so a bootstrap can tell from the newest row that
 * something was dropped since, also when later migrations are still to come, which might build on
 * it. A rewritten search_path or an operator's additions do not matter.
 */
#define CREATE_TABLE_SQL                                                              \
    "CREATE TABLE IF NOT EXISTS schema_migrations ("                                  \
    " version int CONSTRAINT schema_migrations_pkey PRIMARY KEY, name text NOT NULL," \
    " checksum text NOT NULL, objects text[],"                                        \
    " applied_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'))"

#define OBJECTS_SQL                                                                           \
    "SELECT c.relname || '.' || a.attname FROM pg_class c"                                    \
    " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"      \
    " WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'i')" \
    " UNION ALL SELECT p.proname || '()' FROM pg_proc p"                                      \
    " WHERE p.pronamespace = current_schema()::regnamespace"                                  \
    " UNION ALL SELECT 'trigger ' || t.tgname FROM pg_trigger t WHERE NOT t.tgisinternal"

#define MISSING_SQL                                                                            \
    "SELECT count(*) FROM schema_migrations m, unnest(m.objects) o (name)"                     \
    " WHERE m.version = (SELECT max(version) FROM schema_migrations WHERE version <= $1::int)" \
    " AND NOT EXISTS"                                                                          \
    " (SELECT 1 FROM (" OBJECTS_SQL ") present (name) WHERE present.name = o.name)"

struct bootstrap {
    struct connection *connection;
    struct log *log;
    struct bootstrap_report *report;
    char application_role[64]; /* empty when the connection string names none */
    int64_t deadline_ms;
    struct reply reply; /* of the last command */
    bool repaired;      /* the rows were forgotten once already */
};

/* Runs a command; its result, if any is wanted, stays in reply until the next one. */
static bool run(struct bootstrap *bootstrap, const char *text)
{
    PQclear(bootstrap->reply.result);
    connection_execute(bootstrap->connection, text, bootstrap->deadline_ms, &bootstrap->reply);
    return bootstrap->reply.ok;
}

static bool run_params(struct bootstrap *bootstrap, const char *text, const char *const *values,
                       int count)
{
    PQclear(bootstrap->reply.result);
    const struct connection_command command = {text, values, count, bootstrap->deadline_ms};
    connection_execute_params(bootstrap->connection, &command, &bootstrap->reply);
    return bootstrap->reply.ok;
}

/* The versions applied so far, checked against this build; false when a command failed. */
static bool read_applied(struct bootstrap *bootstrap, bool *applied, const char **ret_changed)
{
    *ret_changed = NULL;
    if (!run(bootstrap, "SELECT version, checksum FROM schema_migrations"))
        return false;
    const PGresult *result = bootstrap->reply.result;
    for (int i = 0; i < PQntuples(result); i++) {
        int version = atoi(PQgetvalue(result, i, 0));
        if (version < 1 || (size_t)version > MIGRATION_COUNT)
            continue; /* of a newer build, which this one tolerates */
        const struct migration *migration = &MIGRATIONS[version - 1];
        applied[version - 1] = true;
        if (strcmp(PQgetvalue(result, i, 1), migration->checksum) != 0)
            *ret_changed = migration->name;
    }
    return true;
}

static bool something_is_missing(struct bootstrap *bootstrap, bool *ret_missing)
{
    char version[16];
    snprintf(version, sizeof(version), "%zu", MIGRATION_COUNT);
    const char *values[] = {version};
    if (!run_params(bootstrap, MISSING_SQL, values, 1))
        return false;
    *ret_missing = strcmp(PQgetvalue(bootstrap->reply.result, 0, 0), "0") != 0;
    return true;
}

/* Applies one migration and records it, inside the step's transaction. */
static bool apply(struct bootstrap *bootstrap, const struct migration *migration)
{
    static const char RECORD_SQL[] =
        "INSERT INTO schema_migrations (version, name, checksum, objects)"
        " VALUES ($1::int, $2, $3, ARRAY(" OBJECTS_SQL "))";
    char version[16];
    snprintf(version, sizeof(version), "%d", migration->version);
    const char *values[] = {version, migration->name, migration->checksum};
    return run(bootstrap, migration->text) && run_params(bootstrap, RECORD_SQL, values, 3);
}

/* Does nothing for the owner itself, whose rights need no grant. */
static bool grant_rights(struct bootstrap *bootstrap)
{
    static const char GRANT_SQL[] = "SELECT grant_to_application($1) WHERE current_user <> $1"
                                    " AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1)";
    const char *values[] = {bootstrap->application_role};
    return run_params(bootstrap, GRANT_SQL, values, 1);
}

enum step { STEP_FAILED, STEP_MORE, STEP_DONE, STEP_CHANGED };

/* Decides what is next under the lock, and does it. The transaction is the caller's. */
static enum step step_locked(struct bootstrap *bootstrap, const struct migration **ret_applied)
{
    bool applied[MIGRATIONS_MAX] = {false};
    const char *changed;
    if (!run(bootstrap, LOCK_SQL) || !run(bootstrap, CREATE_TABLE_SQL) ||
        !read_applied(bootstrap, applied, &changed))
        return STEP_FAILED;
    if (changed) {
        log_event(bootstrap->log, LOG_ERROR, "migration was changed after it was applied",
                  LOG_STRING("name", changed));
        return STEP_CHANGED;
    }
    bool missing;
    if (!something_is_missing(bootstrap, &missing))
        return STEP_FAILED;
    if (missing && !bootstrap->repaired) {
        /* Something was dropped: every migration is applied again, and makes what is not there. */
        bootstrap->repaired = true;
        log_event(bootstrap->log, LOG_WARNING,
                  "schema is incomplete, applying every migration again",
                  LOG_NUMBER("migrations", (int64_t)MIGRATION_COUNT));
        return run(bootstrap, "DELETE FROM schema_migrations") ? STEP_MORE : STEP_FAILED;
    }
    for (size_t i = 0; i < MIGRATION_COUNT; i++) {
        if (applied[i])
            continue;
        bool newest = i + 1 == MIGRATION_COUNT;
        if (!apply(bootstrap, &MIGRATIONS[i]) || (newest && !grant_rights(bootstrap)))
            return STEP_FAILED;
        *ret_applied = &MIGRATIONS[i];
        return STEP_MORE;
    }
    return STEP_DONE;
}

static enum step step(struct bootstrap *bootstrap)
{
    const struct migration *applied = NULL;
    enum step result = STEP_FAILED;
    /* A pooler keeps session settings from one client to the next, so these are LOCAL. */
    if (run(bootstrap, "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '10s';"
                       " SET LOCAL client_min_messages = warning"))
        result = step_locked(bootstrap, &applied);
    if (result == STEP_MORE || result == STEP_DONE) {
        if (!run(bootstrap, "COMMIT"))
            return STEP_FAILED;
        struct bootstrap_report *report = bootstrap->report;
        if (applied)
            log_event(bootstrap->log, LOG_INFO, "migration applied",
                      LOG_NUMBER("version", applied->version), LOG_STRING("name", applied->name));
        if (applied && report->applied_count < MIGRATIONS_MAX)
            report->applied[report->applied_count++] = applied->version;
        return result;
    }
    struct reply first = bootstrap->reply;
    bootstrap->reply = (struct reply){.ok = false};
    if (!bootstrap->connection->broken)
        run(bootstrap, "ROLLBACK");
    PQclear(bootstrap->reply.result);
    bootstrap->reply = first;
    return result;
}

static enum error classify(struct bootstrap *bootstrap, enum step result)
{
    const struct reply *reply = &bootstrap->reply;
    if (result == STEP_CHANGED)
        return ERROR_DATABASE;
    struct failure_class class = sqlstate_classify(reply->has_sqlstate ? reply->sqlstate : NULL);
    log_event(bootstrap->log, LOG_ERROR, "bootstrap failed",
              LOG_STRING("sqlstate", reply->has_sqlstate ? reply->sqlstate : "none"),
              LOG_STRING("server_message", reply->message));
    bool passes = class.failure == FAILURE_TRANSIENT || class.failure == FAILURE_BUSY;
    return passes ? ERROR_DATABASE_UNAVAILABLE : ERROR_DATABASE;
}

/* The user of a connection string, or the empty string. Returns false when memory is out. */
static bool read_role(const char *url, char *role, size_t size)
{
    /* It was parsed before, so that nothing else can be wrong with it. */
    PQconninfoOption *options = PQconninfoParse(url, NULL);
    role[0] = '\0';
    for (PQconninfoOption *option = options; option && option->keyword; option++)
        if (strcmp(option->keyword, "user") == 0 && option->val)
            snprintf(role, size, "%s", option->val);
    PQconninfoFree(options);
    return options != NULL;
}

enum error bootstrap_run(const char *url, const char *application_url, const char *application_name,
                         struct log *log, struct bootstrap_report *ret_report)
{
    char problem[256];
    struct bootstrap bootstrap = {
        .log = log,
        .report = ret_report,
        .deadline_ms = clock_monotonic_ms() + MIGRATION_TIMEOUT_MS,
    };
    *ret_report = (struct bootstrap_report){.version = (int)MIGRATION_COUNT};
    if (!read_role(application_url, bootstrap.application_role, sizeof(bootstrap.application_role)))
        return ERROR_NO_MEMORY;
    bootstrap.connection = connection_open(url, application_name, problem);
    if (!bootstrap.connection) {
        log_event(log, LOG_ERROR, "bootstrap cannot connect", LOG_STRING("problem", problem));
        return ERROR_DATABASE_UNAVAILABLE;
    }
    enum step result;
    do {
        result = step(&bootstrap);
    } while (result == STEP_MORE);
    enum error err = result == STEP_DONE ? ERROR_OK : classify(&bootstrap, result);
    PQclear(bootstrap.reply.result);
    connection_close(bootstrap.connection);
    return err;
}
