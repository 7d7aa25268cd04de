#include "endpoint/caller.h"

#include "services/link_service.h"

enum error caller_resolve_only(struct app *app, const struct request *request,
                               struct account *ret_account)
{
    struct identity identity;
    enum error err = request_identity(request, app, &identity);
    if (err)
        return err;
    return account_service_resolve(app, &identity, ret_account);
}

enum error caller_resolve(struct app *app, const struct request *request,
                          struct account *ret_account)
{
    struct identity device;
    enum error err = caller_resolve_only(app, request, ret_account);
    if (err || ret_account->identity.kind != IDENTITY_CLERK ||
        identity_from_device(request_param(request, "HTTP_X_DEVICE_ID"), &device))
        return err;
    return link_service_link_quietly(app, ret_account, &device);
}
