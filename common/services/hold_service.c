#include "services/hold_service.h"

#include "services/ledger_service.h"

enum error hold_service_get(struct app *app, const struct uuid *user_id, const struct uuid *id,
                            struct hold_list *ret_list)
{
    enum error err = hold_repository_get(app->database, user_id, id, ret_list);
    return !err && ret_list->count == 0 ? ERROR_NOT_FOUND : err;
}

enum error hold_service_list(struct app *app, const struct uuid *user_id,
                             const struct hold_filter *filter, struct hold_list *ret_list)
{
    struct ledger_account account;
    enum error err = hold_repository_list(app->database, user_id, filter, ret_list);
    /* No row: there may be no such account. */
    if (!err && ret_list->count == 0)
        err = ledger_service_account(app, user_id, NULL, &account);
    return err;
}
