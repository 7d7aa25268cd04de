/* A handler: one executable, one URL prefix, a table of routes. */
#pragma once

#include "endpoint/call.h"
#include "process/app_open.h"

struct handler {
    const char *name; /* of the executable */
    const struct route *routes;
    size_t route_count;
    enum app_needs needs;
    /* Called every so often while serving, by the main thread; NULL for none. */
    void (*background)(struct app *app);
    int background_interval_ms;
};

/*
 * The main function of every handler: serves its routes (process/process_serve.h), or prints them
 * when the one argument is --routes, which needs no configuration. Exit status: 70 (EX_SOFTWARE)
 * for a route that must not be served (route_problem), 64 for other arguments, else as
 * process_main.
 */
int handler_main(const struct handler *handler, int argc, char **argv);
