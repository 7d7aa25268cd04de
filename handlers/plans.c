/* /api/plans: what each plan allows, and what a month of it costs. */
#include "endpoint/etag.h"
#include "endpoint/handler.h"
#include "services/catalog_service.h"

static void write_limit(struct json_writer *json, const char *name, bool limited, int32_t value)
{
    if (limited)
        json_member_int(json, name, value);
    else
        json_member_null(json, name);
}

static void write_plan(struct json_writer *json, const struct plan *plan)
{
    json_begin_object(json);
    json_member_text(json, "plan", plan->plan);
    json_member_text(json, "price", plan->price);
    json_member_text(json, "currency", plan->currency);
    json_key(json, "limits");
    json_begin_object(json);
    write_limit(json, "dailyGenerations", plan->has_daily_generations, plan->daily_generations);
    write_limit(json, "maxHistory", plan->has_history_max, plan->history_max);
    json_member_text(json, "quality", plan->quality);
    json_end_object(json);
    json_end_object(json);
}

static enum error list_plans(struct call *call)
{
    struct plan_list list = {.count = 0};
    enum error err = catalog_service_plans(call->app, &list);
    if (err)
        return err;
    struct json_writer *json = response_data(call->response, 200);
    json_key(json, "plans");
    json_begin_array(json);
    for (size_t i = 0; i < list.count; i++)
        write_plan(json, &list.items[i]);
    json_end_array(json);
    response_data_end(call->response);
    plan_list_done(&list);
    etag_answer(call);
    return ERROR_OK;
}

int main(int argc, char **argv)
{
    static const struct route ROUTES[] = {
        {"GET", "/api/plans", .access = ACCESS_PUBLIC, .cache_control = "public, max-age=60",
         .run = list_plans},
    };
    static const struct handler HANDLER = {
        .name = "plans",
        .routes = ROUTES,
        .route_count = sizeof(ROUTES) / sizeof(ROUTES[0]),
        .needs = APP_NEEDS_DATABASE,
    };
    return handler_main(&HANDLER, argc, argv);
}
