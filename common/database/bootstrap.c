#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "database/bootstrap_internal.h"
#include "database/migration.h"
#include "database/sqlstate.h"

/*
 * The number is "DREAMLEN" in ASCII: any constant does, as long as every process uses the same one
 * and nothing else of the database does. The one after it is held as well while it takes long;
 * in pg_locks a key of eight bytes stands as two numbers.
 */
#define LOCK_SQL                                                             \
    "SELECT pg_try_advisory_xact_lock(x'445245414D4C454E'::bigint),"         \
    " EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"            \
    " AND database = (SELECT oid FROM pg_database"                           \
    " WHERE datname = current_database())"                                   \
    " AND classid = x'44524541'::int::oid AND objid = x'4D4C454F'::int::oid" \
    " AND objsubid = 1)"
#define LONG_LOCK_SQL "SELECT pg_advisory_xact_lock(x'445245414D4C454F'::bigint)"

/* Of the tables that an adoption rewrites. */
#define SIZE_SQL                                                                               \
    "SELECT coalesce(sum(pg_relation_size(c.oid)), 0)::bigint FROM pg_class c"                 \
    " WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND c.relname" \
    " IN ('users', 'user_tokens', 'token_transactions', 'generations', 'usage_logs', 'payments')"

/*
 * schema_migrations holds a row a migration, and in it the names of the columns and triggers that
 * were there when it was applied: so a bootstrap can tell from the newest row that something was
 * dropped since, also when later migrations are still to come, which might build on it. A rewritten
 * search_path or an operator's additions do not matter. schema_functions holds a row a function of
 * sql/functions; retired_at: since when no build that was started has it.
 */
#define CREATE_TABLES_SQL                                                             \
    "CREATE TABLE IF NOT EXISTS schema_migrations ("                                  \
    " version int CONSTRAINT schema_migrations_pkey PRIMARY KEY, name text NOT NULL," \
    " checksum text NOT NULL, objects text[],"                                        \
    " applied_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'));"             \
    "CREATE TABLE IF NOT EXISTS schema_functions ("                                   \
    " name text CONSTRAINT schema_functions_pkey PRIMARY KEY,"                        \
    " declaration text NOT NULL, digest text NOT NULL,"                               \
    " applied_at timestamp NOT NULL DEFAULT (clock_timestamp() AT TIME ZONE 'utc'),"  \
    " retired_at timestamp)"

#define OBJECTS_SQL                                                                           \
    "SELECT c.relname || '.' || a.attname FROM pg_class c"                                    \
    " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"      \
    " WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'i')" \
    " UNION ALL SELECT 'trigger ' || t.tgname FROM pg_trigger t WHERE NOT t.tgisinternal"

#define MISSING_SQL                                                                            \
    "SELECT count(*) FROM schema_migrations m, unnest(m.objects) o (name)"                     \
    " WHERE m.version = (SELECT max(version) FROM schema_migrations WHERE version <= $1::int)" \
    " AND NOT EXISTS"                                                                          \
    " (SELECT 1 FROM (" OBJECTS_SQL ") present (name) WHERE present.name = o.name)"

/*
 * The eight migrations before functions had a folder of their own, known by the last one's
 * checksum. Theirs are the same tables; the functions that have another name now are retired like
 * any other.
 */
#define BEFORE_VERSION 8
#define BEFORE_CHECKSUM "287a598b0b00ec9c4aaa6b3c2bbcf6af843ccf4bcdf4eb22d6e74f5f0f6b391f"
#define REBASE_SQL                                                                           \
    "INSERT INTO schema_functions (name, declaration, digest, retired_at)"                   \
    " SELECT p.proname, p.oid::regprocedure::text, '', clock_timestamp() AT TIME ZONE 'utc'" \
    " FROM pg_proc p WHERE p.pronamespace = current_schema()::regnamespace"                  \
    " AND p.proname IN ('claim_daily_bonus', 'claim_daily_bonus_flight', 'doubled_bonus',"   \
    " 'erase_user', 'grant_to_application', 'ledger_post_many', 'link_device',"              \
    " 'lock_account', 'payment_differs', 'payment_entry', 'payments_claim_due',"             \
    " 'record_generation', 'record_usage', 'record_usage_flight', 'refunds_claim_due',"      \
    " 'refuse_ledger_change', 'release_expired_holds', 'subscriptions_claim_due',"           \
    " 'sweep_holds');"                                                                       \
    "DELETE FROM schema_migrations WHERE version <= 8"

bool bootstrap_command(struct bootstrap *bootstrap, const char *text)
{
    PQclear(bootstrap->reply.result);
    connection_execute(bootstrap->connection, text, bootstrap->deadline_ms, &bootstrap->reply);
    return bootstrap->reply.ok;
}

