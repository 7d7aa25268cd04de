#include "process/handler_main.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/config.h"
#include "http/transport_cgi.h"
#include "http/transport_fastcgi.h"
#include "http/serve.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "process/notify.h"
#include "process/sandbox.h"

enum {
    /* Of the C library, which takes eight for each processor: 113 MB for all handlers under 256
     * connections of spends instead of 44, at the same rate (docs/decisions.md). */
    MALLOC_ARENAS = 2,
};

/* The handler's own function, with the type it has. */
struct background {
    const struct handler *handler;
    struct app *app;
};

static void run_background(void *context)
{
    struct background *background = context;
    background->handler->background(background->app);
}

static int serve_socket(const struct handler *handler, struct app *app, struct router *router)
{
    struct background background = {.handler = handler, .app = app};
    struct serve_options options = {
        .listen_fd = STDIN_FILENO,
        .threads = app->config->threads,
        .router = router,
        .log = app->log,
        .on_ready = notify_ready,
        .background = handler->background ? run_background : NULL,
        .background_context = &background,
        .background_interval_ms = handler->background_interval_ms,
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
    if (!sandbox_enter(app->config, app->log)) {
        log_event(app->log, LOG_ERROR, "cannot start", LOG_STRING("problem", "out of memory"));
        return EXIT_FAILURE;
    }
    log_event(app->log, LOG_INFO, "serving", LOG_NUMBER("threads", options.threads));
    enum error err = serve_run(&options);
    log_event(app->log, LOG_INFO, "stopped", LOG_STRING("result", error_describe(err)->name));
    if (err == ERROR_OVERLOADED) {
        /* Threads still run; tearing down what they use would be worse than leaving. */
        _exit(EXIT_FAILURE);
    }
    return err ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int serve_cgi(struct router *router)
{
    struct transport transport = transport_cgi();
    struct request request;
    struct response response;
    request_init(&request);
    response_init(&response);
    router_serve(router, &transport, &request, &response);
    request_done(&request);
    response_done(&response);
    return EXIT_SUCCESS;
}

int handler_main(const struct handler *handler, const struct app_needs *needs)
{
    struct config config;
    struct app app;
    char problem[256];
    struct router *router = NULL;
    int status = EXIT_FAILURE;
    /* Before any thread: what one of them allocates another one frees, and would keep for itself.
     */
    mallopt(M_ARENA_MAX, MALLOC_ARENAS);
    enum error err = app_open(handler->name, needs, &config, &app, problem);
    if (err) {
        if (app.log)
            log_event(app.log, LOG_ERROR, "cannot start", LOG_STRING("problem", problem));
        else
            fprintf(stderr, "%s: %s\n", handler->name, problem);
        status = err == ERROR_NOT_CONFIGURED ? EX_CONFIG : EXIT_FAILURE;
        goto out;
    }
    router = router_new(&app, handler);
    if (!router)
        status = EXIT_FAILURE;
    else if (fastcgi_is_listening(STDIN_FILENO))
        status = serve_socket(handler, &app, router);
    else
        status = serve_cgi(router);
out:
    router_free(router);
    app_close(&app);
    return status;
}
