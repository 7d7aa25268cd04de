/* /api/usage: what the caller did today, and recording a download. */
#include "http/body.h"
#include "endpoint/caller.h"
#include "process/handler_main.h"
#include "endpoint/idempotency.h"
#include "services/usage_service.h"

static enum error get_usage(struct app *app, struct request *request, struct response *response)
{
    struct account account;
    struct usage_today today;
    enum error err = caller_resolve(app, request, &account);
    if (!err)
        err = usage_service_today(app, &account, &today);
    if (err)
        return err;
    struct json_writer *json = response_data(response, 200);
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
    response_data_end(response);
    return ERROR_OK;
}

static enum error record_usage(struct app *app, struct request *request, struct response *response)
{
    static const struct body_text_rule ACTION = {
        .name = "action", .required = true, .bytes_max = 16, .choices = "download"};
    struct account account;
    struct body *body = NULL;
    struct text action;
    struct usage_outcome outcome = {.used = 0};
    struct operation_key key;
    enum error err = caller_resolve(app, request, &account);
    if (!err)
        err = idempotency_read(request, response, TEXT_LITERAL("user"), &key);
    if (!err)
        err = body_parse(request, response, &body);
    if (!err)
        err = body_text(body, &ACTION, &action);
    if (err)
        goto out;
    const struct usage_order order = {action, request->client_address, &key};
    err = usage_service_record(app, &account, &order, &outcome);
    if (err == ERROR_RATE_LIMITED)
        err = response_rate_limited(response, outcome.usage_limit,
                                    usage_service_wait_seconds(&outcome));
    if (err)
        goto out;
    int remaining = outcome.usage_limit - outcome.used;
    response_rate_limit(response, outcome.usage_limit, remaining,
                        usage_service_wait_seconds(&outcome));
    idempotency_replayed(response, outcome.result == USAGE_REPLAYED);
    struct json_writer *json = response_data(response, 201);
    json_member_int(json, "remaining", remaining);
    json_member_time(json, "resetAt", outcome.reset_at);
    response_data_end(response);
out:
    body_free(body);
    return err;
}

int main(void)
{
    static const struct route ROUTES[] = {
        {"GET", "/api/usage", .run = get_usage},
        {"POST", "/api/usage", .run = record_usage},
    };
    static const struct handler HANDLER = {
        .name = "usage",
        .routes = ROUTES,
        .route_count = sizeof(ROUTES) / sizeof(ROUTES[0]),
    };
    static const struct app_needs NEEDS = {.database = true, .cache = APP_CACHE_REQUIRED};
    return handler_main(&HANDLER, &NEEDS);
}
