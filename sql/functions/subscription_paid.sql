-- Gives the month that a payment of p_purpose paid for, to subscription p_id. Returns NULL, or the
-- difference because of which it did not.
-- A subscription to another plan ends where the new one begins; a month of the same plan is added
-- to the period. After a gap without service the period begins now.
CREATE OR REPLACE FUNCTION subscription_paid(p_user_id uuid, p_id uuid, p_purpose text, p_plan text,
                                             p_payment_method_id text)
RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    present timestamp := clock_timestamp() AT TIME ZONE 'utc';
    target subscriptions%ROWTYPE;
    grace interval;
BEGIN
    PERFORM 1 FROM account_lock(p_user_id);
    IF NOT FOUND THEN
        RETURN 'account_closed';
    END IF;
    SELECT * INTO target FROM subscriptions s
    WHERE s.user_id = p_user_id AND s.status = 'active' FOR UPDATE;
    IF p_purpose = 'renewal' AND target.id <> p_id THEN
        RETURN 'subscription_closed';
    ELSIF p_purpose = 'renewal' AND target.id IS NULL THEN
        -- It ended while the payment was under way.
        SELECT * INTO target FROM subscriptions s
        WHERE s.user_id = p_user_id AND s.id = p_id FOR UPDATE;
        IF NOT FOUND THEN
            RETURN 'subscription_closed';
        END IF;
    ELSIF p_plan IS NULL THEN
        RETURN 'unknown_package';
    ELSIF p_purpose = 'subscription' AND target.plan IS DISTINCT FROM p_plan THEN
        UPDATE subscriptions s
        SET status = 'cancelled', current_period_end = least(s.current_period_end, present),
            payment_method_id = NULL, next_check_at = NULL, updated_at = present
        WHERE s.user_id = p_user_id AND s.id = target.id;
        INSERT INTO subscriptions (user_id, id, plan, status, current_period_start,
                                   current_period_end, payment_method_id, period_anchor,
                                   period_months, next_check_at, created_at, updated_at)
        VALUES (p_user_id, p_id, p_plan, 'active', present, present + interval '1 month',
                p_payment_method_id, present, 1, present + interval '1 month', present, present);
        RETURN NULL;
    END IF;
    grace := CASE WHEN target.payment_method_id IS NULL OR target.cancel_at_period_end
                  THEN interval '0' ELSE interval '8 days' END;
    IF target.status <> 'active' OR target.current_period_end < present - grace THEN
        target.period_anchor := present;
        target.period_months := 0;
        target.current_period_end := present;
    ELSIF target.period_anchor IS NULL THEN
        target.period_anchor := coalesce(target.current_period_end, present);
    END IF;
    UPDATE subscriptions s
    SET status = 'active', renewal_attempts = 0, updated_at = present,
        payment_method_id = coalesce(p_payment_method_id, s.payment_method_id),
        cancel_at_period_end = s.cancel_at_period_end AND p_purpose = 'renewal',
        current_period_start = CASE WHEN target.current_period_end > present
                                    THEN s.current_period_start
                                    ELSE target.current_period_end END,
        period_anchor = target.period_anchor, period_months = target.period_months + 1,
        current_period_end = target.period_anchor
                             + make_interval(months => target.period_months + 1),
        next_check_at = target.period_anchor + make_interval(months => target.period_months + 1)
    WHERE s.user_id = p_user_id AND s.id = target.id;
    RETURN NULL;
END
$$;
