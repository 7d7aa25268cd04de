/*
 * A route, and a request to it from memory: what call_serve answers. Without a database, so nobody
 * can be found; who cannot be somebody is refused before.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../http/fake_transport.h"
#include "base/config.h"
#include "endpoint/call.h"

struct call_fixture {
    struct config config;
    struct app app;
    struct fake_transport fake;
    struct request request;
    struct response response;
};

/* The request: POST of the route's own path, until the test says otherwise. */
static inline void call_fixture_init(struct call_fixture *f, const char *path)
{
    *f = (struct call_fixture){
        .config = {.allowed_origins = "",
                   .db_init_secret = "",
                   .payments_return_url = "",
                   .yookassa_webhook_networks = "185.71.76.0/27"},
    };
    f->app = (struct app){.handler = "test", .config = &f->config};
    fake_init(&f->fake);
    f->fake.params[0] = (struct fake_param){"REQUEST_METHOD", "POST"};
    f->fake.params[1] = (struct fake_param){"DOCUMENT_URI", path};
    request_init(&f->request);
    response_init(&f->response);
}

static inline void call_fixture_done(struct call_fixture *f)
{
    request_done(&f->request);
    response_done(&f->response);
    fake_done(&f->fake);
}

static inline void call_fixture_param(struct call_fixture *f, const char *name, const char *value)
{
    size_t i = 0;
    while (f->fake.params[i].name && strcmp(f->fake.params[i].name, name) != 0)
        i++;
    f->fake.params[i] = (struct fake_param){name, value};
}

/* Serves the request, and returns the status of the answer. */
static inline int call_fixture_serve(struct call_fixture *f, const struct route *route)
{
    const struct router_entry entry = {
        .method = route->method, .path = route->path, .serve = call_serve, .context = route};
    const struct router_table table = {.name = "test", .entries = &entry, .entry_count = 1};
    struct router *router = router_new(&f->app, &table);
    assert_non_null(router);
    assert_true(router_serve(router, &f->fake.transport, &f->request, &f->response));
    router_free(router);
    return f->response.status;
}

static inline bool call_fixture_answered(const struct call_fixture *f, const char *part)
{
    return strstr(fake_sent(&f->fake), part) != NULL;
}
