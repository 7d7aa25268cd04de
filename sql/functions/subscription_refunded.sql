-- Takes p_amount of a subscription's payment off what its period was paid with; when p_whole, all
-- of the payment has been given back, and its month is taken off: a subscription without another
-- one ends. A payment of an earlier period changes nothing. Returns NULL, or the difference: the
-- rest of what it paid for has become days of another plan.
CREATE OR REPLACE FUNCTION subscription_refunded(p_user_id uuid, p_payment payments,
                                                 p_amount numeric, p_whole boolean)
RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    present timestamp := clock_timestamp() AT TIME ZONE 'utc';
    paid_at timestamp := coalesce(p_payment.succeeded_at, p_payment.created_at);
    target subscriptions%ROWTYPE;
    shortened timestamp;
BEGIN
    SELECT * INTO target FROM subscriptions s
    WHERE s.user_id = p_user_id
      AND (s.id = coalesce(p_payment.subscription_id, p_payment.id)
           OR p_payment.subscription_id IS NULL AND s.status = 'active'
              AND s.plan = p_payment.plan)
    ORDER BY s.status = 'active' DESC LIMIT 1 FOR UPDATE;
    IF NOT FOUND OR paid_at < target.current_period_start - interval '1 minute' THEN
        RETURN NULL;
    END IF;
    IF target.status <> 'active' THEN
        RETURN CASE WHEN p_whole AND EXISTS (
                        SELECT 1 FROM subscriptions s
                        JOIN payments p ON p.user_id = s.user_id AND p.subscription_id = s.id
                        WHERE s.user_id = p_user_id AND s.status = 'active'
                          AND s.created_at >= target.current_period_end AND p.credit_days > 0
                          AND p.status = 'succeeded')
                    THEN 'credit_given' END;
    END IF;
    shortened := CASE WHEN NOT p_whole THEN target.current_period_end
                      WHEN target.period_months > 0
                      THEN target.period_anchor
                           + make_interval(months => target.period_months - 1)
                      ELSE target.current_period_end - interval '1 month' END;
    UPDATE subscriptions s
    SET paid_amount = greatest(0, s.paid_amount - p_amount),
        period_months = greatest(0, s.period_months - p_whole::int),
        status = CASE WHEN p_whole AND coalesce(shortened, present) <= present
                      THEN 'cancelled' ELSE s.status END,
        payment_method_id = CASE WHEN NOT p_whole OR shortened > present
                                 THEN s.payment_method_id END,
        current_period_end = CASE WHEN NOT p_whole THEN s.current_period_end
                                  WHEN shortened > present THEN shortened
                                  ELSE least(s.current_period_end, present) END,
        next_check_at = CASE WHEN NOT p_whole THEN s.next_check_at
                             WHEN shortened > present THEN shortened END,
        updated_at = present
    WHERE s.user_id = p_user_id AND s.id = target.id;
    RETURN NULL;
END
$$;
