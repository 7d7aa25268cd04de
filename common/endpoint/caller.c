#include "endpoint/caller.h"

#include "base/config.h"
#include "base/networks.h"
#include "observe/log.h"
#include "services/link_service.h"

static enum error resolve_account(struct call *call)
{
    struct identity identity;
    struct identity device;
    call->account.client_address = call->request->client_address;
    enum error err = request_identity(call->request, call->app, &identity);
    if (!err && call->route->access == ACCESS_CLERK && identity.kind != IDENTITY_CLERK)
        err = ERROR_UNAUTHORIZED;
    if (!err)
        err = account_service_resolve(call->app, &identity, &call->account);
    if (err || call->route->access == ACCESS_CLERK || identity.kind != IDENTITY_CLERK ||
        identity_from_device(request_param(call->request, "HTTP_X_DEVICE_ID"), &device))
        return err;
    return link_service_link_quietly(call->app, &call->account, &device);
}

static enum error resolve_person(struct call *call)
{
    bool needs_sign_in = false;
    enum error err = resolve_account(call);
    if (!err)
        err = account_service_needs_sign_in(call->app, &call->account, &needs_sign_in);
    return !err && needs_sign_in ? ERROR_SIGN_IN_REQUIRED : err;
}

static enum error resolve_service(struct call *call)
{
    struct text key;
    enum service_scope scope =
        (enum service_scope)((int)call->route->access - (int)ACCESS_SERVICE_SPEND);
    enum error err = request_service_key(call->request, &key);
    if (!err)
        err = service_key_service_identify(call->app, key, &call->service);
    if (!err && !service_key_service_allows(&call->service, scope))
        err = ERROR_FORBIDDEN;
    return err;
}

/* The secret is compared even when it is absent, so that time tells nothing. */
static enum error check_init_secret(const struct call *call)
{
    char buffer[512];
    struct text given;
    struct text secret = text_from(call->app->config->db_init_secret);
    if (secret.len == 0)
        return ERROR_NOT_CONFIGURED;
    enum error err = request_query(call->request,
                                   &(struct query_field){"secret", buffer, sizeof(buffer)}, &given);
    if (err || !given.data)
        given = request_param(call->request, "HTTP_X_DB_INIT_SECRET");
    return text_equal_secret(given.data ? given : TEXT_LITERAL(""), secret) ? ERROR_OK
                                                                            : ERROR_UNAUTHORIZED;
}

/* nginx asks the same; this holds whatever stands in front. */
static enum error check_provider(const struct call *call)
{
    struct text address = call->request->client_address;
    if (networks_contain(text_from(call->app->config->yookassa_webhook_networks), address))
        return ERROR_OK;
    log_event(call->app->log, LOG_WARNING, "notification from a foreign address",
              LOG_TEXT("address", address));
    return ERROR_FORBIDDEN;
}

/* nginx asks the same. Without an address the request came by the socket or the command line. */
static enum error check_loopback(const struct call *call)
{
    struct text address = call->request->client_address;
    return address.len == 0 || networks_contain(TEXT_LITERAL("127.0.0.0/8,::1"), address)
               ? ERROR_OK
               : ERROR_FORBIDDEN;
}

enum error caller_resolve(struct call *call)
{
    switch (call->route->access) {
    case ACCESS_UNDECLARED:
    case ACCESS_COUNT:
        return ERROR_INTERNAL;
    case ACCESS_PUBLIC:
        return ERROR_OK;
    case ACCESS_ACCOUNT:
    case ACCESS_CLERK:
        return resolve_account(call);
    case ACCESS_PERSON:
        return resolve_person(call);
    case ACCESS_INIT_SECRET:
        return check_init_secret(call);
    case ACCESS_PROVIDER:
        return check_provider(call);
    case ACCESS_LOOPBACK:
        return check_loopback(call);
#define ACCESS_SERVICE_CASE(name, word) case ACCESS_SERVICE_##name:
        SERVICE_SCOPE_TABLE(ACCESS_SERVICE_CASE)
#undef ACCESS_SERVICE_CASE
        return resolve_service(call);
    }
    return ERROR_INTERNAL;
}
