/*
 * From a path and a method to a function. A handler is a table of routes; everything every endpoint
 * needs (404, 405 with Allow, CORS, body cap, failure answers, metrics, one log line for a failure)
 * happens here, so that a route's function is about its endpoint only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/app.h"
#include "base/error.h"
#include "base/limits.h"
#include "http/request.h"
#include "http/response.h"

/*
 * Runs one request. Builds the answer in response and returns ERROR_OK, or returns the failure that
 * is to be answered.
 */
typedef enum error route_function(struct app *app, struct request *request,
                                  struct response *response);

/*
 * A request on its way, from its transport to the last byte of the answer. The caller of
 * router_begin fills in the first part.
 */
struct exchange {
    struct router *router;
    const struct transport *transport;
    struct request *request;
    struct response *response;
    /*
     * Called once, when the answer went out, perhaps by another thread. keep: as router_serve
     * returns it. The exchange and all it points to are the caller's again.
     */
    void (*ended)(struct exchange *exchange, bool keep);

    /* The router's. */
    const struct route *route;
    int64_t start_us;
    bool body_read;
};

/*
 * Begins a request whose answer comes when something else is done; the thread goes on with the next
 * request. router_answer is called once, before the return or after it, by this thread or another;
 * from then on nothing of the exchange may be used.
 */
typedef void route_start(struct app *app, struct exchange *exchange);

struct route {
    const char *method; /* "GET" answers HEAD as well */
    const char *path;   /* exact, or with one "{id}": a whole segment, in request->id */
    route_function *run;
    size_t body_max;    /* bytes; 0 means BODY_BYTES_MAX */
    route_start *start; /* instead of run; NULL with one */
};

struct handler {
    const char *name; /* of the executable */
    const struct route *routes;
    size_t route_count;
    /* Called every so often while serving, by the main thread; NULL for none. */
    void (*background)(struct app *app);
    int background_interval_ms;
};

struct router; /* a handler's routes with their metrics; thread-safe */

/* app and handler: kept by pointer. NULL: memory is out. */
struct router *router_new(struct app *app, const struct handler *handler);
void router_free(struct router *router);

/* Serves a request; its exchange has ended when this returns, or ends later. */
void router_begin(struct exchange *exchange);

/* Answers what route_start began, as route_function does by returning. */
void router_answer(struct exchange *exchange, enum error err);

/*
 * Serves one request from its transport to the last byte of the answer, whatever its route is, and
 * waits for that. Returns false when the connection must not be kept (its body was not read to the
 * end, or the answer did not go out).
 */
bool router_serve(struct router *router, const struct transport *transport, struct request *request,
                  struct response *response);
