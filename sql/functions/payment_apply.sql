-- What the provider says of a payment: its status, and with it tokens or a period, in one.
-- p_test_accepted: whether payments of a test shop count. p_payment_method_id: NULL unless saved.
-- outcome: applied (the status went on), unchanged (it was there already, or further), conflict
-- (nothing changed), uncredited (paid, and nothing given for it). kind: of the difference, which is
-- written down, with the last two. No row: no such payment of this user.
CREATE OR REPLACE FUNCTION payment_apply(p_user_id uuid, p_id uuid, p_provider_id text,
                                         p_status text, p_amount text, p_currency text,
                                         p_test boolean, p_test_accepted boolean,
                                         p_confirmation_url text, p_payment_method_id text,
                                         p_cancellation_reason text)
RETURNS TABLE (outcome text, kind text)
LANGUAGE plpgsql AS $$
DECLARE
    paid payments%ROWTYPE;
    holder payment_references%ROWTYPE;
    ours text;
    following text;
    tokens int;
    is_open boolean;
BEGIN
    PERFORM 1 FROM user_tokens t WHERE t.user_id = p_user_id FOR UPDATE;
    SELECT * INTO paid FROM payments p WHERE p.user_id = p_user_id AND p.id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- Given up because the provider did not show it in time; it may still.
    ours := CASE WHEN paid.status = 'canceled' AND paid.yookassa_payment_id IS NULL
                 THEN 'pending' ELSE paid.status END;
    is_open := ours IN ('pending', 'waiting_for_capture');
    kind := CASE WHEN paid.yookassa_payment_id <> p_provider_id THEN 'other_provider_id'
                 WHEN paid.amount <> p_amount::numeric THEN 'other_amount'
                 WHEN paid.currency <> p_currency THEN 'other_currency'
                 WHEN is_open AND p_test AND NOT p_test_accepted THEN 'test_payment'
                 WHEN p_status = 'canceled' AND ours IN ('succeeded', 'refunded')
                   OR p_status = 'succeeded' AND NOT is_open
                      AND ours NOT IN ('succeeded', 'refunded') THEN 'way_back' END;
    IF kind IS NULL AND is_open AND paid.yookassa_payment_id IS NULL THEN
        INSERT INTO payment_references AS r (provider_id, user_id, payment_id)
        VALUES (p_provider_id, p_user_id, p_id)
        ON CONFLICT (provider_id) DO UPDATE SET provider_id = excluded.provider_id
        RETURNING * INTO holder;
        IF (holder.user_id, holder.payment_id) <> (p_user_id, p_id) THEN
            kind := 'other_provider_id';
        END IF;
    END IF;
    IF kind IS NOT NULL THEN
        PERFORM payment_difference(
            p_user_id, p_id, p_provider_id, kind,
            format('here %s %s %s, %s; there %s %s %s%s', paid.status, paid.amount,
                   paid.currency, coalesce(paid.yookassa_payment_id, 'no provider id'), p_status,
                   p_amount, p_currency, CASE WHEN p_test THEN ', test' ELSE '' END));
        outcome := 'conflict';
        RETURN NEXT;
        RETURN;
    END IF;

    following := CASE WHEN is_open AND p_status <> 'pending' THEN p_status ELSE ours END;
    IF is_open AND p_status = 'succeeded' THEN
        IF paid.purpose = 'tokens' THEN
            tokens := coalesce(paid.tokens_amount, (SELECT k.tokens FROM token_packages k
                                                    WHERE k.package = paid.token_package));
            kind := payment_credit(p_user_id, p_id, tokens);
        ELSE
            kind := subscription_paid(
                p_user_id, paid,
                CASE paid.purpose WHEN 'subscription' THEN p_payment_method_id END);
        END IF;
        -- These an operator or the person can put right; it is tried again until then.
        IF kind IN ('balance_limit', 'unknown_package') THEN
            following := ours;
        END IF;
    ELSIF following = 'canceled' AND is_open AND paid.status <> 'canceled'
          AND paid.purpose = 'renewal' THEN
        -- One that was given up has been counted then.
        PERFORM subscription_unpaid(p_user_id, paid.subscription_id, paid.created_at,
                                    p_cancellation_reason);
    END IF;
    IF kind IS NULL THEN
        PERFORM payment_agrees(p_provider_id, paid.purpose = 'subscription' AND paid.renews
                                              AND paid.yookassa_payment_id IS NULL);
    ELSE
        PERFORM payment_difference(p_user_id, p_id, p_provider_id, kind,
                                format('paid %s %s for %s', paid.amount, paid.currency,
                                       coalesce(paid.plan, tokens || ' tokens', 'nothing known')));
    END IF;

    outcome := CASE WHEN kind IS NOT NULL THEN 'uncredited'
                    WHEN following <> paid.status THEN 'applied' ELSE 'unchanged' END;
    IF is_open THEN
        UPDATE payments p
        SET yookassa_payment_id = p_provider_id, status = following, request_body = NULL,
            confirmation_url = coalesce(p_confirmation_url, p.confirmation_url),
            cancellation_reason = CASE following WHEN 'canceled' THEN p_cancellation_reason END,
            tokens_amount = coalesce(p.tokens_amount, tokens),
            next_check_at = CASE WHEN following IN ('pending', 'waiting_for_capture')
                                 THEN (clock_timestamp() AT TIME ZONE 'utc')
                                      + payment_check_after(p.created_at, true) END,
            succeeded_at = CASE following WHEN 'succeeded'
                                          THEN clock_timestamp() AT TIME ZONE 'utc' END
        WHERE p.user_id = p_user_id AND p.id = p_id;
    END IF;
    RETURN NEXT;
END
$$;
