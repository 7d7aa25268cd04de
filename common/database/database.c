#include "database/database.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/config.h"
#include "database/flight_internal.h"
#include "database/pool.h"
#include "database/rows_internal.h"
#include "database/schema_update.h"
#include "database/sqlstate.h"
#include "observe/log.h"
#include "observe/metrics.h"

struct database {
    struct database_options options;
    struct pool *pool;
    struct flight_queues *flights; /* owned; of the statements that fly */
    struct schema_update *schema;  /* owned */
    atomic_bool use_prepared;      /* false from the first sign of a pooler that forbids it */

    struct metric *pool_wait, *pool_timeouts, *retries, *reconnects, *slow, *fallbacks;
    struct metric *_Atomic durations[]; /* by query index; filled when a query first runs */
};

static enum error check_url(const char *variable, const char *url, char problem[static 256])
{
    char detail[128];
    enum error err = connection_check_url(url, detail);
    if (err == ERROR_NOT_CONFIGURED)
        snprintf(problem, 256, "%s: %s", variable, detail);
    return err;
}

static enum error check_config(const struct config *config, char problem[static 256])
{
    const char *url = config_database_url(config);
    if (!url[0]) {
        snprintf(problem, 256,
                 "POSTGRES_URL or DATABASE_URL: set one of them to "
                 "postgresql://user:password@host/database");
        return ERROR_NOT_CONFIGURED;
    }
    enum error err = check_url(config_database_variable(config), url, problem);
    if (!err && config->postgres_url_non_pooling[0])
        err = check_url("POSTGRES_URL_NON_POOLING", config->postgres_url_non_pooling, problem);
    return err;
}

enum error database_open(const struct database_options *options, struct database **ret_database,
                         char problem[static 256])
{
    const struct config *config = options->config;
    enum error err = check_config(config, problem);
    if (err)
        return err;
    struct database *database =
        calloc(1, sizeof(*database) + QUERY_COUNT * sizeof(database->durations[0]));
    if (!database)
        return ERROR_NO_MEMORY;
    database->options = *options;
    database->pool =
        pool_new(config_database_url(config), options->handler, (size_t)config->db_pool_size);
    database->flights = flight_queues_new(database);
    /* A pooler may forbid what changing the schema needs. */
    database->schema = schema_update_new(&database->options, config->postgres_url_non_pooling[0]
                                                                 ? config->postgres_url_non_pooling
                                                                 : config_database_url(config));
    if (!database->pool || !database->flights || !database->schema) {
        database_close(database);
        return ERROR_NO_MEMORY;
    }
    atomic_init(&database->use_prepared, config->db_prepared != CONFIG_PREPARED_NEVER);

    char labels[METRIC_LABELS_BYTES_MAX];
    snprintf(labels, sizeof(labels), "handler=\"%s\"", options->handler);
    database->pool_wait = metrics_series(options->metrics, "db_pool_wait_seconds", labels);
    database->pool_timeouts = metrics_series(options->metrics, "db_pool_timeouts_total", labels);
    database->fallbacks = metrics_series(options->metrics, "db_prepared_fallbacks_total", labels);
    database->retries = metrics_series(options->metrics, "db_retries_total", labels);
    database->reconnects = metrics_series(options->metrics, "db_reconnects_total", labels);
    database->slow = metrics_series(options->metrics, "db_slow_queries_total", labels);
    *ret_database = database;
    return ERROR_OK;
}

void database_close(struct database *database)
{
    if (!database)
        return;
    schema_update_free(database->schema);
    flight_queues_free(database->flights);
    pool_free(database->pool);
    free(database);
}

enum error database_bootstrap(struct database *database, struct bootstrap_report *ret_report)
{
    struct bootstrap_report report;
    return schema_update_run(database->schema, ret_report ? ret_report : &report);
}

/* A statement on its way through its attempts. */
struct execution {
    struct database *database;
    struct connection_request request; /* prepared: whether the last attempt was by name */
    bool unanswered;                   /* an attempt had no answer: it may have been carried out */
    struct reply reply; /* of the last attempt; its result is owned until handed out */
    char problem[256];  /* why it could not connect */
};

