-- Gives the month that a payment paid for. Returns NULL, or the difference because of which it did
-- not. p_payment_method_id: what the provider has saved, or NULL.
-- A subscription to another plan ends where the new one begins, which gets what the rest was worth
-- when the payment was opened; a month of the same plan is added to the period. After a gap without
-- service the period begins now.
CREATE OR REPLACE FUNCTION subscription_paid(p_user_id uuid, p_payment payments,
                                             p_payment_method_id text)
RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    present timestamp := clock_timestamp() AT TIME ZONE 'utc';
    is_renewal boolean := p_payment.purpose = 'renewal';
    wanted_id uuid := coalesce(p_payment.subscription_id, p_payment.id);
    target subscriptions%ROWTYPE;
    credit record;
    served_until timestamp;
BEGIN
    PERFORM 1 FROM account_lock(p_user_id);
    IF NOT FOUND THEN
        RETURN 'account_closed';
    END IF;
    SELECT * INTO target FROM subscriptions s
    WHERE s.user_id = p_user_id AND s.status = 'active' FOR UPDATE;
    IF is_renewal AND target.id <> wanted_id THEN
        RETURN 'subscription_closed';
    ELSIF is_renewal AND target.id IS NULL THEN
        -- It ended while the payment was under way.
        SELECT * INTO target FROM subscriptions s
        WHERE s.user_id = p_user_id AND s.id = wanted_id FOR UPDATE;
        IF NOT FOUND THEN
            RETURN 'subscription_closed';
        END IF;
    ELSIF p_payment.plan IS NULL THEN
        RETURN 'unknown_package';
    ELSIF NOT is_renewal AND target.plan IS DISTINCT FROM p_payment.plan THEN
        SELECT coalesce(max(c.days), 0) AS days, coalesce(max(c.worth), 0) AS worth INTO credit
        FROM subscription_credit(p_user_id, p_payment.plan, p_payment.amount,
                                 p_payment.created_at) c;
        UPDATE subscriptions s
        SET status = 'cancelled', current_period_end = least(s.current_period_end, present),
            payment_method_id = NULL, next_check_at = NULL, updated_at = present
        WHERE s.user_id = p_user_id AND s.id = target.id;
        target.period_anchor := present + make_interval(days => credit.days);
        INSERT INTO subscriptions (user_id, id, plan, status, current_period_start,
                                   current_period_end, payment_method_id, period_anchor,
                                   period_months, paid_amount, next_check_at, created_at,
                                   updated_at)
        VALUES (p_user_id, wanted_id, p_payment.plan, 'active', present,
                target.period_anchor + interval '1 month',
                CASE WHEN p_payment.renews THEN p_payment_method_id END, target.period_anchor, 1,
                p_payment.amount + credit.worth, target.period_anchor + interval '1 month',
                present, present);
        UPDATE payments p SET credit_days = credit.days, subscription_id = wanted_id
        WHERE p.user_id = p_user_id AND p.id = p_payment.id;
        RETURN NULL;
    END IF;
    served_until := CASE WHEN target.payment_method_id IS NULL OR target.cancel_at_period_end
                         THEN target.current_period_end
                         ELSE coalesce(target.grace_until, target.current_period_end)
                              + interval '30 days' END;
    target.period_anchor := coalesce(target.period_anchor, target.current_period_end, present);
    IF target.status <> 'active' OR served_until < present
       OR target.period_anchor + make_interval(months => target.period_months + 1) <= present THEN
        target.period_anchor := present;
        target.period_months := 0;
        target.current_period_end := present;
    END IF;
    UPDATE subscriptions s
    SET status = 'active', renewal_attempts = 0, grace_until = NULL, updated_at = present,
        payment_method_id = CASE WHEN p_payment.renews
                                 THEN coalesce(p_payment_method_id, s.payment_method_id) END,
        cancel_at_period_end = s.cancel_at_period_end AND is_renewal,
        current_period_start = CASE WHEN target.current_period_end > present
                                    THEN s.current_period_start
                                    ELSE target.current_period_end END,
        paid_amount = p_payment.amount + CASE WHEN target.current_period_end > present
                                              THEN s.paid_amount ELSE 0 END,
        period_anchor = target.period_anchor, period_months = target.period_months + 1,
        current_period_end = target.period_anchor
                             + make_interval(months => target.period_months + 1),
        next_check_at = target.period_anchor + make_interval(months => target.period_months + 1)
    WHERE s.user_id = p_user_id AND s.id = target.id;
    -- A second first payment is for the subscription that the first one began.
    UPDATE payments p SET credit_days = 0, subscription_id = target.id
    WHERE p.user_id = p_user_id AND p.id = p_payment.id;
    RETURN NULL;
END
$$;
