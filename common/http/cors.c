#include "http/cors.h"

#include "auth/origin.h"
#include "base/limits.h"

/* Copies the request's origin when it is listed. */
static bool listed_origin(const char *allowed_origins, const struct request *request,
                          char origin[static HEADER_BYTES_MAX])
{
    struct text wanted = request_param(request, "HTTP_ORIGIN");
    return origin_is_listed(allowed_origins, wanted) && text_copy(wanted, origin, HEADER_BYTES_MAX);
}

void cors_apply(const char *allowed_origins, const struct request *request,
                struct response *response)
{
    char origin[HEADER_BYTES_MAX];
    if (!allowed_origins[0])
        return;
    response_header(response, "Vary", "Origin");
    if (!listed_origin(allowed_origins, request, origin))
        return;
    response_header(response, "Access-Control-Allow-Origin", origin);
    response_header(response, "Access-Control-Allow-Credentials", "true");
    response_header(response, "Access-Control-Expose-Headers",
                    "Content-Disposition, Idempotency-Replayed, RateLimit, RateLimit-Limit, "
                    "RateLimit-Policy, RateLimit-Remaining, RateLimit-Reset, Retry-After, "
                    "WWW-Authenticate, X-Request-Id");
}

void cors_preflight(const char *allowed_origins, const struct request *request, const char *methods,
                    struct response *response)
{
    char origin[HEADER_BYTES_MAX];
    response_header(response, "Allow", methods);
    if (listed_origin(allowed_origins, request, origin)) {
        response_header(response, "Access-Control-Allow-Methods", methods);
        response_header(response, "Access-Control-Allow-Headers",
                        "Authorization, Cache-Control, Content-Type, Idempotency-Key, Prefer, "
                        "X-Device-Id, baggage, sentry-trace, traceparent, tracestate");
        response_header(response, "Access-Control-Max-Age", "86400");
    }
    response_empty(response, 204);
}
