/* /api/usage: what the caller did today, and recording a download. */
#include "endpoint/handler.h"
#include "endpoint/idempotency.h"
#include "endpoint/usage_limit.h"
#include "services/usage_service.h"

static enum error get_usage(struct call *call)
{
    struct usage_today today;
    enum error err = usage_service_today(call->app, &call->account, &today);
    if (err)
        return err;
    struct json_writer *json = response_data(call->response, 200);
    json_key(json, "today");
    json_begin_object(json);
    json_member_int(json, "generation", today.generations);
    json_member_int(json, "download", today.downloads);
    json_end_object(json);
    json_key(json, "limits");
    json_begin_object(json);
    json_member_int(json, "generationsPerMinute", today.generations_per_minute);
    json_member_int(json, "downloadsPerMinute", today.downloads_per_minute);
    json_end_object(json);
    response_data_end(call->response);
    return ERROR_OK;
}

static enum error record_usage(struct call *call)
{
    static const struct body_text_rule ACTION = {
        .name = "action", .required = true, .bytes_max = 16, .choices = "download"};
    struct response *response = call->response;
    struct usage_outcome outcome = {.used = 0};
    struct text action;
    enum error err = body_text(call->body, &ACTION, &action);
    if (err)
        return err;
    const struct usage_order order = {action, call->request->client_address, &call->key};
    err = usage_service_record(call->app, &call->account, &order, &outcome);
    if (err == ERROR_RATE_LIMITED)
        err = usage_limit_refuse(response, &outcome);
    if (err)
        return err;
    usage_limit_header(response, &outcome);
    idempotency_replayed(response, outcome.result == USAGE_REPLAYED);
    struct json_writer *json = response_data(response, 201);
    json_member_int(json, "remaining", usage_limit_remaining(&outcome));
    json_member_time(json, "resetAt", outcome.reset_at);
    response_data_end(response);
    return ERROR_OK;
}

int main(int argc, char **argv)
{
    static const struct route ROUTES[] = {
        {"GET", "/api/usage", .access = ACCESS_ACCOUNT, .run = get_usage},
        {"POST", "/api/usage", .access = ACCESS_ACCOUNT, .idempotent = true, .body = true,
         .run = record_usage},
    };
    static const struct handler HANDLER = {
        .name = "usage",
        .routes = ROUTES,
        .route_count = sizeof(ROUTES) / sizeof(ROUTES[0]),
    };
    return handler_main(&HANDLER, argc, argv);
}
