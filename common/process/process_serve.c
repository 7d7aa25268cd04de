#include "process/process_serve.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/config.h"
#include "http/serve.h"
#include "http/transport_cgi.h"
#include "http/transport_fastcgi.h"
#include "observe/log.h"
#include "process/notify.h"
#include "process/process_main.h"

/* The service's own function, with the type it has. */
struct background {
    const struct process_service *service;
    struct app *app;
};

static void run_background(void *context)
{
    struct background *background = context;
    background->service->background(background->app);
}

static int serve_socket(struct app *app, const struct process_service *service)
{
    struct background background = {.service = service, .app = app};
    struct serve_options options = {
        .listen_fd = STDIN_FILENO,
        .threads = app->config->threads,
        .router = service->router,
        .log = app->log,
        .on_ready = notify_ready,
        .background = service->background ? run_background : NULL,
        .background_context = &background,
        .background_interval_ms = service->background_interval_ms,
    };
    if (!fastcgi_library_init() || !fastcgi_self_test()) {
        log_event(app->log, LOG_ERROR, "libfcgi does not behave as version 2.4.2 does",
                  LOG_STRING("expected", "Debian's libfcgi0ldbl 2.4.2-2 or a later security fix"));
        return EXIT_FAILURE;
    }
    if (!process_confine(app))
        return EXIT_FAILURE;
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

int process_serve(struct app *app, const struct process_service *service)
{
    return fastcgi_is_listening(STDIN_FILENO) ? serve_socket(app, service)
                                              : serve_cgi(service->router);
}
