#include "endpoint/call.h"

#include <stdlib.h>

#include "base/public_id.h"
#include "endpoint/caller.h"
#include "endpoint/idempotency.h"

static enum error read_id(struct call *call)
{
    struct text id = call->request->id;
    switch (call->route->id) {
    case ROUTE_ID_NONE:
        break;
    case ROUTE_ID_PUBLIC:
        return public_id_parse(id, &call->user_id, &call->id) ? ERROR_OK : ERROR_NOT_FOUND;
    case ROUTE_ID_UUID:
        return uuid_parse(id, &call->id) ? ERROR_OK
                                         : response_invalid(call->response, ERROR_INVALID_PARAMETER,
                                                            "id", "expected a uuid");
    case ROUTE_ID_USER:
        return uuid_parse(id, &call->user_id) ? ERROR_OK : ERROR_USER_NOT_FOUND;
    }
    return ERROR_OK;
}

/* In the order that endpoint/route.h promises. */
static enum error resolve(struct call *call)
{
    const struct route *route = call->route;
    enum error err = caller_resolve(call);
    if (!err && route->payments && !call->app->yookassa)
        err = ERROR_PAYMENTS_NOT_CONFIGURED;
    if (!err && route->idempotent)
        err = idempotency_read(call, &call->key);
    if (!err)
        err = read_id(call);
    if (!err && route->body)
        err = body_parse(call->request, call->response, &call->body);
    return err;
}

/* RFC 9110, section 11.6.1. None of these makes a browser ask for a password. */
static const char *challenge_of(enum access access)
{
    if (access == ACCESS_ACCOUNT || access == ACCESS_PERSON)
        return "Bearer realm=\"DreamLens\", Device realm=\"DreamLens\"";
    if (access == ACCESS_CLERK)
        return "Bearer realm=\"DreamLens\"";
    if (access == ACCESS_INIT_SECRET)
        return "Secret realm=\"DreamLens\"";
    return access >= ACCESS_SERVICE_SPEND ? "Service realm=\"DreamLens\"" : NULL;
}

static void init(struct call *call, struct app *app, struct exchange *exchange)
{
    const struct route *route = exchange->entry->context;
    *call = (struct call){
        .app = app,
        .request = exchange->request,
        .response = exchange->response,
        .route = route,
        .exchange = exchange,
    };
    call->response->challenge = challenge_of(route->access);
    call->response->cache_control = route->cache_control       ? route->cache_control
                                    : route_is_personal(route) ? "no-store"
                                                               : NULL;
}

static void run(struct app *app, struct exchange *exchange)
{
    struct call call;
    init(&call, app, exchange);
    enum error err = resolve(&call);
    if (!err)
        err = call.route->run(&call);
    body_free(call.body);
    router_answer(exchange, err);
}

static void start(struct app *app, struct exchange *exchange)
{
    struct call *call = malloc(sizeof(*call));
    if (!call) {
        router_answer(exchange, ERROR_NO_MEMORY);
        return;
    }
    init(call, app, exchange);
    enum error err = resolve(call);
    if (err)
        call_answer(call, err);
    else
        call->route->start(call);
}

void call_serve(struct app *app, struct exchange *exchange)
{
    const struct route *route = exchange->entry->context;
    if (route->start)
        start(app, exchange);
    else
        run(app, exchange);
}

void call_answer(struct call *call, enum error err)
{
    struct exchange *exchange = call->exchange;
    body_free(call->body);
    free(call);
    router_answer(exchange, err);
}
