#include "process/app_open.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "auth/clerk.h"
#include "base/config.h"
#include "base/digest.h"
#include "cache/cache.h"
#include "database/database.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "outbound/yookassa.h"

/*
 * Where the shared segments are: SHARED_MEMORY, or a name that every handler of this user with the
 * same database arrives at.
 */
static void segment_path(const struct config *config, const char *suffix, char path[static 256])
{
    unsigned char digest[DIGEST_BYTES];
    if (config->shared_memory[0]) {
        snprintf(path, 256, "%s.%s", config->shared_memory, suffix);
        return;
    }
    digest_sha256(text_from(config_database_url(config)), digest);
    snprintf(path, 256, "/dev/shm/dreamlens-%u-%02x%02x%02x%02x%02x%02x.%s", (unsigned)geteuid(),
             digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], suffix);
}

/* A handler that changes what others cache must see the same cache, or not run at all. */
static enum error open_shared_memory(enum app_needs needs, struct app *app,
                                     char problem[static 256])
{
    char path[256];
    segment_path(app->config, "metrics", path);
    enum error err = metrics_open(path, &app->metrics, problem);
    /* A lack of memory passes, and the metrics would be missing for good. */
    if (err == ERROR_NO_MEMORY)
        return err;
    if (err)
        log_event(app->log, LOG_WARNING, "no metrics", LOG_STRING("problem", problem));
    segment_path(app->config, "cache", path);
    err = cache_open(path, &app->cache, problem);
    if (err && needs != APP_NEEDS_ALL) {
        log_event(app->log, LOG_WARNING, "no shared cache", LOG_STRING("problem", problem));
        return ERROR_OK;
    }
    return err;
}

static void forget_cached(void *context)
{
    struct app *app = context;
    cache_clear(app->cache);
}

static enum error open_parts(enum app_needs needs, struct app *app, char problem[static 256])
{
    struct database_options options = {
        .config = app->config,
        .handler = app->handler,
        .log = app->log,
        .on_bootstrap = forget_cached,
        .on_bootstrap_context = app,
    };
    enum error err = open_shared_memory(needs, app, problem);
    if (err || needs == APP_NEEDS_NOTHING)
        return err;
    err = clerk_new(app->config, app->log, app->cache, &app->clerk, problem);
    if (err)
        return err;
    err = yookassa_new(app->config, &app->yookassa, problem);
    if (err)
        return err;
    options.metrics = app->metrics;
    return database_open(&options, &app->database, problem);
}

enum error app_open(const char *name, enum app_needs needs, struct process *ret_process)
{
    struct app *app = &ret_process->app;
    char *problem = ret_process->problem;
    *app = (struct app){.handler = name, .config = &ret_process->config};
    enum error err = config_load(&ret_process->config, problem);
    if (err)
        return err;
    snprintf(problem, sizeof(ret_process->problem), "out of memory");
    app->log = log_new(name, (enum log_level)app->config->log_level);
    if (!app->log)
        return ERROR_NO_MEMORY;
    return open_parts(needs, app, problem);
}

void app_close(struct app *app)
{
    database_close(app->database);
    yookassa_free(app->yookassa);
    clerk_free(app->clerk);
    cache_close(app->cache);
    metrics_close(app->metrics);
    log_free(app->log);
}
