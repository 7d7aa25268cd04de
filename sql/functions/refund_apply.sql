-- What the provider says of a refund: its status, the tokens it takes back, and the payment's
-- refunded amount and status, in one. A refund that is not known, made in the provider's own pages,
-- is written down under p_id; also when its payment could not be credited yet: it is booked after
-- that.
-- Outcomes as payment_apply; uncredited: not all tokens could be taken. No row: no such payment of
-- this user.
CREATE OR REPLACE FUNCTION refund_apply(p_user_id uuid, p_id uuid, p_payment_id uuid,
                                        p_provider_id text, p_provider_payment_id text,
                                        p_status text, p_amount text, p_currency text)
RETURNS TABLE (outcome text, kind text)
LANGUAGE plpgsql AS $$
DECLARE
    paid payments%ROWTYPE;
    refund payment_refunds%ROWTYPE;
    known boolean;
    was text;
    total numeric;
BEGIN
    PERFORM 1 FROM user_tokens t WHERE t.user_id = p_user_id FOR UPDATE;
    SELECT * INTO paid FROM payments p
    WHERE p.user_id = p_user_id AND p.id = p_payment_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO refund FROM payment_refunds r
    WHERE r.user_id = p_user_id AND r.payment_id = p_payment_id
      AND (r.yookassa_refund_id = p_provider_id OR r.id = p_id)
    ORDER BY r.yookassa_refund_id = p_provider_id DESC NULLS LAST LIMIT 1 FOR UPDATE;
    known := FOUND;
    was := CASE WHEN NOT known OR refund.status = 'canceled' AND refund.yookassa_refund_id IS NULL
                THEN 'pending' ELSE refund.status END;
    kind := CASE WHEN paid.yookassa_payment_id IS DISTINCT FROM p_provider_payment_id
                   OR refund.yookassa_refund_id <> p_provider_id THEN 'other_provider_id'
                 WHEN refund.amount <> p_amount::numeric THEN 'other_amount'
                 WHEN paid.currency <> p_currency THEN 'other_currency'
                 WHEN was <> 'pending' AND p_status NOT IN ('pending', was)
                   OR p_status = 'succeeded' AND paid.status NOT IN ('succeeded', 'refunded')
                 THEN 'way_back' END;
    IF kind IS NOT NULL THEN
        PERFORM payment_difference(
            p_user_id, p_payment_id, p_provider_id, kind,
            format('refund here %s %s, of a payment %s %s, %s; there %s %s %s of %s',
                   coalesce(refund.status, 'unknown'), refund.amount, paid.status, paid.amount,
                   paid.yookassa_payment_id, p_status, p_amount, p_currency,
                   p_provider_payment_id));
        IF kind = 'way_back' AND paid.status IN ('pending', 'waiting_for_capture') THEN
            INSERT INTO payment_refunds (user_id, id, payment_id, yookassa_refund_id,
                                         provider_payment_id, amount, currency, next_check_at)
            VALUES (p_user_id, p_id, p_payment_id, p_provider_id, p_provider_payment_id,
                    p_amount::numeric, p_currency,
                    (clock_timestamp() AT TIME ZONE 'utc') + interval '10 minutes')
            ON CONFLICT (user_id, id) DO NOTHING;
        END IF;
        outcome := 'conflict';
        RETURN NEXT;
        RETURN;
    END IF;
    IF NOT known THEN
        INSERT INTO payment_refunds (user_id, id, payment_id, provider_payment_id, amount,
                                     currency)
        VALUES (p_user_id, p_id, p_payment_id, p_provider_payment_id, p_amount::numeric,
                p_currency)
        RETURNING * INTO refund;
    END IF;
    outcome := CASE WHEN p_status <> 'pending' AND was = 'pending'
                      OR was <> refund.status OR NOT known THEN 'applied' ELSE 'unchanged' END;
    PERFORM payment_agrees(p_provider_id, false);
    IF was = 'pending' THEN
        IF p_status = 'succeeded' THEN
            SELECT p_amount::numeric + coalesce(sum(r.amount), 0) INTO total
            FROM payment_refunds r
            WHERE r.user_id = p_user_id AND r.payment_id = p_payment_id
              AND r.status = 'succeeded';
            SELECT d.taken, d.owed INTO refund.tokens_taken, refund.tokens_owed
            FROM refund_debit(p_user_id, refund.id, paid, total) d;
            UPDATE payments p
            SET refunded_amount = total,
                status = CASE WHEN total >= p.amount THEN 'refunded' ELSE p.status END
            WHERE p.user_id = p_user_id AND p.id = p_payment_id;
            IF paid.purpose <> 'tokens' THEN
                kind := subscription_refunded(p_user_id, paid, p_amount::numeric,
                                              total >= paid.amount);
            END IF;
            IF kind IS NOT NULL THEN
                outcome := 'uncredited';
                PERFORM payment_difference(
                    p_user_id, p_payment_id, p_provider_id, kind,
                    format('refund of %s %s for %s, whose rest became days of another plan',
                           p_amount, p_currency, paid.plan));
            ELSIF refund.tokens_owed > 0 THEN
                kind := 'tokens_owed';
                outcome := 'uncredited';
                PERFORM payment_difference(p_user_id, p_payment_id, p_provider_id, kind,
                                        format('refund of %s %s: %s tokens taken, %s owed',
                                               p_amount, p_currency, refund.tokens_taken,
                                               refund.tokens_owed));
            END IF;
        END IF;
        UPDATE payment_refunds r
        SET yookassa_refund_id = p_provider_id, status = p_status, request_body = NULL,
            tokens_taken = refund.tokens_taken, tokens_owed = refund.tokens_owed,
            next_check_at = CASE p_status WHEN 'pending'
                            THEN (clock_timestamp() AT TIME ZONE 'utc')
                                 + payment_check_after(r.created_at, true) END
        WHERE r.user_id = p_user_id AND r.id = refund.id;
    END IF;
    RETURN NEXT;
END
$$;
