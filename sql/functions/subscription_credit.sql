-- What the rest of a paid subscription is worth when the month of another plan, p_plan for p_price,
-- is bought at p_at: money, and days of the new plan. Days that have begun, kopecks and the days
-- they buy are each rounded up. No row: there is no rest of another plan.
CREATE OR REPLACE FUNCTION subscription_credit(p_user_id uuid, p_plan text, p_price numeric,
                                               p_at timestamp)
RETURNS TABLE (days int, worth numeric)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    day CONSTANT numeric := 86400;
    former subscriptions%ROWTYPE;
    begun timestamp;
    period_days bigint;
    rest_days bigint;
    month_days bigint;
    kopecks bigint;
    price bigint := p_price * 100;
BEGIN
    SELECT s.* INTO former FROM subscriptions s
    WHERE s.user_id = p_user_id AND s.status = 'active' AND s.plan <> p_plan
      AND s.paid_amount > 0 AND s.current_period_end > p_at
      AND (SELECT l.currency FROM plans l WHERE l.plan = p_plan)
          = coalesce((SELECT l.currency FROM plans l WHERE l.plan = s.plan),
                     (SELECT l.currency FROM plans l WHERE l.plan = p_plan));
    IF NOT FOUND OR price <= 0 THEN
        RETURN;
    END IF;
    begun := coalesce(former.current_period_start, former.current_period_end - interval '1 month');
    period_days := greatest(1, ceil(extract(epoch FROM former.current_period_end - begun) / day));
    rest_days := least(period_days,
                       ceil(extract(epoch FROM former.current_period_end - p_at) / day));
    month_days := round(extract(epoch FROM p_at + interval '1 month' - p_at) / day);
    kopecks := ((former.paid_amount * 100)::bigint * rest_days + period_days - 1) / period_days;
    days := (kopecks * month_days + price - 1) / price;
    worth := kopecks / 100.0;
    RETURN NEXT;
END
$$;