/* One attempt. Returns ERROR_OK when a reply came, good or bad, or was given up. */
static enum error attempt(struct execution *execution)
{
    struct database *database = execution->database;
    struct connection *connection;
    int64_t before_us = clock_monotonic_us();
    execution->reply = (struct reply){.ok = false};
    enum error err = pool_acquire(database->pool, execution->request.deadline_ms, &connection,
                                  execution->problem);
    metric_observe_us(database->pool_wait, (uint64_t)(clock_monotonic_us() - before_us));
    if (err == ERROR_OVERLOADED)
        metric_add(database->pool_timeouts, 1);
    if (err)
        return err;
    execution->request.prepared = atomic_load(&database->use_prepared);
    connection_run(connection, &execution->request, &execution->reply);
    const struct reply *reply = &execution->reply;
    if (!reply->ok) {
        struct failure_class class =
            sqlstate_classify(reply->has_sqlstate ? reply->sqlstate : NULL);
        /* In mode "prepared" a lost name is made again on a new connection. */
        connection->broken = connection->broken || class.drop_connection ||
                             (class.failure == FAILURE_PREPARED && execution->request.prepared);
        if (connection->broken)
            metric_add(database->reconnects, 1);
    }
    pool_release(database->pool, connection);
    return ERROR_OK;
}

static void count_failure(struct execution *execution, const char *sqlstate)
{
    char labels[METRIC_LABELS_BYTES_MAX];
    snprintf(labels, sizeof(labels), "query=\"%s\",sqlstate=\"%s\"",
             execution->request.statement->query->name, sqlstate);
    metric_add(
        metrics_series(execution->database->options.metrics, "db_query_errors_total", labels), 1);
}

static enum error log_failure(struct execution *execution, enum error err)
{
    const struct reply *reply = &execution->reply;
    log_event(execution->database->options.log, LOG_ERROR, "statement failed",
              LOG_STRING("query", execution->request.statement->query->name),
              LOG_STRING("sqlstate", reply->has_sqlstate ? reply->sqlstate : "none"),
              LOG_STRING("problem", execution->problem));
    return err;
}

/* The wait before attempt n (from 1): 100 ms doubling, half of it at random, so that clients that
 * failed together do not come back together. Returns false when the deadline comes first. */
static bool back_off(const struct execution *execution, int n)
{
    uint16_t noise = 0;
    (void)!getrandom(&noise, sizeof(noise), GRND_NONBLOCK);
    int64_t full_ms = (int64_t)RETRY_FIRST_DELAY_MS << (n - 1);
    int64_t delay_ms = full_ms / 2 + full_ms * noise / (2 * UINT16_MAX);
    if (clock_monotonic_ms() + delay_ms >= execution->request.deadline_ms)
        return false;
    metric_add(execution->database->retries, 1);
    clock_sleep_ms(delay_ms);
    return true;
}

static void forbid_prepared(struct database *database)
{
    if (!atomic_exchange(&database->use_prepared, false))
        return;
    metric_add(database->fallbacks, 1);
    log_event(database->options.log, LOG_INFO,
              "prepared statements do not last here, sending unnamed ones",
              LOG_STRING("reason", "a pooler in transaction mode"));
}

