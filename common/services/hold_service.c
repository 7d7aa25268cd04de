#include "services/hold_service.h"

#include "repositories/ledger_repository.h"
#include "services/ledger_service.h"

enum error hold_service_get(struct app *app, const struct uuid *user_id, const struct uuid *id,
                            struct hold_list *ret_list)
{
    enum error err = hold_repository_get(app->database, user_id, id, ret_list);
    if (err || ret_list->count > 0)
        return err;
    hold_list_done(ret_list);
    return ERROR_NOT_FOUND;
}

/* After no row: the holds of the account that this one was linked to, if there is such an account.
 */
static enum error follow(struct app *app, const struct uuid *user_id,
                         const struct hold_filter *filter, struct hold_list *ret_list)
{
    struct ledger_account account;
    struct uuid target;
    bool moved = false;
    enum error err = ledger_repository_merged_into(app->database, user_id, &target, &moved);
    if (err)
        return err;
    return moved ? hold_repository_list(app->database, &target, filter, ret_list)
                 : ledger_service_account(app, user_id, NULL, &account);
}

enum error hold_service_list(struct app *app, const struct uuid *user_id,
                             const struct hold_filter *filter, struct hold_list *ret_list)
{
    enum error err = hold_repository_list(app->database, user_id, filter, ret_list);
    if (err || ret_list->count > 0)
        return err;
    hold_list_done(ret_list);
    return follow(app, user_id, filter, ret_list);
}
