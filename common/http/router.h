/*
 * From a path and a method to a function. A program is a table of entries; everything each of them
 * needs (404, 405 with Allow, CORS, body cap, failure answers, metrics, one log line for a failure)
 * happens here. What an entry asks of its caller is not known here (endpoint/route.h).
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
    const struct router_entry *entry; /* NULL when none matched */
    int64_t start_us;
    bool body_read;
};

/*
 * Serves a request whose entry was found and whose body was read: builds the answer in
 * exchange->response and calls router_answer, once, before it returns or later, in this thread or
 * another. From that call on nothing of the exchange may be used. A thread that returns before the
 * answer goes on with the next request.
 */
typedef void router_function(struct app *app, struct exchange *exchange);

struct router_entry {
    const char *method; /* "GET" answers HEAD as well */
    const char *path;   /* exact, or with one "{id}": a whole segment, in request->id */
    size_t body_max;    /* bytes; 0 means BODY_BYTES_MAX */
    router_function *serve;
    const void *context; /* serve's own, in exchange->entry */
};

struct router_table {
    const char *name; /* of the program, in metrics */
    const struct router_entry *entries;
    size_t entry_count;
};

struct router; /* a table with its metrics; thread-safe */

/* app and table: kept by pointer. NULL: memory is out. */
struct router *router_new(struct app *app, const struct router_table *table);
void router_free(struct router *router);

/* Serves a request; its exchange has ended when this returns, or ends later. */
void router_begin(struct exchange *exchange);

/* Ends what a router_function began: sends the answer that was built, or that of the failure err.
 */
void router_answer(struct exchange *exchange, enum error err);

/*
 * Serves one request from its transport to the last byte of the answer, whatever its entry is, and
 * waits for that. Returns false when the connection must not be kept (its body was not read to the
 * end, or the answer did not go out).
 */
bool router_serve(struct router *router, const struct transport *transport, struct request *request,
                  struct response *response);
