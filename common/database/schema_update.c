#include "database/schema_update.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/blocking.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/limits.h"
#include "database/bootstrap.h"
#include "observe/log.h"
#include "observe/metrics.h"

struct schema_update {
    const struct database_options *options;
    const char *owner_url;
    int64_t started_ms; /* when the database was opened */

    atomic_uint_fast64_t done; /* that succeeded; raised under the lock */
    pthread_mutex_t lock;      /* of all that follows */
    pthread_cond_t changed;
    bool running, is_long; /* the one that runs, if one does */
    bool closing;          /* nothing may begin any more */
    int socket;            /* of its connection, or -1 */
    uint64_t runs;         /* that ended */
    enum error result;     /* of the last one */
    int64_t idle_ms;       /* when the last one found nothing to do */
    int64_t elsewhere_ms;  /* when the last one found another process at a long one */
    bool has_thread;       /* thread is to be joined */
    pthread_t thread;
};

struct schema_update *schema_update_new(const struct database_options *options,
                                        const char *owner_url)
{
    struct schema_update *update = calloc(1, sizeof(*update));
    if (!update)
        return NULL;
    update->options = options;
    update->owner_url = owner_url;
    update->started_ms = clock_monotonic_ms();
    update->socket = -1;
    update->idle_ms = update->elsewhere_ms = update->started_ms - BOOTSTRAP_PAUSE_MS;
    atomic_init(&update->done, 0);
    pthread_mutex_init(&update->lock, NULL);
    pthread_cond_init(&update->changed, NULL);
    return update;
}

void schema_update_free(struct schema_update *update)
{
    if (!update)
        return;
    pthread_mutex_lock(&update->lock);
    update->closing = true;
    if (update->socket >= 0)
        (void)shutdown(update->socket, SHUT_RDWR); /* which ends its wait for the server */
    pthread_mutex_unlock(&update->lock);
    if (update->has_thread)
        pthread_join(update->thread, NULL);
    pthread_cond_destroy(&update->changed);
    pthread_mutex_destroy(&update->lock);
    free(update);
}

uint64_t schema_update_count(const struct schema_update *update)
{
    return atomic_load(&update->done);
}

static void on_connected(void *context, int socket)
{
    struct schema_update *update = context;
    pthread_mutex_lock(&update->lock);
    update->socket = socket;
    if (update->closing && socket >= 0)
        (void)shutdown(socket, SHUT_RDWR);
    pthread_mutex_unlock(&update->lock);
}

static void on_long(void *context)
{
    struct schema_update *update = context;
    pthread_mutex_lock(&update->lock);
    update->is_long = true;
    pthread_cond_broadcast(&update->changed);
    pthread_mutex_unlock(&update->lock);
}

static const char *result_label(enum error err, bool applied)
{
    if (err == ERROR_SCHEMA_UPDATING)
        return "result=\"elsewhere\"";
    if (err)
        return "result=\"failed\"";
    return applied ? "result=\"applied\"" : "result=\"nothing\"";
}

/* running is set by the caller, who then owns the run. */
static enum error run(struct schema_update *update, struct bootstrap_report *ret_report)
{
    const struct database_options *database = update->options;
    const struct bootstrap_options options = {
        .url = update->owner_url,
        .application_url = config_database_url(database->config),
        .application_name = database->handler,
        .started_ms = update->started_ms,
        .log = database->log,
        .on_connected = on_connected,
        .on_long = on_long,
        .context = update,
    };
    enum error err = bootstrap_run(&options, ret_report);
    bool applied = ret_report->applied_count > 0 || ret_report->function_count > 0;
    pthread_mutex_lock(&update->lock);
    metric_add(metrics_series(database->metrics, "db_bootstraps_total", result_label(err, applied)),
               1);
    if (!err && applied && database->on_bootstrap)
        database->on_bootstrap(database->on_bootstrap_context);
    if (!err && !applied)
        update->idle_ms = clock_monotonic_ms();
    if (err == ERROR_SCHEMA_UPDATING)
        update->elsewhere_ms = clock_monotonic_ms();
    if (!err)
        atomic_fetch_add(&update->done, 1);
    update->result = err;
    update->runs++;
    update->running = update->is_long = false;
    pthread_cond_broadcast(&update->changed);
    pthread_mutex_unlock(&update->lock);
    return err;
}

static void *run_thread(void *context)
{
    struct bootstrap_report report;
    (void)run(context, &report);
    return NULL;
}

/* With the lock held. */
static enum error start(struct schema_update *update)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    if (update->has_thread) /* it has nothing left to do but to end */
        pthread_join(update->thread, NULL);
    update->has_thread = false;
    if (update->closing)
        return ERROR_DATABASE_UNAVAILABLE;
    /* Signals are the threads' that serve. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
    update->has_thread = pthread_create(&update->thread, &attributes, run_thread, update) == 0;
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    update->running = update->has_thread;
    return update->has_thread ? ERROR_OK : ERROR_NO_MEMORY;
}

/* With the lock held: joins the run that is under way, or starts one, and waits if it is short. */
static enum error wait_for_run(struct schema_update *update)
{
    uint64_t runs = update->runs;
    enum error err = update->running ? ERROR_OK : start(update);
    if (err)
        return err;
    blocking_begin();
    while (update->runs == runs && !update->is_long)
        pthread_cond_wait(&update->changed, &update->lock);
    return update->runs == runs ? ERROR_SCHEMA_UPDATING : update->result;
}

enum error schema_update_ensure(struct schema_update *update, uint64_t seen)
{
    enum error err = ERROR_OK;
    pthread_mutex_lock(&update->lock);
    if (atomic_load(&update->done) == seen) {
        int64_t now_ms = clock_monotonic_ms();
        if (now_ms - update->idle_ms < BOOTSTRAP_PAUSE_MS)
            err = ERROR_DATABASE;
        else if (now_ms - update->elsewhere_ms < BOOTSTRAP_PAUSE_MS)
            err = ERROR_SCHEMA_UPDATING;
        else
            err = wait_for_run(update);
    }
    pthread_mutex_unlock(&update->lock);
    return err;
}

enum error schema_update_run(struct schema_update *update, struct bootstrap_report *ret_report)
{
    blocking_begin();
    pthread_mutex_lock(&update->lock);
    while (update->running && !update->is_long)
        pthread_cond_wait(&update->changed, &update->lock);
    bool begins = !update->running;
    update->running = true;
    pthread_mutex_unlock(&update->lock);
    if (begins)
        return run(update, ret_report);
    *ret_report = (struct bootstrap_report){.version = (int)MIGRATION_COUNT};
    return ERROR_SCHEMA_UPDATING;
}
