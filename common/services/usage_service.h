/* What the calling account did lately, and the limits on it. Thread-safe. */
#pragma once

#include "base/app.h"
#include "base/error.h"
#include "base/operation.h"
#include "base/text.h"
#include "repositories/usage_repository.h"
#include "services/account_service.h"

/* Texts are borrowed. */
struct usage_order {
    struct text action;              /* "download" */
    struct text client_address;      /* kept with the entry */
    const struct operation_key *key; /* may be NULL */
};

/*
 * Records one action if its limit allows it. ERROR_RATE_LIMITED with ret_outcome filled when the
 * limit is reached, ERROR_IDEMPOTENCY_KEY_REUSED, ERROR_IDEMPOTENCY_IN_PROGRESS, else those of the
 * database layer.
 */
enum error usage_service_record(struct app *app, struct account *account,
                                const struct usage_order *order,
                                struct usage_outcome *ret_outcome) MUST_CHECK;

/*
 * What a result of a statement means for the request: ERROR_OK, ERROR_RATE_LIMITED,
 * ERROR_IDEMPOTENCY_KEY_REUSED, ERROR_IDEMPOTENCY_IN_PROGRESS or ERROR_USER_NOT_FOUND.
 */
enum error usage_service_error(enum usage_result result);

/* The caller's actions since midnight UTC, and the limits of a minute. Errors of the database. */
enum error usage_service_today(struct app *app, const struct account *account,
                               struct usage_today *ret_today) MUST_CHECK;

/* Whole seconds from now to a time of an outcome: 1 to 60, the length of the window. */
int usage_service_seconds_until(int64_t time_us);
