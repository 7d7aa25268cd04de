/*
 * Cross-origin requests (fetch.spec.whatwg.org, "CORS protocol"). An origin of ALLOWED_ORIGINS gets
 * the headers; any other is served without them, and same-origin requests need none.
 */
#pragma once

#include "http/request.h"
#include "http/response.h"

/* Adds the headers that every answer to a listed origin carries. */
void cors_apply(const char *allowed_origins, const struct request *request,
                struct response *response);

/* The answer to OPTIONS: 204, and for a listed origin what it may send. methods: comma list. */
void cors_preflight(const char *allowed_origins, const struct request *request, const char *methods,
                    struct response *response);
