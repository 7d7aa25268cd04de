#include "services/subscription_service.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/limits.h"
#include "cache/cache.h"
#include "observe/log.h"
#include "services/cache_keys.h"
#include "services/payment_provider.h"
#include "services/payment_rules.h"

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

/* Clears a cancellation; ret_resumed false: it has ended this very moment. */
static enum error resume(struct app *app, const struct subscription *current, bool *ret_resumed)
{
    const struct subscription_cancellation wanted = {
        .user_id = current->user_id, .only_id = &current->id, .cancel = false};
    struct subscription_list list = {.count = 0};
    enum error err = subscription_repository_cancel(app->database, &wanted, &list);
    if (!err)
        *ret_resumed = list.count > 0;
    subscription_list_done(&list);
    return err;
}

/* ret_resumed false, and no error: a month is to be paid. */
static enum error look_at_current(struct app *app, const struct payment_request *request,
                                  bool *ret_resumed)
{
    const struct month_order order = {.plan = request->plan, .renews = request->renews};
    struct subscription_list list = {.count = 0};
    enum error err = subscription_repository_current(app->database, &request->user_id, &list);
    const struct subscription *current = !err && list.count > 0 ? &list.items[0] : NULL;
    enum month month = payment_rules_month(current, &order, clock_unix_us());
    if (!err && month == MONTH_REFUSE)
        err = ERROR_SUBSCRIPTION_ACTIVE;
    if (!err && month == MONTH_RESUME)
        err = resume(app, current, ret_resumed);
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
        err = look_at_current(app, request, &answer->resumed);
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
                .renews = order->renews,
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
    const struct subscription_cancellation wanted = {.user_id = account->user_id, .cancel = true};
    struct cache_key cached = cache_keys_balance(&account->user_id);
    struct cache_write write;
    /* The plan ends with it when the period is over. */
    cache_write_begin(app->cache, &cached, &write);
    enum error err = subscription_repository_cancel(app->database, &wanted, ret_list);
    cache_write_end(app->cache, &write);
    if (err || ret_list->count > 0)
        return err;
    subscription_list_done(ret_list);
    return ERROR_NOT_FOUND;
}

static enum error end_at(struct app *app, const struct row_key *key,
                         struct subscription_list *ret_list)
{
    struct cache_key cached = cache_keys_balance(&key->user_id);
    struct cache_write write;
    cache_write_begin(app->cache, &cached, &write);
    enum error err = subscription_repository_end(app->database, key, ret_list);
    cache_write_end(app->cache, &write);
    return err;
}

enum error subscription_service_end(struct app *app, const struct row_key *known,
                                    struct subscription_list *ret_list)
{
    /* Between looking and ending the account may be linked to another, and it with it. */
    for (int i = 0; i <= REOPENS_MAX; i++) {
        struct row_key key;
        bool found = false;
        enum error err = subscription_repository_locate(app->database, known, &key, &found);
        if (!err && !found)
            err = ERROR_NOT_FOUND;
        if (!err)
            err = end_at(app, &key, ret_list);
        if (err || ret_list->count > 0)
            return err;
        subscription_list_done(ret_list);
    }
    return ERROR_OVERLOADED;
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
        .renews = true,
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

/* It ends with the period that is over: by its id, for the person may have begun another one. */
static enum error end_unrenewable(struct app *app, const struct subscription *subscription)
{
    const struct subscription_cancellation wanted = {
        .user_id = subscription->user_id, .only_id = &subscription->id, .cancel = true};
    struct subscription_list list = {.count = 0};
    enum error err = subscription_repository_cancel(app->database, &wanted, &list);
    subscription_list_done(&list);
    return err;
}

static void report_late(struct app *app, const struct subscription *subscription)
{
    char id[UUID_TEXT_SIZE];
    uuid_format(&subscription->id, id);
    payment_provider_difference(app, TEXT_LITERAL("renewal_late"), text_from(id));
}

enum error subscription_service_renew(struct app *app, const struct subscription *subscription)
{
    struct price price = {.rows = NULL};
    bool found = false;
    if (subscription->late)
        report_late(app, subscription);
    if (!app->yookassa || !text_equal(subscription->status, TEXT_LITERAL("active")))
        return ERROR_OK;
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
    return end_unrenewable(app, subscription);
}
