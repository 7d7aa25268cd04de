/* /api/health: whether the parts work. /api/health/live touches none of them. */
#include <string.h>

#include "base/clock.h"
#include "endpoint/handler.h"
#include "observe/metrics.h"
#include "services/system_service.h"

/* All series of one name together; gauges are left to /metrics. */
struct metric_total {
    const char *name;
    uint64_t count;
    uint64_t sum_us;
    bool histogram;
};

struct metric_totals {
    struct metric_total items[64];
    size_t count;
};

static void add_series(const struct metric_view *view, void *context)
{
    struct metric_totals *totals = context;
    size_t i = 0;
    if (view->gauge)
        return;
    while (i < totals->count && strcmp(totals->items[i].name, view->name) != 0)
        i++;
    if (i == sizeof(totals->items) / sizeof(totals->items[0]))
        return;
    if (i == totals->count)
        totals->items[totals->count++] =
            (struct metric_total){.name = view->name, .histogram = view->histogram};
    totals->items[i].count += view->count;
    totals->items[i].sum_us += view->sum_us;
}

static void write_metrics(struct json_writer *json, struct metrics *metrics)
{
    struct metric_totals totals = {.count = 0};
    metrics_each(metrics, add_series, &totals);
    json_key(json, "metrics");
    json_begin_object(json);
    for (size_t i = 0; i < totals.count; i++) {
        const struct metric_total *total = &totals.items[i];
        if (!total->histogram) {
            json_member_int(json, total->name, (int64_t)total->count);
            continue;
        }
        json_key(json, total->name);
        json_begin_object(json);
        json_member_int(json, "count", (int64_t)total->count);
        json_member_int(json, "averageMicroseconds",
                        total->count ? (int64_t)(total->sum_us / total->count) : 0);
        json_end_object(json);
    }
    json_end_object(json);
}

static void write_checks(struct json_writer *json, const struct health_report *report)
{
    json_key(json, "checks");
    json_begin_object(json);
    json_key(json, "database");
    json_begin_object(json);
    json_member_string(json, "status", system_service_health_name(report->database));
    if (report->database_answered)
        json_member_int(json, "responseTime", report->database_ms);
    if (!report->database_answered)
        json_member_string(json, "error", "no answer");
    else if (!report->database_writable)
        json_member_string(json, "error", "read-only");
    json_end_object(json);
    json_key(json, "cache");
    json_begin_object(json);
    json_member_string(json, "status", system_service_health_name(report->cache));
    json_end_object(json);
    if (report->has_payments) {
        json_key(json, "payments");
        json_begin_object(json);
        json_member_string(json, "status", system_service_health_name(report->payments));
        if (report->payments_action[0])
            json_member_string(json, "error", report->payments_action);
        json_end_object(json);
    }
    json_end_object(json);
}

static enum error get_health(struct call *call)
{
    char buffer[16];
    struct text wanted;
    struct health_report report;
    enum error err = request_query(
        call->request, &(struct query_field){"metrics", buffer, sizeof(buffer)}, &wanted);
    if (err)
        return response_invalid(call->response, err, "metrics", "expected true or false");
    system_service_health(call->app, &report);
    struct json_writer *json =
        response_json(call->response, report.overall == HEALTH_UNHEALTHY ? 503 : 200);
    json_begin_object(json);
    json_member_boolean(json, "success", report.overall != HEALTH_UNHEALTHY);
    json_key(json, "data");
    json_begin_object(json);
    json_member_string(json, "status", system_service_health_name(report.overall));
    json_member_time(json, "timestamp", clock_unix_us());
    write_checks(json, &report);
    if (text_equal(wanted, TEXT_LITERAL("true")))
        write_metrics(json, call->app->metrics);
    json_end_object(json);
    json_end_object(json);
    return ERROR_OK;
}

static enum error get_live(struct call *call)
{
    struct json_writer *json = response_data(call->response, 200);
    json_member_string(json, "status", "alive");
    response_data_end(call->response);
    return ERROR_OK;
}

int main(int argc, char **argv)
{
    static const struct route ROUTES[] = {
        {"GET", "/api/health", .access = ACCESS_PUBLIC, .cache_control = "no-store",
         .run = get_health},
        {"GET", "/api/health/live", .access = ACCESS_PUBLIC, .cache_control = "no-store",
         .run = get_live},
    };
    static const struct handler HANDLER = {
        .name = "health",
        .routes = ROUTES,
        .route_count = sizeof(ROUTES) / sizeof(ROUTES[0]),
        .needs = APP_NEEDS_DATABASE,
    };
    return handler_main(&HANDLER, argc, argv);
}