/* Repeats the statement as its failures allow; ERROR_OK leaves a good reply in execution. */
static enum error run_until_settled(struct execution *execution)
{
    struct database *database = execution->database;
    int failures = 0;
    int bootstraps = 0;
    for (;;) {
        uint64_t seen = schema_update_count(database->schema);
        enum failure failure = FAILURE_TRANSIENT;
        enum error err = attempt(execution);
        const struct reply *reply = &execution->reply;
        if (err == ERROR_OVERLOADED)
            return log_failure(execution, err);
        if (!err && reply->ok)
            return ERROR_OK;
        if (!err) {
            const char *sqlstate = reply->has_sqlstate ? reply->sqlstate : NULL;
            failure = sqlstate_classify(sqlstate).failure;
            count_failure(execution, sqlstate ? sqlstate : "none");
        }
        switch (failure) {
        case FAILURE_UNIQUE:
            return ERROR_CONFLICT;
        case FAILURE_FATAL:
            return log_failure(execution, ERROR_DATABASE);
        case FAILURE_BUSY:
            return log_failure(execution, ERROR_DATABASE_BUSY);
        case FAILURE_PREPARED:
            /* Nothing ran. Unnamed statements need no memory of the server's. */
            if (!execution->request.prepared ||
                database->options.config->db_prepared != CONFIG_PREPARED_AUTO)
                failures++;
            else
                forbid_prepared(database);
            break;
        case FAILURE_SCHEMA:
            if (++bootstraps > STATEMENT_ATTEMPTS)
                return log_failure(execution, ERROR_DATABASE);
            err = schema_update_ensure(database->schema, seen);
            if (err)
                return log_failure(execution, err);
            /* An adopted database takes its time once; the statement gets its own again. */
            execution->request.deadline_ms =
                clock_monotonic_ms() + database->options.config->db_timeout_ms;
            continue;
        case FAILURE_TRANSIENT:
            execution->unanswered = execution->unanswered || !err;
            failures++;
            break;
        }
        if (failures >= STATEMENT_ATTEMPTS || (failures > 0 && !back_off(execution, failures)))
            return log_failure(execution, ERROR_DATABASE_UNAVAILABLE);
    }
}

/* Measures the statement, and warns when it took longer than SLOW_QUERY_MS. */
static void observe(const struct execution *execution, int64_t duration_us)
{
    struct database *database = execution->database;
    const char *name = execution->request.statement->query->name;
    struct metric *_Atomic *slot = &database->durations[execution->request.statement->query->index];
    struct metric *duration = atomic_load_explicit(slot, memory_order_relaxed);
    if (!duration) {
        char labels[METRIC_LABELS_BYTES_MAX];
        snprintf(labels, sizeof(labels), "query=\"%s\"", name);
        duration = metrics_series(database->options.metrics, "db_query_duration_seconds", labels);
        atomic_store_explicit(slot, duration, memory_order_relaxed);
    }
    metric_observe_us(duration, (uint64_t)duration_us);
    if (duration_us / 1000 < database->options.config->slow_query_ms)
        return;
    metric_add(database->slow, 1);
    log_event(database->options.log, LOG_WARNING, "slow query", LOG_STRING("query", name),
              LOG_NUMBER("duration_ms", duration_us / 1000));
}

struct flight_queues *database_flight_queues(struct database *database)
{
    return database->flights;
}

enum error database_run(struct database *database, const struct statement *statement,
                        const struct param *params, struct rows **ret_rows)
{
    return statement->flight ? flight_run(database, statement, params, ret_rows)
                             : database_run_alone(database, statement, params, ret_rows);
}

enum error database_run_alone(struct database *database, const struct statement *statement,
                              const struct param *params, struct rows **ret_rows)
{
    struct execution execution = {
        .database = database,
        .request = {.statement = statement,
                    .params = params,
                    .deadline_ms = clock_monotonic_ms() + database->options.config->db_timeout_ms},
    };
    for (int i = 0; i < statement->param_count; i++)
        assert(params[i].type == statement->params[i]);
    int64_t before_us = clock_monotonic_us();
    enum error err = run_until_settled(&execution);
    observe(&execution, clock_monotonic_us() - before_us);
    PGresult *result = execution.reply.result;
    if (err)
        return err;
    if (!rows_match(result, statement)) {
        PQclear(result);
        snprintf(execution.problem, sizeof(execution.problem),
                 "the columns are not of the declared types");
        return log_failure(&execution, ERROR_DATABASE);
    }
    if (!ret_rows) {
        PQclear(result);
        return ERROR_OK;
    }
    *ret_rows = rows_new(result, statement, execution.unanswered);
    return *ret_rows ? ERROR_OK : ERROR_NO_MEMORY;
}
