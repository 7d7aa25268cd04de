/*
 * Serves requests for a process: from the listening socket on file descriptor 0 (http/serve.h), or
 * one request as plain CGI when that is no socket.
 */
#pragma once

#include "base/app.h"
#include "http/router.h"

struct process_service {
    struct router *router;
    /* Called every background_interval_ms by the main thread while it serves; NULL for none. */
    void (*background)(struct app *app);
    int background_interval_ms;
};

/* Exit status: 0 after draining or a CGI request, else 1. */
int process_serve(struct app *app, const struct process_service *service);