bool bootstrap_query(struct bootstrap *bootstrap, const char *text, const char *const *values,
                     int count)
{
    PQclear(bootstrap->reply.result);
    const struct connection_command command = {text, values, count, bootstrap->deadline_ms};
    connection_execute_params(bootstrap->connection, &command, &bootstrap->reply);
    return bootstrap->reply.ok;
}

const char *bootstrap_cell(const struct bootstrap *bootstrap, int row, int column)
{
    return PQgetvalue(bootstrap->reply.result, row, column);
}

/* What schema_migrations says, against this build. */
struct history {
    bool applied[MIGRATIONS_MAX];
    const char *changed; /* the name of a migration with another checksum, or NULL */
    bool before;         /* it is the history of the eight migrations before */
};

static bool read_history(struct bootstrap *bootstrap, struct history *ret_history)
{
    *ret_history = (struct history){.changed = NULL};
    if (!bootstrap_command(bootstrap, "SELECT version, checksum FROM schema_migrations"))
        return false;
    for (int row = 0; row < PQntuples(bootstrap->reply.result); row++) {
        int version = atoi(bootstrap_cell(bootstrap, row, 0));
        const char *checksum = bootstrap_cell(bootstrap, row, 1);
        if (version == BEFORE_VERSION && strcmp(checksum, BEFORE_CHECKSUM) == 0)
            ret_history->before = true;
        if (version < 1 || (size_t)version > MIGRATION_COUNT) {
            bootstrap->newer = true;
            continue;
        }
        const struct migration *migration = &MIGRATIONS[version - 1];
        ret_history->applied[version - 1] = true;
        if (strcmp(checksum, migration->checksum) != 0)
            ret_history->changed = migration->name;
    }
    if (!ret_history->before)
        return true;
    log_event(bootstrap->options->log, LOG_INFO, "schema of the version before is taken over");
    *ret_history = (struct history){.before = true};
    bootstrap->newer = false;
    return bootstrap_command(bootstrap, REBASE_SQL);
}

/* Something was dropped: every migration is applied again, and makes what is not there. */
static bool forget_if_incomplete(struct bootstrap *bootstrap, struct history *history)
{
    char version[16];
    snprintf(version, sizeof(version), "%zu", MIGRATION_COUNT);
    const char *values[] = {version};
    if (!bootstrap_query(bootstrap, MISSING_SQL, values, 1))
        return false;
    if (strcmp(bootstrap_cell(bootstrap, 0, 0), "0") == 0)
        return true;
    log_event(bootstrap->options->log, LOG_WARNING,
              "schema is incomplete, applying every migration again",
              LOG_NUMBER("migrations", (int64_t)MIGRATION_COUNT));
    *history = (struct history){.changed = NULL};
    return bootstrap_query(bootstrap, "DELETE FROM schema_migrations WHERE version <= $1::int",
                           values, 1);
}

static bool apply_migration(struct bootstrap *bootstrap, const struct migration *migration)
{
    static const char RECORD_SQL[] =
        "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1::int, $2, $3)";
    char version[16];
    snprintf(version, sizeof(version), "%d", migration->version);
    const char *values[] = {version, migration->name, migration->checksum};
    if (!bootstrap_command(bootstrap, migration->text) ||
        !bootstrap_query(bootstrap, RECORD_SQL, values, 3)) {
        log_event(bootstrap->options->log, LOG_ERROR, "migration was refused",
                  LOG_STRING("name", migration->name));
        return false;
    }
    struct bootstrap_report *report = bootstrap->report;
    report->applied[report->applied_count++] = migration->version;
    return true;
}

static bool apply_migrations(struct bootstrap *bootstrap, const struct history *history)
{
    static const char OBJECTS_RECORD_SQL[] =
        "UPDATE schema_migrations SET objects = ARRAY(" OBJECTS_SQL ") WHERE objects IS NULL";
    for (size_t i = 0; i < MIGRATION_COUNT; i++)
        if (!history->applied[i] && !apply_migration(bootstrap, &MIGRATIONS[i]))
            return false;
    if (bootstrap->report->applied_count == 0)
        return true;
    return bootstrap_command(bootstrap, OBJECTS_RECORD_SQL);
}

