#include "services/payment_rules.h"

#include <stdio.h>

#include "base/limits.h"
#include "base/operation.h"

enum { MICROSECONDS = 1000000 };

bool payment_rules_is_ours(const struct payment *payment)
{
    return !text_equal(payment->currency, TEXT_LITERAL("XTR")) &&
           !text_starts_nocase(payment->provider_id, "telegram_stars_");
}

enum error payment_rules_refund_amount(const struct payment *payment, struct text wanted,
                                       struct money *ret_amount)
{
    struct money paid;
    struct money refunded;
    struct money amount;
    if (!money_parse(payment->amount, payment->currency, &paid) ||
        !money_parse(payment->refunded_amount, payment->currency, &refunded))
        return ERROR_INTERNAL;
    if (wanted.data) {
        if (!money_parse(wanted, payment->currency, &amount) || amount.minor <= 0)
            return ERROR_INVALID_PARAMETER;
    } else {
        amount = paid;
        if (refunded.minor < paid.minor)
            amount.minor -= refunded.minor;
    }
    *ret_amount = amount;
    return ERROR_OK;
}

enum settlement payment_rules_settlement(enum apply_outcome outcome)
{
    switch (outcome) {
    case APPLY_DONE:
        return SETTLEMENT_DONE;
    case APPLY_UNCHANGED:
        return SETTLEMENT_KNOWN;
    case APPLY_CONFLICT:
    case APPLY_UNCREDITED:
    case APPLY_NOT_FOUND:
        break;
    }
    return SETTLEMENT_DIFFERENCE;
}

struct uuid payment_rules_refund_id(const struct yookassa_refund *refund)
{
    char name[96];
    struct uuid id;
    if (uuid_parse(refund->metadata_refund_id, &id))
        return id;
    int len = snprintf(name, sizeof(name), "refund:%.*s", (int)refund->id.len, refund->id.data);
    return operation_derive((struct text){name, (size_t)len});
}

int64_t payment_rules_next_listing(int64_t since, int64_t started, bool settled)
{
    int64_t oldest = started - (int64_t)LISTING_LAG_SECONDS_MAX * MICROSECONDS;
    if (settled)
        return started;
    return since > oldest ? since : oldest;
}

bool payment_rules_repeatable(int64_t created_at, int64_t now)
{
    return now - created_at < (int64_t)CREATION_REPEAT_SECONDS * MICROSECONDS;
}

bool payment_rules_past_due(const struct subscription *subscription)
{
    return text_equal(subscription->status, TEXT_LITERAL("active")) &&
           subscription->has_grace_until;
}

bool payment_rules_renews(const struct subscription *subscription)
{
    return text_equal(subscription->status, TEXT_LITERAL("active")) &&
           !subscription->cancel_at_period_end && subscription->payment_method_id.data &&
           !payment_rules_past_due(subscription);
}

struct text payment_rules_state(const struct subscription *subscription)
{
    return payment_rules_past_due(subscription) ? TEXT_LITERAL("past_due") : subscription->status;
}

enum month payment_rules_month(const struct subscription *current, const struct month_order *order,
                               int64_t now)
{
    if (!current || !text_equal(current->plan, order->plan))
        return MONTH_PAY;
    if (!current->has_current_period_end || payment_rules_renews(current))
        return MONTH_REFUSE;
    bool paid = current->current_period_end > now;
    if (order->renews && paid && current->cancel_at_period_end && current->payment_method_id.data)
        return MONTH_RESUME;
    return MONTH_PAY;
}
