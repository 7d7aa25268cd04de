#include "runtime/handler_main.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/digest.h"
#include "cache/cache.h"
#include "database/database.h"
#include "http/gateway_cgi.h"
#include "http/gateway_fastcgi.h"
#include "http/serve.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "runtime/notify.h"

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
static enum error open_shared_memory(const struct handler *handler, struct app *app,
                                     char problem[static 256])
{
    char path[256];
    segment_path(app->config, "metrics", path);
    if (metrics_open(path, &app->metrics, problem))
        log_event(app->log, LOG_WARNING, "no metrics", LOG_STRING("problem", problem));
    if (handler->cache == HANDLER_CACHE_NONE)
        return ERROR_OK;
    segment_path(app->config, "cache", path);
    enum error err = cache_open(path, &app->cache, problem);
    if (err && handler->cache == HANDLER_CACHE_OPTIONAL) {
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

static enum error open_app(const struct handler *handler, struct app *app,
                           char problem[static 256])
{
    struct database_options options = {
        .config = app->config,
        .handler = handler->name,
        .log = app->log,
        .on_bootstrap = forget_cached,
        .on_bootstrap_context = app,
    };
    snprintf(problem, 256, "out of memory");
    enum error err = open_shared_memory(handler, app, problem);
    if (err || !handler->needs_database)
        return err;
    options.metrics = app->metrics;
    return database_open(&options, &app->database, problem);
}

static int serve_socket(struct app *app, struct router *router)
{
    struct serve_options options = {
        .listen_fd = STDIN_FILENO,
        .threads = app->config->threads,
        .router = router,
        .log = app->log,
        .on_ready = notify_ready,
    };
    char labels[METRIC_LABELS_BYTES_MAX];
    if (!fastcgi_library_init() || !fastcgi_self_test()) {
        log_event(app->log, LOG_ERROR, "libfcgi does not behave as version 2.4.2 does",
                  LOG_STRING("expected", "Debian's libfcgi0ldbl 2.4.2-2 or a later security fix"));
        return EXIT_FAILURE;
    }
    snprintf(labels, sizeof(labels), "handler=\"%s\"", app->handler);
    metric_set(metrics_series(app->metrics, "process_start_time_seconds", labels),
               (uint64_t)(clock_unix_us() / 1000000));
    log_event(app->log, LOG_INFO, "serving", LOG_NUMBER("threads", options.threads));
    enum error err = serve_run(&options);
    log_event(app->log, LOG_INFO, "stopped", LOG_STRING("result", error_describe(err)->name));
    if (err == ERROR_OVERLOADED) {
        /* Workers still run; tearing down what they use would be worse than leaving. */
        _exit(EXIT_FAILURE);
    }
    return err ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int serve_cgi(struct router *router)
{
    struct gateway gateway = gateway_cgi();
    struct request request;
    struct response response;
    request_init(&request);
    response_init(&response);
    router_serve(router, &gateway, &request, &response);
    request_done(&request);
    response_done(&response);
    return EXIT_SUCCESS;
}

int handler_main(const struct handler *handler)
{
    struct config config;
    char problem[256];
    struct app app = {.handler = handler->name, .config = &config};
    struct router *router = NULL;
    int status = EX_CONFIG;
    enum error err = config_load(&config, problem);
    if (err) {
        fprintf(stderr, "%s: %s\n", handler->name, problem);
        return EX_CONFIG;
    }
    app.log = log_new(handler->name, (enum log_level)config.log_level);
    err = open_app(handler, &app, problem);
    if (err) {
        log_event(app.log, LOG_ERROR, "cannot start", LOG_STRING("problem", problem));
        status = err == ERROR_NOT_CONFIGURED ? EX_CONFIG : EXIT_FAILURE;
        goto out;
    }
    router = router_new(&app, handler);
    if (!router)
        status = EXIT_FAILURE;
    else if (fastcgi_is_listening(STDIN_FILENO))
        status = serve_socket(&app, router);
    else
        status = serve_cgi(router);
out:
    router_free(router);
    database_close(app.database);
    cache_close(app.cache);
    metrics_close(app.metrics);
    log_free(app.log);
    return status;
}
