/*
 * Decisions about payments that need neither a database nor the provider.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/money.h"
#include "base/text.h"
#include "base/uuid.h"
#include "outbound/yookassa.h"
#include "repositories/payment_repository.h"
#include "services/settlement_service.h"

/*
 * How much a refund gives back: wanted (a decimal, absent for all that is left of the payment).
 * When nothing is left, all of the payment: a repetition of its last refund asks for the same
 * amount as that did, and anything else is refused as too much.
 * ERROR_INVALID_PARAMETER: wanted is no amount above zero; ERROR_INTERNAL: the row is none of
 * money.
 */
enum error payment_rules_refund_amount(const struct payment *payment, struct text wanted,
                                       struct money *ret_amount) MUST_CHECK;

/* What came of applying the provider's state, for those who passed it on. */
enum settlement payment_rules_settlement(enum apply_outcome outcome);

/*
 * Our id of a refund: what we sent with it; for one that was made in the provider's own pages an id
 * derived from the provider's, the same every time.
 */
struct uuid payment_rules_refund_id(const struct yookassa_refund *refund);

/*
 * From when the provider's list is read the next time, after a reading from since that started at
 * started (microseconds since 1970). settled: all of the list was. What was not stays in the list
 * for LISTING_LAG_SECONDS_MAX.
 */
int64_t payment_rules_next_listing(int64_t since, int64_t started, bool settled);

/* Whether the provider still tells a repetition of a creation from a new request. */
bool payment_rules_repeatable(int64_t created_at, int64_t now);
