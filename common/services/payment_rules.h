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
#include "repositories/subscription_repository.h"
#include "services/settlement_service.h"

/*
 * Whether YooKassa knows the payment. Adopted ones in Telegram's stars it does not: their currency
 * is XTR, or their id one of the original's making (sql/migrations/0003_adoption.sql).
 */
bool payment_rules_is_ours(const struct payment *payment);

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

/* ---- subscriptions ---- */

/* Whether the renewal was declined and is tried again. */
bool payment_rules_past_due(const struct subscription *subscription);

/* Whether the next month is paid by itself when this period ends. */
bool payment_rules_renews(const struct subscription *subscription);

/* "active", "past_due", "cancelled" or "expired". */
struct text payment_rules_state(const struct subscription *subscription);

enum month {
    MONTH_PAY,    /* a month is bought */
    MONTH_RESUME, /* what was cancelled goes on; nothing is paid */
    MONTH_REFUSE, /* it is paid by itself, or never ends */
};

/* What the person asks for: a month of a plan. */
struct month_order {
    struct text plan;
    bool renews; /* and the months after it */
};

/*
 * What a person's order comes to. current: the active subscription, or NULL; now: microseconds
 * since 1970.
 */
enum month payment_rules_month(const struct subscription *current, const struct month_order *order,
                               int64_t now);