/* Does nothing for the owner itself, whose rights need no grant. */
static bool grant_rights(struct bootstrap *bootstrap)
{
    static const char GRANT_SQL[] = "SELECT application_grant($1) WHERE current_user <> $1"
                                    " AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1)";
    char role[64]; /* NAMEDATALEN */
    /* It was parsed before, so that nothing else can be wrong with it. */
    PQconninfoOption *parsed = PQconninfoParse(bootstrap->options->application_url, NULL);
    role[0] = '\0';
    for (PQconninfoOption *option = parsed; option && option->keyword; option++)
        if (strcmp(option->keyword, "user") == 0 && option->val)
            snprintf(role, sizeof(role), "%s", option->val);
    PQconninfoFree(parsed);
    const char *values[] = {role};
    return parsed && bootstrap_query(bootstrap, GRANT_SQL, values, 1);
}

static bool apply_all(struct bootstrap *bootstrap, const struct history *history)
{
    struct function_plan plan;
    bool ok = function_plan_read(bootstrap, &plan) &&
              function_plan_apply(bootstrap, &plan, FUNCTION_BEFORE_TABLES) &&
              apply_migrations(bootstrap, history) &&
              function_plan_apply(bootstrap, &plan, FUNCTION_AFTER_TABLES) &&
              function_retire(bootstrap);
    if (ok && plan.left_alone > 0)
        log_event(bootstrap->options->log, LOG_WARNING,
                  "functions that another build applied stay as they are",
                  LOG_NUMBER("functions", (int64_t)plan.left_alone));
    function_plan_done(&plan);
    const struct bootstrap_report *report = bootstrap->report;
    if (ok && (report->applied_count > 0 || report->function_count > 0))
        ok = grant_rights(bootstrap);
    return ok;
}

enum outcome {
    OUTCOME_FAILED,
    OUTCOME_DONE,
    OUTCOME_CHANGED,   /* a migration that was applied is another one here */
    OUTCOME_ELSEWHERE, /* another process is at it, for long */
};

/* Waits its turn. */
static enum outcome take_lock(struct bootstrap *bootstrap)
{
    int64_t until_ms = clock_monotonic_ms() + BOOTSTRAP_TURN_MS;
    for (;;) {
        if (!bootstrap_command(bootstrap, LOCK_SQL))
            return OUTCOME_FAILED;
        if (bootstrap_cell(bootstrap, 0, 0)[0] == 't')
            return OUTCOME_DONE;
        if (bootstrap_cell(bootstrap, 0, 1)[0] == 't' || clock_monotonic_ms() >= until_ms)
            return OUTCOME_ELSEWHERE;
        clock_sleep_ms(BOOTSTRAP_TURN_STEP_MS);
    }
}

/* With the lock held: says so before it begins, if tables of many rows are to be changed. */
static bool announce_if_long(struct bootstrap *bootstrap, const struct history *history)
{
    const struct bootstrap_options *options = bootstrap->options;
    size_t applied = 0;
    while (applied < MIGRATION_COUNT && history->applied[applied])
        applied++;
    if (applied == MIGRATION_COUNT)
        return true;
    if (!bootstrap_command(bootstrap, SIZE_SQL))
        return false;
    int64_t bytes = atoll(bootstrap_cell(bootstrap, 0, 0));
    if (bytes <= BOOTSTRAP_SHORT_BYTES)
        return true;
    log_event(options->log, LOG_WARNING, "schema update of a large database begins",
              LOG_NUMBER("bytes", bytes));
    bootstrap->is_long = true;
    if (options->on_long)
        options->on_long(options->context);
    return bootstrap_command(bootstrap, LONG_LOCK_SQL);
}

/* The transaction is the caller's. */
static enum outcome run_locked(struct bootstrap *bootstrap)
{
    struct history history;
    enum outcome outcome = take_lock(bootstrap);
    if (outcome != OUTCOME_DONE)
        return outcome;
    if (!bootstrap_command(bootstrap, CREATE_TABLES_SQL) || !read_history(bootstrap, &history))
        return OUTCOME_FAILED;
    if (history.changed) {
        log_event(bootstrap->options->log, LOG_ERROR, "migration was changed after it was applied",
                  LOG_STRING("name", history.changed));
        return OUTCOME_CHANGED;
    }
    bool ok = forget_if_incomplete(bootstrap, &history) && announce_if_long(bootstrap, &history) &&
              apply_all(bootstrap, &history);
    return ok ? OUTCOME_DONE : OUTCOME_FAILED;
}

/* What a migration says of its progress, under a SQLSTATE of our own; of the rest, nothing. */
static void log_progress(void *context, const PGresult *notice)
{
    const struct bootstrap *bootstrap = context;
    const char *sqlstate = PQresultErrorField(notice, PG_DIAG_SQLSTATE);
    const char *step = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);
    const char *percent = PQresultErrorField(notice, PG_DIAG_MESSAGE_DETAIL);
    if (bootstrap->is_long && sqlstate && strcmp(sqlstate, "DL000") == 0 && step && percent)
        log_event(bootstrap->options->log, LOG_INFO, "schema update", LOG_STRING("step", step),
                  LOG_NUMBER("percent", atoi(percent)));
}

