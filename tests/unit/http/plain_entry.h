/* Entries of a router for tests: a function that builds the answer and returns how it went. */
#pragma once

#include "http/router.h"

typedef enum error plain_function(struct app *app, struct request *request,
                                  struct response *response);

struct plain {
    plain_function *run;
};

static inline void serve_plain(struct app *app, struct exchange *exchange)
{
    const struct plain *plain = exchange->entry->context;
    router_answer(exchange, plain->run(app, exchange->request, exchange->response));
}

/* Members of an entry that is served by one. */
#define PLAIN(function)                                    \
    .serve = serve_plain, .context = &(const struct plain) \
    {                                                      \
        function                                           \
    }
