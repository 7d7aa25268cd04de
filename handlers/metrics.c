/* /metrics: counters and timings of all handlers, for Prometheus. nginx serves it to loopback only.
 */
#include "cache/cache.h"
#include "endpoint/handler.h"
#include "observe/metrics.h"

static void set_cache_metrics(struct app *app)
{
    struct cache_stats stats = {.hits = 0};
    if (!app->cache)
        return;
    cache_read_stats(app->cache, &stats);
    const struct {
        const char *name;
        uint64_t value;
    } series[] = {
        {"cache_hits_total", stats.hits},
        {"cache_misses_total", stats.misses},
        {"cache_stores_total", stats.stores},
        {"cache_refused_stores_total", stats.refused_stores},
        {"cache_evictions_total", stats.evictions},
        {"cache_recoveries_total", stats.recoveries},
        {"cache_slots", stats.slots},
        {"cache_slots_used", stats.slots_used},
    };
    for (size_t i = 0; i < sizeof(series) / sizeof(series[0]); i++)
        metric_set(metrics_series(app->metrics, series[i].name, ""), series[i].value);
}

static enum error get_metrics(struct call *call)
{
    struct metrics *metrics = call->app->metrics;
    if (!metrics)
        return ERROR_INTERNAL;
    set_cache_metrics(call->app);
    /* prometheus.io/docs/instrumenting/exposition_formats: version 0.0.4 of the text format. */
    metrics_render(metrics,
                   response_plain(call->response, 200, "text/plain; version=0.0.4; charset=utf-8"));
    return ERROR_OK;
}

int main(int argc, char **argv)
{
    static const struct route ROUTES[] = {
        {"GET", "/metrics", .access = ACCESS_LOOPBACK, .run = get_metrics},
    };
    static const struct handler HANDLER = {
        .name = "metrics",
        .routes = ROUTES,
        .route_count = sizeof(ROUTES) / sizeof(ROUTES[0]),
        .needs = APP_NEEDS_NOTHING,
    };
    return handler_main(&HANDLER, argc, argv);
}
