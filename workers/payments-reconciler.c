/*
 * payments-reconciler: brings payments, refunds and subscriptions to their end when no notification
 * does (services/reconcile_service.h, docs/payments.md).
 *
 * Pollers look at what is due one by one, so that a call that takes long holds up nobody; renewals
 * and listings have a thread each. What is cut off at the end stays leased in the database for half
 * a minute, and is then looked at again.
 */
#include "base/limits.h"
#include "observe/log.h"
#include "process/worker_main.h"
#include "services/reconcile_service.h"

static void say_with_what(struct app *app)
{
    log_event(app->log, LOG_INFO, "reconciling",
              LOG_STRING("provider", app->yookassa ? "configured" : "none"));
}

int main(void)
{
    static worker_step *const POLL[] = {reconcile_service_payment, reconcile_service_refund, NULL};
    static worker_step *const RENEW[] = {reconcile_service_subscription, NULL};
    static worker_step *const LIST[] = {reconcile_service_list_payments,
                                        reconcile_service_list_refunds, NULL};
    static const struct worker_duty DUTIES[] = {
        {.steps = POLL, .threads = RECONCILER_POLLERS},
        {.steps = RENEW, .threads = 1},
        {.steps = LIST, .threads = 1},
    };
    static const struct worker WORKER = {
        .name = "payments-reconciler",
        .duties = DUTIES,
        .duty_count = sizeof(DUTIES) / sizeof(DUTIES[0]),
        .on_start = say_with_what,
        .idle_ms = RECONCILER_IDLE_MS,
        .stop_ms = RECONCILER_STOP_MS,
    };
    return worker_main(&WORKER);
}
