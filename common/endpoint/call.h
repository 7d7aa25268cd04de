/*
 * One request on its way through an endpoint: what its route declared is resolved when run is
 * called (endpoint/route.h). Used by one thread at a time.
 */
#pragma once

#include "endpoint/route.h"
#include "http/body.h"
#include "http/router.h"
#include "services/account_service.h"
#include "base/operation.h"

struct call {
    struct app *app;
    struct request *request;
    struct response *response;
    const struct route *route;
    struct account account;        /* of ACCESS_ACCOUNT, _PERSON, _CLERK */
    struct service_caller service; /* of ACCESS_SERVICE_... */
    struct operation_key key;      /* of .idempotent; key.key is absent without the header */
    struct uuid user_id;           /* of .id */
    struct uuid id;                /* of .id */
    struct body *body;             /* of .body; the call's own, until it is answered */
    struct exchange *exchange;     /* behind request and response */
};

/* Serves the route that is the context of the exchange's entry: a router_function. */
void call_serve(struct app *app, struct exchange *exchange);

/* Answers a call that a route's start began, as a call_function does by returning. Frees it. */
void call_answer(struct call *call, enum error err);
