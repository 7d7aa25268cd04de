#include "endpoint/handler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "process/process_main.h"
#include "process/process_serve.h"

/* What a router knows of the routes. NULL: memory is out. */
static struct router_entry *make_entries(const struct handler *handler)
{
    struct router_entry *entries = calloc(handler->route_count, sizeof(*entries));
    for (size_t i = 0; entries && i < handler->route_count; i++) {
        const struct route *route = &handler->routes[i];
        entries[i] = (struct router_entry){
            .method = route->method,
            .path = route->path,
            .body_max = route->body_max,
            .serve = call_serve,
            .context = route,
        };
    }
    return entries;
}

static int run(struct app *app, const void *context)
{
    const struct handler *handler = context;
    int status = EXIT_FAILURE;
    struct router_entry *entries = make_entries(handler);
    struct router_table table = {
        .name = handler->name,
        .entries = entries,
        .entry_count = handler->route_count,
    };
    struct process_service service = {
        .router = entries ? router_new(app, &table) : NULL,
        .background = handler->background,
        .background_interval_ms = handler->background_interval_ms,
    };
    if (service.router)
        status = process_serve(app, &service);
    router_free(service.router);
    free(entries);
    return status;
}

static bool check_routes(const struct handler *handler)
{
    bool good = true;
    for (size_t i = 0; i < handler->route_count; i++) {
        const struct route *route = &handler->routes[i];
        const char *problem = route_problem(route);
        if (problem)
            fprintf(stderr, "%s: %s %s %s\n", handler->name, route->method, route->path, problem);
        good = good && !problem;
    }
    return good;
}

int handler_main(const struct handler *handler, int argc, char **argv)
{
    const struct program program = {
        .name = handler->name, .needs = handler->needs, .run = run, .context = handler};
    if (!check_routes(handler))
        return EX_SOFTWARE;
    if (argc <= 1)
        return process_main(&program);
    if (argc != 2 || strcmp(argv[1], "--routes") != 0) {
        fprintf(stderr, "%s: expected no argument, or --routes\n", handler->name);
        return EX_USAGE;
    }
    for (size_t i = 0; i < handler->route_count; i++)
        route_print(&handler->routes[i]);
    return EXIT_SUCCESS;
}
