/* /api/subscriptions: plans by the month. */
#include "base/public_id.h"
#include "endpoint/handler.h"
#include "endpoint/idempotency.h"
#include "endpoint/payment_form.h"
#include "services/payment_rules.h"
#include "services/subscription_service.h"

enum { PLAN_BYTES_MAX = 20 }; /* plans.name */

static void write_optional_time(struct json_writer *json, const char *name, bool there,
                                int64_t value)
{
    if (there)
        json_member_time(json, name, value);
    else
        json_member_null(json, name);
}

static void write_subscription(struct json_writer *json, const struct subscription *subscription)
{
    char id[PUBLIC_ID_SIZE];
    bool past_due = payment_rules_past_due(subscription);
    public_id_format(&subscription->user_id, &subscription->id, id);
    json_begin_object(json);
    json_member_string(json, "id", id);
    json_member_text(json, "plan", subscription->plan);
    json_member_text(json, "status", payment_rules_state(subscription));
    write_optional_time(json, "periodStart", subscription->has_current_period_start,
                        subscription->current_period_start);
    write_optional_time(json, "periodEnd", subscription->has_current_period_end,
                        subscription->current_period_end);
    json_member_boolean(json, "cancelAtPeriodEnd", subscription->cancel_at_period_end);
    json_member_boolean(json, "renews", payment_rules_renews(subscription));
    write_optional_time(json, "nextAttemptAt", past_due && subscription->has_next_check_at,
                        subscription->next_check_at);
    write_optional_time(json, "graceEndsAt", past_due, subscription->grace_until);
    json_member_time(json, "createdAt", subscription->created_at);
    json_end_object(json);
}

static enum error list_subscriptions(struct call *call)
{
    struct subscription_list list = {.count = 0};
    enum error err = subscription_service_list(call->app, &call->account, &list);
    if (err)
        return err;
    struct json_writer *json = response_data(call->response, 200);
    json_key(json, "subscriptions");
    json_begin_array(json);
    for (size_t i = 0; i < list.count; i++)
        write_subscription(json, &list.items[i]);
    json_end_array(json);
    response_data_end(call->response);
    subscription_list_done(&list);
    return ERROR_OK;
}

/* ret_order borrows url. */
static enum error read_order(const struct call *call, struct web_url *url,
                             struct subscription_order *ret_order)
{
    static const struct body_text_rule PLAN = {
        .name = "plan", .required = true, .bytes_max = PLAN_BYTES_MAX};
    enum error err = body_text(call->body, &PLAN, &ret_order->plan);
    ret_order->renews = true;
    if (!err)
        err = body_boolean(call->body, "renews", &ret_order->renews);
    if (!err)
        err = payment_form_return_url(call, url, &ret_order->return_url);
    if (!err)
        err = payment_form_receipt_email(call, &ret_order->receipt_email);
    return err;
}

static void write_resumed(struct response *response)
{
    struct json_writer *json = response_data(response, 200);
    json_member_null(json, "paymentId");
    json_member_null(json, "confirmationUrl");
    json_member_string(json, "status", "active");
    response_data_end(response);
}

static enum error create_failure(struct response *response, enum error err)
{
    if (err == ERROR_INVALID_PARAMETER)
        return response_invalid(response, ERROR_INVALID_FIELD, "plan",
                                "expected a plan that is sold, such as pro or premium");
    return payment_form_failure(response, err);
}

static enum error create(struct call *call)
{
    struct subscription_order order;
    struct subscription_answer answer;
    struct web_url url;
    enum error err = read_order(call, &url, &order);
    if (err)
        return err;
    order.key = &call->key;
    err = subscription_service_create(call->app, &call->account, &order, &answer);
    if (err)
        return create_failure(call->response, err);
    if (answer.resumed)
        write_resumed(call->response);
    else
        payment_form_answer(call->response, &answer.payment, &answer.payment.credit_days);
    return ERROR_OK;
}

static void write_one(struct response *response, struct subscription_list *list)
{
    struct json_writer *json = response_data(response, 200);
    json_key(json, "subscription");
    write_subscription(json, &list->items[0]);
    response_data_end(response);
    subscription_list_done(list);
}

static enum error cancel(struct call *call)
{
    struct subscription_list list = {.count = 0};
    enum error err = subscription_service_cancel(call->app, &call->account, &list);
    if (!err)
        write_one(call->response, &list);
    return err;
}

static enum error end(struct call *call)
{
    const struct row_key known = {.user_id = call->user_id, .id = call->id};
    struct subscription_list list = {.count = 0};
    enum error err = subscription_service_end(call->app, &known, &list);
    if (!err)
        write_one(call->response, &list);
    return err;
}

int main(int argc, char **argv)
{
    static const struct route ROUTES[] = {
        {"GET", "/api/subscriptions", .access = ACCESS_PERSON, .run = list_subscriptions},
        {"POST", "/api/subscriptions", .access = ACCESS_PERSON, .payments = true,
         .idempotent = true, .body = true, .run = create},
        {"DELETE", "/api/subscriptions", .access = ACCESS_PERSON, .run = cancel},
        {"DELETE", "/api/subscriptions/{id}", .access = ACCESS_SERVICE_REFUND,
         .id = ROUTE_ID_PUBLIC, .run = end},
    };
    static const struct handler HANDLER = {
        .name = "subscriptions",
        .routes = ROUTES,
        .route_count = sizeof(ROUTES) / sizeof(ROUTES[0]),
    };
    return handler_main(&HANDLER, argc, argv);
}
