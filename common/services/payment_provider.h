/*
 * The payment provider as the configuration describes it, and what the services tell about calls:
 * a metric for each, a log line for one that was refused or is unclear. Thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/app.h"
#include "outbound/yookassa.h"

/* Whether shop id and secret key are set. Without them nothing is asked. */
bool payment_provider_configured(const struct app *app);

/* Borrowed from the configuration. */
struct yookassa payment_provider(const struct app *app);

/* How long calls calls and the statements around them may take: the lease of what they concern. */
int32_t payment_provider_lease_seconds(const struct app *app, int32_t calls);

/* Counts a call, and logs one that did not come to an end. call: such as "create_payment". */
void payment_provider_report(const struct app *app, const char *call,
                             const struct yookassa_answer *answer);