static void roll_back(struct bootstrap *bootstrap)
{
    struct reply first = bootstrap->reply;
    bootstrap->reply = (struct reply){.ok = false};
    if (!bootstrap->connection->broken)
        (void)!bootstrap_command(bootstrap, "ROLLBACK");
    PQclear(bootstrap->reply.result);
    bootstrap->reply = first;
    *bootstrap->report = (struct bootstrap_report){.version = (int)MIGRATION_COUNT};
}

static enum outcome run_transaction(struct bootstrap *bootstrap)
{
    enum outcome outcome = OUTCOME_FAILED;
    /*
     * A pooler keeps session settings from one client to the next, so these are LOCAL. A process
     * that ends leaves no statement behind that goes on for minutes (from version 14 on).
     */
    if (bootstrap_command(bootstrap, "BEGIN; SET LOCAL statement_timeout = 0;"
                                     " SET LOCAL lock_timeout = '10s';"
                                     " SET LOCAL client_min_messages = notice;"
                                     " SET LOCAL maintenance_work_mem = '128MB';"
                                     " SELECT set_config(name, '1s', true) FROM pg_settings"
                                     " WHERE name = 'client_connection_check_interval'"))
        outcome = run_locked(bootstrap);
    if (outcome == OUTCOME_DONE && !bootstrap_command(bootstrap, "COMMIT"))
        outcome = OUTCOME_FAILED;
    if (outcome != OUTCOME_DONE)
        roll_back(bootstrap);
    return outcome;
}

static void log_applied(const struct bootstrap *bootstrap)
{
    const struct bootstrap_report *report = bootstrap->report;
    for (size_t i = 0; i < report->applied_count; i++)
        log_event(bootstrap->options->log, LOG_INFO, "migration applied",
                  LOG_NUMBER("version", report->applied[i]),
                  LOG_STRING("name", MIGRATIONS[report->applied[i] - 1].name));
    if (report->function_count > 0)
        log_event(bootstrap->options->log, LOG_INFO, "functions applied",
                  LOG_NUMBER("functions", (int64_t)report->function_count));
}

static enum error classify(struct bootstrap *bootstrap, enum outcome outcome)
{
    const struct reply *reply = &bootstrap->reply;
    if (outcome == OUTCOME_CHANGED)
        return ERROR_DATABASE;
    if (outcome == OUTCOME_ELSEWHERE)
        return ERROR_SCHEMA_UPDATING;
    struct failure_class class = sqlstate_classify(reply->has_sqlstate ? reply->sqlstate : NULL);
    log_event(bootstrap->options->log, LOG_ERROR, "bootstrap failed",
              LOG_STRING("sqlstate", reply->has_sqlstate ? reply->sqlstate : "none"),
              LOG_STRING("server_message", reply->message));
    bool passes = class.failure == FAILURE_TRANSIENT || class.failure == FAILURE_BUSY;
    return passes ? ERROR_DATABASE_UNAVAILABLE : ERROR_DATABASE;
}

enum error bootstrap_run(const struct bootstrap_options *options,
                         struct bootstrap_report *ret_report)
{
    char problem[256];
    struct bootstrap bootstrap = {
        .options = options,
        .report = ret_report,
        .deadline_ms = clock_monotonic_ms() + MIGRATION_TIMEOUT_MS,
    };
    *ret_report = (struct bootstrap_report){.version = (int)MIGRATION_COUNT};
    bootstrap.connection = connection_open(options->url, options->application_name, problem);
    if (!bootstrap.connection) {
        log_event(options->log, LOG_ERROR, "bootstrap cannot connect",
                  LOG_STRING("problem", problem));
        return ERROR_DATABASE_UNAVAILABLE;
    }
    bootstrap.connection->on_notice = log_progress;
    bootstrap.connection->on_notice_context = &bootstrap;
    if (options->on_connected)
        options->on_connected(options->context, PQsocket(bootstrap.connection->pg));
    enum outcome outcome = run_transaction(&bootstrap);
    if (outcome == OUTCOME_DONE)
        log_applied(&bootstrap);
    enum error err = outcome == OUTCOME_DONE ? ERROR_OK : classify(&bootstrap, outcome);
    PQclear(bootstrap.reply.result);
    if (options->on_connected)
        options->on_connected(options->context, -1);
    connection_close(bootstrap.connection);
    return err;
}
