/*
 * Reconciles our rows with the provider's when no request and no notification does: the steps of
 * workers/payments-reconciler.c. Every step claims what it works on in the database, so any number
 * of threads and processes may take steps at once, and what one leaves undone the next one finds.
 *
 * ret_worked: there was something to do, so there may be more. Errors are those of the database
 * layer, or ERROR_PAYMENT_UNCONFIRMED when the provider cannot be asked now: wait a moment.
 */
#pragma once

#include <stdbool.h>

#include "base/app.h"
#include "base/error.h"

/* One payment that is due: asks how it stands, or repeats a creation that was not answered. */
enum error reconcile_service_payment(struct app *app, bool *ret_worked) MUST_CHECK;

/* The same for a refund. */
enum error reconcile_service_refund(struct app *app, bool *ret_worked) MUST_CHECK;

/*
 * One subscription whose period is over: renewed, or its end is written down, which also works
 * without a provider.
 */
enum error reconcile_service_subscription(struct app *app, bool *ret_worked) MUST_CHECK;

/* What the provider has since the last time, all of it: what we do not know is recorded. */
enum error reconcile_service_list_payments(struct app *app, bool *ret_worked) MUST_CHECK;
enum error reconcile_service_list_refunds(struct app *app, bool *ret_worked) MUST_CHECK;
