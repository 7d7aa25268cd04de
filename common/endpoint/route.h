/*
 * What a handler's routes declare: who may call, and what is read from the request before run is
 * called (endpoint/call.h). One row is one endpoint:
 *
 *     {"POST", "/api/usage", .access = ACCESS_ACCOUNT, .idempotent = true, .body = true,
 *      .run = record_usage},
 *
 * What a row says holds in this order, and the first that fails is the answer: access (401, 403),
 * payments (503), idempotent (400), id (404 or 400), body (400).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "services/service_key_service.h"

struct call;

/*
 * Who may call. A row that does not say so stops the handler from starting. Of a service key, the
 * scope is part of it: ACCESS_SERVICE_SPEND and so on, one for each of SERVICE_SCOPE_TABLE.
 */
enum access {
    ACCESS_UNDECLARED,
    ACCESS_PUBLIC,
    /* A device or a Clerk account, which is opened by its first request, in call->account. A device
     * that comes along with a Clerk account (X-Device-Id) is linked to it. */
    ACCESS_ACCOUNT,
    /* The same, and not a device that is linked to a Clerk account and comes without the session:
     * for what shows or changes the person (403 sign_in_required). */
    ACCESS_PERSON,
    /* A Clerk account alone; what comes along is not linked, for the route that links. */
    ACCESS_CLERK,
    ACCESS_INIT_SECRET, /* who knows DB_INIT_SECRET */
    ACCESS_PROVIDER,    /* the networks of the payment provider: YOOKASSA_WEBHOOK_NETWORKS */
    ACCESS_LOOPBACK,    /* this host */
/* Another back-end service whose key has the scope, in call->service. */
#define ACCESS_SERVICE_ENUM(name, word) ACCESS_SERVICE_##name,
    SERVICE_SCOPE_TABLE(ACCESS_SERVICE_ENUM)
#undef ACCESS_SERVICE_ENUM
        ACCESS_COUNT,
};

/* What {id} of the path names, in call->user_id and call->id. */
enum route_id {
    ROUTE_ID_NONE,
    ROUTE_ID_PUBLIC, /* a public id (base/public_id.h); 404 when it is not of that form */
    ROUTE_ID_UUID,   /* in call->id; 400 */
    ROUTE_ID_USER,   /* a uuid, in call->user_id; 404 user_not_found */
};

/*
 * Runs a call: builds the answer in call->response and returns ERROR_OK, or returns the failure
 * that is to be answered.
 */
typedef enum error call_function(struct call *call);

/*
 * Begins a call whose answer comes when something else is done; the thread goes on with the next
 * request. call_answer is called once, before the return or after it, by this thread or another;
 * from then on nothing of the call may be used.
 */
typedef void call_start_function(struct call *call);

struct route {
    const char *method; /* "GET" answers HEAD as well */
    const char *path;   /* exact, or with one "{id}": a whole segment */
    enum access access;
    bool payments;    /* a payment provider has to be configured */
    bool idempotent;  /* takes Idempotency-Key, in call->key */
    enum route_id id; /* declared where the path has {id} */
    bool body;        /* a JSON object, in call->body */
    size_t body_max;  /* bytes; 0 means BODY_BYTES_MAX */
    /* Cache-Control of the answer, a constant. NULL: no-store where the answer depends on who
     * calls, else none. */
    const char *cache_control;
    call_function *run;
    call_start_function *start; /* instead of run */
};

/* What is wrong with a row, a sentence without its subject; NULL when nothing is. */
const char *route_problem(const struct route *route);

/* Whether the answer depends on who calls. */
bool route_is_personal(const struct route *route);

/* Prints a row for a person, and for the test that compares it with openapi.yaml. */
void route_print(const struct route *route);
