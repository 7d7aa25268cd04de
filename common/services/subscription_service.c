#include "services/subscription_service.h"

#include <inttypes.h>
#include <stdio.h>

#include "observe/log.h"
#include "services/payment_provider.h"

enum { DESCRIPTION_SIZE = 96 };

static struct text describe(struct text plan, char buffer[static DESCRIPTION_SIZE])
{
    snprintf(buffer, DESCRIPTION_SIZE, "DreamLens: %.*s, 1 месяц", (int)plan.len, plan.data);
    return text_from(buffer);
}

/* Whether the request was made before: its payment is there, and what it began may be active. */
static enum error was_made(struct app *app, const struct uuid *user_id,
                           const struct operation *operation, bool *ret_made)
{
    struct payment_list list = {.count = 0};
    *ret_made = false;
    if (!operation->keyed)
        return ERROR_OK;
    enum error err = payment_repository_get(app->database, user_id, &operation->id, &list);
    if (!err)
        *ret_made = list.count > 0;
    payment_list_done(&list);
    return err;
}

/* One of the same plan goes on, or is resumed; ret_resumed. */
static enum error resume(struct app *app, const struct uuid *user_id, struct text plan,
                         bool *ret_resumed)
{
    struct subscription_list list = {.count = 0};
    enum error err = subscription_repository_current(app->database, user_id, &list);
    if (!err && list.count > 0 && text_equal(list.items[0].plan, plan)) {
        if (!list.items[0].cancel_at_period_end)
            err = ERROR_SUBSCRIPTION_ACTIVE;
        else
            err = subscription_repository_cancel(
                app->database,
                &(struct subscription_cancellation){
                    .user_id = *user_id, .only_id = &list.items[0].id, .cancel = false},
                ret_resumed);
    }
    subscription_list_done(&list);
    return err;
}

struct creation {
    struct payment_request request; /* without what depends on who the account is now */
    const struct operation_key *key;
    struct subscription_answer *answer; /* result */
};

static enum error create_once(struct app *app, const struct uuid *user_id, void *context)
{
    struct creation *creation = context;
    struct payment_request *request = &creation->request;
    struct subscription_answer *answer = creation->answer;
    struct uuid subscription_id = uuid_new();
    bool made;
    request->user_id = *user_id;
    request->operation = operation_make(creation->key, user_id);
    request->subscription_id = &subscription_id;
    enum error err = was_made(app, user_id, &request->operation, &made);
    if (!err && !made)
        err = resume(app, user_id, request->plan, &answer->resumed);
    return err || answer->resumed ? err : payment_service_open(app, request, &answer->payment);
}

enum error subscription_service_create(struct app *app, struct account *account,
                                       const struct subscription_order *order,
                                       struct subscription_answer *ret_answer)
{
    struct price price = {.rows = NULL};
    char description[DESCRIPTION_SIZE];
    bool found = false;
    *ret_answer = (struct subscription_answer){.resumed = false};
    if (!app->yookassa)
        return ERROR_PAYMENTS_NOT_CONFIGURED;
    enum error err = price_repository_find_plan(app->database, order->plan, &price, &found);
    if (err || !found)
        return err ? err : ERROR_INVALID_PARAMETER;
    struct creation creation = {
        .request =
            {
                .purpose = TEXT_LITERAL("subscription"),
                .plan = order->plan,
                .price = &price,
                .description = describe(order->plan, description),
                .return_url = order->return_url,
                .receipt_email = order->receipt_email,
            },
        .key = order->key,
        .answer = ret_answer,
    };
    err = account_service_retry(app, account, create_once, &creation);
    price_done(&price);
    return err;
}

enum error subscription_service_cancel(struct app *app, const struct account *account,
                                       struct subscription_list *ret_list)
{
    bool found = false;
    const struct subscription_cancellation wanted = {.user_id = account->user_id, .cancel = true};
    enum error err = subscription_repository_cancel(app->database, &wanted, &found);
    if (err || !found)
        return err ? err : ERROR_NOT_FOUND;
    err = subscription_repository_current(app->database, &account->user_id, ret_list);
    if (err || ret_list->count > 0)
        return err;
    subscription_list_done(ret_list);
    return ERROR_NOT_FOUND; /* the period ended this very moment */
}

enum error subscription_service_list(struct app *app, const struct account *account,
                                     struct subscription_list *ret_list)
{
    return subscription_repository_list(app->database, &account->user_id, SUBSCRIPTIONS_MAX,
                                        ret_list);
}

static struct operation renewal_of(const struct subscription *subscription)
{
    char id[UUID_TEXT_SIZE];
    char name[128];
    uuid_format(&subscription->id, id);
    int len = snprintf(name, sizeof(name), "renewal:%s:%" PRId64 ":%d", id,
                       subscription->current_period_end, (int)subscription->renewal_attempts);
    return (struct operation){.id = operation_derive((struct text){name, (size_t)len})};
}

static enum error renew_at(struct app *app, const struct subscription *subscription,
                           const struct price *price)
{
    char description[DESCRIPTION_SIZE];
    struct payment_answer answer;
    struct payment_request request = {
        .user_id = subscription->user_id,
        .operation = renewal_of(subscription),
        .purpose = TEXT_LITERAL("renewal"),
        .plan = subscription->plan,
        .price = price,
        .subscription_id = &subscription->id,
        .description = describe(subscription->plan, description),
        .payment_method_id = subscription->payment_method_id,
    };
    enum error err = payment_service_open(app, &request, &answer);
    if (err == ERROR_IDEMPOTENCY_IN_PROGRESS)
        return ERROR_OK; /* another reconciler, or the payment's own next look */
    if (err == ERROR_USER_NOT_FOUND)
        return ERROR_OK; /* cancelled, or moved to another account, this very moment */
    return err;
}

enum error subscription_service_renew(struct app *app, const struct subscription *subscription)
{
    struct price price = {.rows = NULL};
    bool found = false;
    enum error err = price_repository_find_plan(app->database, subscription->plan, &price, &found);
    if (err)
        return err;
    err = found ? renew_at(app, subscription, &price) : ERROR_NOT_FOUND;
    if (found)
        price_done(&price);
    if (err != ERROR_NOT_FOUND && err != ERROR_INVALID_FIELD)
        return err;
    log_event(app->log, LOG_ERROR, "a subscription cannot be renewed and ends",
              LOG_STRING("cause", found ? "no address for the receipt" : "plan is not sold"),
              LOG_TEXT("plan", subscription->plan));
    /* By its id: the person may have begun another one meanwhile. */
    const struct subscription_cancellation wanted = {
        .user_id = subscription->user_id, .only_id = &subscription->id, .cancel = true};
    return subscription_repository_cancel(app->database, &wanted, &found);
}
