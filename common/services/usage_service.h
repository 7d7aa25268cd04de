/* What the calling account did lately, and the limits on it. Thread-safe. */
#pragma once

#include "base/app.h"
#include "base/error.h"
#include "base/text.h"
#include "repositories/usage_repository.h"
#include "services/account_service.h"
#include "base/operation.h"

/*
 * Records one action if its limit allows it. action: "download". client_address: kept with the
 * entry. key may be NULL. ERROR_RATE_LIMITED with ret_outcome filled when the limit is reached,
 * ERROR_IDEMPOTENCY_KEY_REUSED.
 */
enum error usage_service_record(struct app *app, struct account *account, struct text action,
                                struct text client_address, const struct operation_key *key,
                                struct usage_outcome *ret_outcome) MUST_CHECK;

/* ERROR_OK, ERROR_RATE_LIMITED or ERROR_IDEMPOTENCY_KEY_REUSED. */
enum error usage_service_error(enum usage_result result);

enum error usage_service_today(struct app *app, const struct account *account,
                               struct usage_today *ret_today) MUST_CHECK;

/* Whole seconds from now to a time of an outcome: 1 to 60, the length of the window. */
int usage_service_seconds_until(int64_t time_us);
