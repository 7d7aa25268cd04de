#include "services/system_service.h"

#include "base/clock.h"
#include "cache/cache.h"
#include "repositories/reconcile_repository.h"

enum { SLOW_DATABASE_MS = 1000 }; /* a small statement that takes longer is a sign of trouble */

static void check_payments(struct app *app, struct health_report *report)
{
    struct shop_difference difference = {.rows = NULL};
    bool found = false;
    if (reconcile_repository_shop(app->database, &difference, &found))
        return;
    report->has_payments = true;
    if (!found)
        return;
    report->payments = HEALTH_DEGRADED;
    (void)text_copy(difference.details, report->payments_action, sizeof(report->payments_action));
    if (report->overall < HEALTH_DEGRADED)
        report->overall = HEALTH_DEGRADED;
    shop_difference_done(&difference);
}

void system_service_health(struct app *app, struct health_report *ret_report)
{
    struct system_state state;
    int64_t before_us = clock_monotonic_us();
    bool answered = !system_repository_ping(app->database, &state);
    int64_t took_ms = (clock_monotonic_us() - before_us) / 1000;
    bool writable = answered && state.writable;
    bool slow = took_ms > SLOW_DATABASE_MS;
    *ret_report = (struct health_report){
        .database = !answered             ? HEALTH_UNHEALTHY
                    : (slow || !writable) ? HEALTH_DEGRADED
                                          : HEALTH_HEALTHY,
        .database_ms = took_ms,
        .database_answered = answered,
        .database_writable = writable,
        .cache = app->cache ? HEALTH_HEALTHY : HEALTH_DEGRADED,
    };
    ret_report->overall =
        ret_report->database > ret_report->cache ? ret_report->database : ret_report->cache;
    if (app->yookassa && answered)
        check_payments(app, ret_report);
}

const char *system_service_health_name(enum health health)
{
    static const char *const NAMES[] = {
        [HEALTH_HEALTHY] = "healthy",
        [HEALTH_DEGRADED] = "degraded",
        [HEALTH_UNHEALTHY] = "unhealthy",
    };
    return NAMES[health];
}

enum error system_service_migrate(struct app *app, struct schema_report *ret_report)
{
    return system_repository_migrate(app->database, ret_report);
}
