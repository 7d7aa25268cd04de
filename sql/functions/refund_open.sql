-- As payment_open. outcome also: not_paid (or no such payment), too_much (refunds, pending ones
-- included, would pass the payment's amount); refund is then what it would have been.
CREATE OR REPLACE FUNCTION refund_open(p_user_id uuid, p_id uuid, p_payment_id uuid, p_amount text,
                                       p_request_body text, p_request_hash bigint,
                                       p_lease_seconds int)
RETURNS TABLE (outcome text, refund payment_refunds)
LANGUAGE plpgsql AS $$
DECLARE
    present timestamp;
    lease interval := make_interval(secs => p_lease_seconds);
    paid payments%ROWTYPE;
BEGIN
    SELECT * INTO paid FROM payments p
    WHERE p.user_id = p_user_id AND p.id = p_payment_id FOR UPDATE;
    present := clock_timestamp() AT TIME ZONE 'utc';
    SELECT * INTO refund FROM payment_refunds r
    WHERE r.user_id = p_user_id AND r.id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        refund.user_id := p_user_id;
        refund.id := p_id;
        refund.payment_id := p_payment_id;
        refund.provider_payment_id := coalesce(paid.yookassa_payment_id, '');
        refund.amount := p_amount;
        refund.currency := coalesce(paid.currency, '');
        refund.status := 'pending';
        refund.tokens_taken := 0;
        refund.tokens_owed := 0;
        refund.request_body := p_request_body;
        refund.request_hash := p_request_hash;
        refund.repeated := false;
        refund.next_check_at := present + lease;
        refund.created_at := present;
        IF paid.status NOT IN ('succeeded', 'refunded') OR paid.yookassa_payment_id IS NULL THEN
            outcome := 'not_paid';
        ELSIF refund.amount + coalesce((SELECT sum(r.amount) FROM payment_refunds r
                                        WHERE r.user_id = p_user_id
                                          AND r.payment_id = p_payment_id
                                          AND r.status <> 'canceled'), 0) > paid.amount THEN
            outcome := 'too_much';
        ELSE
            INSERT INTO payment_refunds (user_id, id, payment_id, provider_payment_id, amount,
                                         currency, request_body, request_hash, next_check_at,
                                         created_at)
            VALUES (p_user_id, p_id, p_payment_id, refund.provider_payment_id, refund.amount,
                    refund.currency, p_request_body, p_request_hash, refund.next_check_at,
                    present);
            outcome := 'done';
        END IF;
    ELSIF refund.payment_id <> p_payment_id
          OR refund.request_hash IS DISTINCT FROM p_request_hash THEN
        outcome := 'reused';
    ELSIF refund.yookassa_refund_id IS NOT NULL OR refund.status <> 'pending' THEN
        outcome := 'replayed';
    ELSIF p_request_hash IS NULL THEN
        outcome := 'done'; -- this very call, whose answer was lost
    ELSIF refund.next_check_at > present OR refund.request_body IS NULL
          OR refund.created_at < present - interval '23 hours' THEN
        outcome := 'in_progress';
    ELSE
        UPDATE payment_refunds r SET next_check_at = present + lease, repeated = true
        WHERE r.user_id = p_user_id AND r.id = p_id
        RETURNING * INTO refund;
        outcome := 'done';
    END IF;
    RETURN NEXT;
END
$$;
