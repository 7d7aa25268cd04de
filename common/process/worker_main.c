#include "process/worker_main.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "observe/log.h"
#include "process/notify.h"
#include "process/process_main.h"

struct pool {
    const struct worker *worker;
    struct app *app;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    bool stopping;
    int running;
};

/* A thread with its duty. */
struct pool_thread {
    struct pool *pool;
    const struct worker_duty *duty;
    pthread_t id;
};

static struct timespec monotonic_in(int ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    return until;
}

/* Returns false when it is time to leave. */
static bool wait_idle(struct pool *pool)
{
    struct timespec until = monotonic_in(pool->worker->idle_ms);
    pthread_mutex_lock(&pool->lock);
    int rc = 0;
    while (!pool->stopping && rc == 0)
        rc = pthread_cond_timedwait(&pool->changed, &pool->lock, &until);
    bool go_on = !pool->stopping;
    pthread_mutex_unlock(&pool->lock);
    return go_on;
}

static bool is_stopping(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    bool stopping = pool->stopping;
    pthread_mutex_unlock(&pool->lock);
    return stopping;
}

static void *work(void *argument)
{
    const struct pool_thread *thread = argument;
    struct pool *pool = thread->pool;
    bool go_on = true;
    while (go_on) {
        bool any = false;
        for (worker_step *const *step = thread->duty->steps; *step; step++) {
            bool worked = false;
            if (is_stopping(pool))
                break;
            if (!(*step)(pool->app, &worked))
                any = any || worked;
        }
        go_on = any ? !is_stopping(pool) : wait_idle(pool);
    }
    pthread_mutex_lock(&pool->lock);
    pool->running--;
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static bool start(struct pool *pool, struct pool_thread *threads)
{
    const struct worker *worker = pool->worker;
    pthread_attr_t attributes;
    bool started = true;
    struct pool_thread *thread = threads;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
    for (size_t i = 0; i < worker->duty_count; i++) {
        for (int n = 0; started && n < worker->duties[i].threads; n++, thread++) {
            *thread = (struct pool_thread){.pool = pool, .duty = &worker->duties[i]};
            started = pthread_create(&thread->id, &attributes, work, thread) == 0;
        }
    }
    pthread_attr_destroy(&attributes);
    return started;
}

/* Returns whether every thread left in time. */
static bool stop(struct pool *pool)
{
    struct timespec until = monotonic_in(pool->worker->stop_ms);
    int rc = 0;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->changed);
    while (pool->running > 0 && rc == 0)
        rc = pthread_cond_timedwait(&pool->changed, &pool->lock, &until);
    bool all = pool->running == 0;
    pthread_mutex_unlock(&pool->lock);
    return all;
}

/* The signals that end the worker, blocked for all its threads. */
static sigset_t block_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    return signals;
}

static void work_until_stopped(struct pool *pool, struct pool_thread *threads,
                               const sigset_t *signals)
{
    struct log *log = pool->app->log;
    int count = pool->running;
    int received;
    if (!start(pool, threads)) {
        log_event(log, LOG_ERROR, "cannot start", LOG_STRING("problem", "no thread"));
        _exit(EXIT_FAILURE); /* threads that did start use what would be torn down */
    }
    if (pool->worker->on_start)
        pool->worker->on_start(pool->app);
    notify_ready();
    while (sigwait(signals, &received) != 0)
        ;
    bool all = stop(pool);
    log_event(log, LOG_INFO, "stopped", LOG_STRING("work", all ? "finished" : "cut off"));
    for (int i = 0; i < count; i++)
        (void)(all ? pthread_join(threads[i].id, NULL) : pthread_detach(threads[i].id));
    if (!all)
        _exit(EXIT_SUCCESS); /* what the others still use must stay until they are gone */
}

static int run(struct app *app, const void *context)
{
    const struct worker *worker = context;
    struct pool pool = {.worker = worker, .app = app};
    pthread_condattr_t monotonic;
    sigset_t signals = block_signals();
    for (size_t i = 0; i < worker->duty_count; i++)
        pool.running += worker->duties[i].threads;
    if (!process_confine(app))
        return EXIT_FAILURE;
    struct pool_thread *threads = calloc((size_t)pool.running, sizeof(*threads));
    if (!threads) {
        log_event(app->log, LOG_ERROR, "cannot start", LOG_STRING("problem", "out of memory"));
        return EXIT_FAILURE;
    }
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    work_until_stopped(&pool, threads, &signals);
    pthread_cond_destroy(&pool.changed);
    pthread_mutex_destroy(&pool.lock);
    free(threads);
    return EXIT_SUCCESS;
}

int worker_main(const struct worker *worker)
{
    const struct program program = {.name = worker->name, .run = run, .context = worker};
    return process_main(&program);
}
