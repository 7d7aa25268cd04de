/*
 * payments-reconciler: brings payments, refunds and subscriptions to their end when no notification
 * does (services/reconcile_service.h, docs/payments.md). Runs beside the handlers and under the
 * same supervisor, and leaves the socket that gives it alone. Several may run at once, on any
 * hosts.
 *
 * Pollers look at what is due one by one, so that a call that takes long holds up nobody; renewals
 * and listings have a thread each. On SIGTERM it finishes what it is about, for two seconds: what
 * is cut off stays leased in the database for half a minute, and is then looked at again.
 */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "process/app_open.h"
#include "process/notify.h"
#include "process/sandbox.h"
#include "services/payment_provider.h"
#include "services/reconcile_service.h"

typedef enum error step_function(struct app *app, bool *ret_worked);

enum { THREAD_STACK_BYTES = 512 * KIB, DUTIES = RECONCILER_POLLERS + 2 };

struct reconciler {
    struct app *app;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    bool stopping;
    int running;
};

/* A thread's work: steps, taken in turn. */
struct duty {
    struct reconciler *reconciler;
    step_function *const *steps; /* ended by NULL */
};

/* Returns false when it is time to leave. */
static bool wait_idle(struct reconciler *reconciler)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += RECONCILER_IDLE_MS / 1000;
    pthread_mutex_lock(&reconciler->lock);
    int rc = 0;
    while (!reconciler->stopping && rc == 0)
        rc = pthread_cond_timedwait(&reconciler->changed, &reconciler->lock, &until);
    bool go_on = !reconciler->stopping;
    pthread_mutex_unlock(&reconciler->lock);
    return go_on;
}

static bool is_stopping(struct reconciler *reconciler)
{
    pthread_mutex_lock(&reconciler->lock);
    bool stopping = reconciler->stopping;
    pthread_mutex_unlock(&reconciler->lock);
    return stopping;
}

/* Failures were logged where their cause is known; all of them pass, so it goes on after a pause.
 */
static void *work(void *argument)
{
    const struct duty *duty = argument;
    struct reconciler *reconciler = duty->reconciler;
    bool go_on = true;
    while (go_on) {
        bool any = false;
        for (step_function *const *step = duty->steps; *step; step++) {
            bool worked = false;
            if (is_stopping(reconciler))
                break;
            if (!(*step)(reconciler->app, &worked))
                any = any || worked;
        }
        go_on = any ? !is_stopping(reconciler) : wait_idle(reconciler);
    }
    pthread_mutex_lock(&reconciler->lock);
    reconciler->running--;
    pthread_cond_broadcast(&reconciler->changed);
    pthread_mutex_unlock(&reconciler->lock);
    return NULL;
}

static bool start(struct reconciler *reconciler, struct duty *duties, pthread_t *threads)
{
    static step_function *const POLL[] = {reconcile_service_payment, reconcile_service_refund,
                                          NULL};
    static step_function *const RENEW[] = {reconcile_service_subscription, NULL};
    static step_function *const LIST[] = {reconcile_service_list_payments,
                                          reconcile_service_list_refunds, NULL};
    pthread_attr_t attributes;
    bool started = true;
    reconciler->running = DUTIES;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
    for (int i = 0; started && i < DUTIES; i++) {
        duties[i].reconciler = reconciler;
        duties[i].steps = i < RECONCILER_POLLERS ? POLL : i == RECONCILER_POLLERS ? RENEW : LIST;
        started = pthread_create(&threads[i], &attributes, work, &duties[i]) == 0;
    }
    pthread_attr_destroy(&attributes);
    return started;
}

/* Returns whether every thread left in time. */
static bool stop(struct reconciler *reconciler)
{
    struct timespec until;
    int rc = 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += RECONCILER_STOP_MS / 1000;
    pthread_mutex_lock(&reconciler->lock);
    reconciler->stopping = true;
    pthread_cond_broadcast(&reconciler->changed);
    while (reconciler->running > 0 && rc == 0)
        rc = pthread_cond_timedwait(&reconciler->changed, &reconciler->lock, &until);
    bool all = reconciler->running == 0;
    pthread_mutex_unlock(&reconciler->lock);
    return all;
}

static int run(struct app *app)
{
    struct reconciler reconciler = {.app = app};
    struct duty duties[DUTIES];
    pthread_t threads[DUTIES];
    pthread_condattr_t monotonic;
    sigset_t signals;
    int received;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&reconciler.lock, NULL);
    pthread_cond_init(&reconciler.changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    sandbox_enter(app->config, app->log);
    metric_set(metrics_series(app->metrics, "process_start_time_seconds",
                              "handler=\"payments-reconciler\""),
               (uint64_t)(clock_unix_us() / 1000000));
    if (!start(&reconciler, duties, threads)) {
        log_event(app->log, LOG_ERROR, "cannot start", LOG_STRING("problem", "no thread"));
        _exit(EXIT_FAILURE);
    }
    log_event(app->log, LOG_INFO, "reconciling",
              LOG_STRING("provider", app->yookassa ? "configured" : "none"));
    notify_ready();
    while (sigwait(&signals, &received) != 0)
        ;
    bool all = stop(&reconciler);
    log_event(app->log, LOG_INFO, "stopped", LOG_STRING("calls", all ? "finished" : "cut off"));
    for (int i = 0; i < DUTIES; i++)
        (void)(all ? pthread_join(threads[i], NULL) : pthread_detach(threads[i]));
    if (!all)
        _exit(EXIT_SUCCESS); /* what the others still use must stay until they are gone */
    pthread_cond_destroy(&reconciler.changed);
    pthread_mutex_destroy(&reconciler.lock);
    return EXIT_SUCCESS;
}

int main(void)
{
    static const struct app_needs NEEDS = {.database = true, .cache = APP_CACHE_REQUIRED};
    struct config config;
    struct app app;
    char problem[256];
    int status;
    enum error err = app_open("payments-reconciler", &NEEDS, &config, &app, problem);
    if (!err) {
        status = run(&app);
    } else {
        if (app.log)
            log_event(app.log, LOG_ERROR, "cannot start", LOG_STRING("problem", problem));
        else
            fprintf(stderr, "payments-reconciler: %s\n", problem);
        status = err == ERROR_NOT_CONFIGURED ? EX_CONFIG : EXIT_FAILURE;
    }
    app_close(&app);
    return status;
}
