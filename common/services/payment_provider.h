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

/* Counts and logs a difference that was recorded. provider_id: what it is recorded of. */
void payment_provider_difference(const struct app *app, struct text kind, struct text provider_id);

/*
 * The provider refuses the shop something until the operator acts: recorded as a difference of the
 * shop, so that health shows it until a payment shows the opposite, and logged every time. action:
 * what to do, a sentence. Errors are those of the database layer.
 */
enum error payment_provider_blocked(const struct app *app, struct text kind,
                                    const char *action) MUST_CHECK;
/* The same of the credentials, YOOKASSA_DENIED. */
enum error payment_provider_denied(const struct app *app) MUST_CHECK;
