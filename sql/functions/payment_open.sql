-- Writes a payment before the provider is asked, and claims it for p_lease_seconds. One that is
-- there and unanswered is claimed again when nobody holds it, with the body of the first time.
-- outcome: done, replayed (the provider has answered, or will not be asked any more), reused (the
-- key came with another request), in_progress. No row: no such open account, or a renewal of what
-- is not to be renewed any more, or was paid meanwhile.
CREATE OR REPLACE FUNCTION payment_open(p_user_id uuid, p_id uuid, p_purpose text,
                                        p_token_package text, p_plan text, p_amount text,
                                        p_currency text, p_tokens_amount int,
                                        p_subscription_id uuid, p_renews boolean,
                                        p_request_body text, p_request_hash bigint,
                                        p_lease_seconds int)
RETURNS TABLE (outcome text, payment payments)
LANGUAGE plpgsql AS $$
DECLARE
    present timestamp;
    lease interval := make_interval(secs => p_lease_seconds);
BEGIN
    PERFORM 1 FROM user_tokens t WHERE t.user_id = p_user_id AND t.closed_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    present := clock_timestamp() AT TIME ZONE 'utc';
    IF p_purpose = 'renewal' AND NOT EXISTS (
           SELECT 1 FROM subscriptions s
           WHERE s.user_id = p_user_id AND s.id = p_subscription_id AND s.status = 'active'
             AND NOT s.cancel_at_period_end AND s.current_period_end <= present) THEN
        RETURN;
    END IF;
    SELECT * INTO payment FROM payments p WHERE p.user_id = p_user_id AND p.id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO payments (user_id, id, purpose, token_package, plan, amount, currency, status,
                              tokens_amount, subscription_id, renews, credit_days, request_body,
                              request_hash, created_at, next_check_at)
        VALUES (p_user_id, p_id, p_purpose, p_token_package, p_plan, p_amount::numeric,
                p_currency, 'pending', p_tokens_amount, p_subscription_id, p_renews,
                CASE p_purpose WHEN 'subscription' THEN coalesce(
                    (SELECT c.days FROM subscription_credit(p_user_id, p_plan, p_amount::numeric,
                                                            present) c), 0)
                ELSE 0 END,
                p_request_body, p_request_hash, present, present + lease)
        RETURNING * INTO payment;
        outcome := 'done';
    ELSIF payment.request_hash IS DISTINCT FROM p_request_hash THEN
        outcome := 'reused';
    ELSIF payment.yookassa_payment_id IS NOT NULL OR payment.status <> 'pending' THEN
        outcome := 'replayed';
    ELSIF p_request_hash IS NULL AND p_purpose <> 'renewal' THEN
        -- An id nobody else can have: this very call, whose answer was lost.
        outcome := 'done';
    ELSIF payment.next_check_at > present OR payment.request_body IS NULL
          OR payment.created_at < present - interval '23 hours' THEN
        outcome := 'in_progress';
    ELSE
        UPDATE payments p SET next_check_at = present + lease, repeated = true
        WHERE p.user_id = p_user_id AND p.id = p_id
        RETURNING * INTO payment;
        outcome := 'done';
    END IF;
    RETURN NEXT;
END
$$;
