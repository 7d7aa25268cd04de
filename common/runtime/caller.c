#include "runtime/caller.h"

enum error caller_resolve(struct app *app, const struct request *request,
                          struct account *ret_account)
{
    struct identity identity;
    enum error err = request_identity(request, &identity);
    if (err)
        return err;
    return account_service_resolve(app, &identity, ret_account);
}
