#include "endpoint/route.h"

#include <stdio.h>
#include <string.h>

static const char *const ACCESS_NAMES[ACCESS_COUNT] = {[ACCESS_UNDECLARED] = "undeclared",
                                                       [ACCESS_PUBLIC] = "public",
                                                       [ACCESS_ACCOUNT] = "account",
                                                       [ACCESS_PERSON] = "person",
                                                       [ACCESS_CLERK] = "clerk",
                                                       [ACCESS_INIT_SECRET] = "init-secret",
                                                       [ACCESS_PROVIDER] = "provider",
                                                       [ACCESS_LOOPBACK] = "loopback",
#define ACCESS_SERVICE_NAME(name, word) [ACCESS_SERVICE_##name] = "service:" word,
                                                       SERVICE_SCOPE_TABLE(ACCESS_SERVICE_NAME)
#undef ACCESS_SERVICE_NAME
};

/* Somebody to whom a key can belong. */
static bool has_caller(enum access access)
{
    return access == ACCESS_ACCOUNT || access == ACCESS_PERSON || access == ACCESS_CLERK ||
           access >= ACCESS_SERVICE_SPEND;
}

const char *route_problem(const struct route *route)
{
    if (route->access <= ACCESS_UNDECLARED || route->access >= ACCESS_COUNT)
        return "declares no access";
    if (!route->run == !route->start)
        return "needs either run or start";
    if ((strstr(route->path, "{id}") != NULL) != (route->id != ROUTE_ID_NONE))
        return "declares an id where its path has none, or none where it has one";
    if (route->idempotent && !has_caller(route->access))
        return "takes an Idempotency-Key, which would be nobody's";
    return NULL;
}

bool route_is_personal(const struct route *route)
{
    return route->access != ACCESS_PUBLIC && route->access != ACCESS_PROVIDER &&
           route->access != ACCESS_LOOPBACK;
}

void route_print(const struct route *route)
{
    printf("%-6s %-42s %s%s%s%s\n", route->method, route->path, ACCESS_NAMES[route->access],
           route->idempotent ? " key" : "", route->body ? " body" : "",
           route->payments ? " payments" : "");
}
