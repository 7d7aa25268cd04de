/* /api/subscriptions: plans by the month. */
#include "http/body.h"
#include "endpoint/caller.h"
#include "process/handler_main.h"
#include "endpoint/idempotency.h"
#include "endpoint/payment_form.h"
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
    json_begin_object(json);
    json_member_uuid(json, "id", &subscription->id);
    json_member_text(json, "plan", subscription->plan);
    json_member_text(json, "status", subscription->status);
    write_optional_time(json, "periodStart", subscription->has_current_period_start,
                        subscription->current_period_start);
    write_optional_time(json, "periodEnd", subscription->has_current_period_end,
                        subscription->current_period_end);
    json_member_boolean(json, "cancelAtPeriodEnd", subscription->cancel_at_period_end);
    json_member_boolean(json, "renews",
                        text_equal(subscription->status, TEXT_LITERAL("active")) &&
                            !subscription->cancel_at_period_end &&
                            subscription->payment_method_id.data);
    json_member_time(json, "createdAt", subscription->created_at);
    json_end_object(json);
}

static enum error list_subscriptions(struct app *app, struct request *request,
                                     struct response *response)
{
    struct account account;
    struct subscription_list list = {.count = 0};
    enum error err = caller_resolve(app, request, &account);
    if (!err)
        err = subscription_service_list(app, &account, &list);
    if (err)
        return err;
    response_header(response, "Cache-Control", "no-store");
    struct json_writer *json = response_data(response, 200);
    json_key(json, "subscriptions");
    json_begin_array(json);
    for (size_t i = 0; i < list.count; i++)
        write_subscription(json, &list.items[i]);
    json_end_array(json);
    response_data_end(response);
    subscription_list_done(&list);
    return ERROR_OK;
}

static enum error read_order(const struct app *app, const struct body *body,
                             struct response *response, struct subscription_order *ret_order)
{
    static const struct body_text_rule PLAN = {
        .name = "plan", .required = true, .bytes_max = PLAN_BYTES_MAX};
    enum error err = body_text(body, &PLAN, &ret_order->plan);
    if (!err)
        err = payment_form_return_url(app, body, response, &ret_order->return_url);
    if (!err)
        err = payment_form_receipt_email(body, response, &ret_order->receipt_email);
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

static enum error create(struct app *app, struct request *request, struct response *response)
{
    struct account account;
    struct operation_key key;
    struct subscription_order order;
    struct subscription_answer answer;
    struct body *body = NULL;
    enum error err = caller_resolve(app, request, &account);
    if (!err && !app->yookassa)
        err = ERROR_PAYMENTS_NOT_CONFIGURED;
    if (!err)
        err = idempotency_read(request, response, TEXT_LITERAL("user"), &key);
    if (!err)
        err = body_parse(request, response, &body);
    if (!err)
        err = read_order(app, body, response, &order);
    if (!err) {
        order.key = &key;
        err = subscription_service_create(app, &account, &order, &answer);
        err = create_failure(response, err);
    }
    if (!err && answer.resumed)
        write_resumed(response);
    else if (!err)
        payment_form_answer(response, &answer.payment);
    body_free(body);
    return err;
}

static enum error cancel(struct app *app, struct request *request, struct response *response)
{
    struct account account;
    struct subscription_list list = {.count = 0};
    enum error err = caller_resolve(app, request, &account);
    if (!err)
        err = subscription_service_cancel(app, &account, &list);
    if (err)
        return err;
    struct json_writer *json = response_data(response, 200);
    json_key(json, "subscription");
    write_subscription(json, &list.items[0]);
    response_data_end(response);
    subscription_list_done(&list);
    return ERROR_OK;
}

int main(void)
{
    static const struct route ROUTES[] = {
        {"GET", "/api/subscriptions", .run = list_subscriptions},
        {"POST", "/api/subscriptions", .run = create},
        {"DELETE", "/api/subscriptions", .run = cancel},
    };
    static const struct handler HANDLER = {
        .name = "subscriptions",
        .routes = ROUTES,
        .route_count = sizeof(ROUTES) / sizeof(ROUTES[0]),
    };
    static const struct app_needs NEEDS = {.database = true, .cache = APP_CACHE_REQUIRED};
    return handler_main(&HANDLER, &NEEDS);
}
