/*
 * What the services say of their calls to the payment provider (app->yookassa): a metric for each,
 * a log line for one that was refused or is unclear. Thread-safe.
 */
#pragma once

#include <stdint.h>

#include "base/app.h"
#include "outbound/yookassa.h"

/* How long calls calls and the statements around them may take: the lease of what they concern. */
int32_t payment_provider_lease_seconds(const struct app *app, int32_t calls);

/* Counts a call, and logs one that did not come to an end. call: such as "create_payment". */
void payment_provider_report(const struct app *app, const char *call,
                             const struct yookassa_answer *answer);
