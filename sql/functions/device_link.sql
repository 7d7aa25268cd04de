-- Moves everything of a device's account to a Clerk account, at once and once. The balance goes
-- over as two ledger entries, a bonus both got is taken off by a third; entries themselves never
-- move.
-- outcome: linked, already_linked (to this account), linked_elsewhere (or no device's account), or
-- no row: one of the two does not exist.
CREATE OR REPLACE FUNCTION device_link(p_user_id uuid, p_device_user_id uuid, p_operation_id uuid,
                                       p_correction_id uuid)
RETURNS TABLE (outcome text, moved_tokens int)
LANGUAGE plpgsql AS $$
DECLARE
    present timestamp;
    account users%ROWTYPE;
    device users%ROWTYPE;
    theirs user_tokens%ROWTYPE;
    ours user_tokens%ROWTYPE;
    doubled int;
BEGIN
    -- In key order, so that two links of the same pair wait instead of deadlocking. NO KEY: a
    -- movement that changes a balance twice checks its foreign key, having locked the balance.
    PERFORM 1 FROM users u WHERE u.id IN (p_user_id, p_device_user_id)
    ORDER BY u.id FOR NO KEY UPDATE;
    SELECT * INTO account FROM users u WHERE u.id = p_user_id;
    SELECT * INTO device FROM users u WHERE u.id = p_device_user_id;
    IF account.id IS NULL OR device.id IS NULL OR account.merged_into IS NOT NULL
       OR account.erased_at IS NOT NULL THEN
        RETURN;
    END IF;
    IF p_user_id = p_device_user_id OR device.merged_into = p_user_id THEN
        RETURN QUERY SELECT 'already_linked', 0;
        RETURN;
    END IF;
    IF device.merged_into IS NOT NULL OR device.clerk_id IS NOT NULL
       OR device.erased_at IS NOT NULL THEN
        RETURN QUERY SELECT 'linked_elsewhere', 0;
        RETURN;
    END IF;

    -- In key order as well; what has expired is released, so that it counts for the correction.
    PERFORM account_lock(least(p_user_id, p_device_user_id));
    PERFORM account_lock(greatest(p_user_id, p_device_user_id));
    SELECT * INTO ours FROM user_tokens t WHERE t.user_id = p_user_id;
    SELECT * INTO theirs FROM user_tokens t WHERE t.user_id = p_device_user_id;
    present := greatest(clock_timestamp() AT TIME ZONE 'utc',
                        ours.updated_at + interval '1 microsecond',
                        theirs.updated_at + interval '1 microsecond');
    doubled := least(bonus_sum_doubled(p_user_id, p_device_user_id),
                     ours.balance - ours.held + theirs.balance - theirs.held);

    -- A microsecond apart, so that the order of entries is the order of balances, and so that a
    -- cursor of time and id tells the two entries of one transfer apart.
    IF theirs.balance > 0 THEN
        INSERT INTO token_transactions
            (user_id, id, amount, type, description, balance_after, held_after,
             created_at)
        VALUES (p_device_user_id, p_operation_id, -theirs.balance, 'refund',
                'Перенос на аккаунт', 0, 0, present),
               (p_user_id, p_operation_id, theirs.balance, 'refund', 'Перенос с устройства',
                ours.balance + theirs.balance, ours.held + theirs.held,
                present + interval '1 microsecond');
    END IF;
    IF doubled > 0 THEN
        INSERT INTO token_transactions
            (user_id, id, amount, type, description, balance_after, held_after, created_at)
        VALUES (p_user_id, p_correction_id, -doubled, 'bonus', 'Бонус уже был начислен',
                ours.balance + theirs.balance - doubled, ours.held + theirs.held,
                present + interval '2 microseconds');
    END IF;
    UPDATE user_tokens t
    SET balance = 0, held = 0, next_hold_expiry = NULL, closed_at = present,
        updated_at = present
    WHERE t.user_id = p_device_user_id;
    UPDATE user_tokens t
    SET balance = ours.balance + theirs.balance - doubled, held = ours.held + theirs.held,
        next_hold_expiry = least(ours.next_hold_expiry, theirs.next_hold_expiry),
        last_bonus_date = greatest(ours.last_bonus_date, theirs.last_bonus_date),
        updated_at = present + interval '2 microseconds'
    WHERE t.user_id = p_user_id;

    WITH moved AS (DELETE FROM token_holds h WHERE h.user_id = p_device_user_id RETURNING h.*)
    INSERT INTO token_holds (user_id, id, amount, status, description, expires_at, created_at,
                             settled_at, settle_id, settle_hash, request_hash, answer_balance,
                             answer_held, linked_from)
    SELECT p_user_id, m.id, m.amount, m.status, m.description, m.expires_at, m.created_at,
           m.settled_at, m.settle_id, m.settle_hash, m.request_hash, m.answer_balance,
           m.answer_held, p_device_user_id
    FROM moved m;
    WITH moved AS (DELETE FROM generations g WHERE g.user_id = p_device_user_id RETURNING g.*)
    INSERT INTO generations (user_id, id, image_url, prompt_used, trend, quality, created_at,
                             status, error_message, updated_at)
    SELECT p_user_id, m.id, m.image_url, m.prompt_used, m.trend, m.quality, m.created_at,
           m.status, m.error_message, m.updated_at
    FROM moved m;
    WITH moved AS (DELETE FROM user_uploads f WHERE f.user_id = p_device_user_id RETURNING f.*)
    INSERT INTO user_uploads (user_id, id, url, file_path, quality_score, mime_type, created_at)
    SELECT p_user_id, m.id, m.url, m.file_path, m.quality_score, m.mime_type, m.created_at
    FROM moved m;
    WITH moved AS (DELETE FROM usage_logs l WHERE l.user_id = p_device_user_id RETURNING l.*)
    INSERT INTO usage_logs (user_id, id, action, ip_address, created_at, request_hash,
                            answer_used, answer_limit, answer_reset_at)
    SELECT p_user_id, m.id, m.action, m.ip_address, m.created_at, m.request_hash,
           m.answer_used, m.answer_limit, m.answer_reset_at
    FROM moved m;
    WITH moved AS (DELETE FROM payments p WHERE p.user_id = p_device_user_id RETURNING p.*)
    INSERT INTO payments (user_id, id, yookassa_payment_id, amount, currency, status,
                          token_package, tokens_amount, created_at, purpose, plan,
                          subscription_id, refunded_amount, confirmation_url,
                          cancellation_reason, request_body, request_hash, repeated,
                          next_check_at, succeeded_at, renews, credit_days)
    SELECT p_user_id, m.id, m.yookassa_payment_id, m.amount, m.currency, m.status,
           m.token_package, m.tokens_amount, m.created_at, m.purpose, m.plan,
           m.subscription_id, m.refunded_amount, m.confirmation_url,
           m.cancellation_reason, m.request_body, m.request_hash, m.repeated,
           m.next_check_at, m.succeeded_at, m.renews, m.credit_days
    FROM moved m;
    WITH moved AS (DELETE FROM payment_refunds r WHERE r.user_id = p_device_user_id RETURNING r.*)
    INSERT INTO payment_refunds (user_id, id, payment_id, yookassa_refund_id,
                                 provider_payment_id, amount, currency, status, tokens_taken,
                                 tokens_owed, request_body, request_hash, repeated,
                                 next_check_at, created_at)
    SELECT p_user_id, m.id, m.payment_id, m.yookassa_refund_id,
           m.provider_payment_id, m.amount, m.currency, m.status, m.tokens_taken,
           m.tokens_owed, m.request_body, m.request_hash, m.repeated,
           m.next_check_at, m.created_at
    FROM moved m;
    -- One active subscription a user: the account's own comes first, if it is in force.
    UPDATE subscriptions s
    SET status = 'expired', payment_method_id = NULL, next_check_at = NULL, updated_at = present
    WHERE s.user_id = p_user_id AND s.status = 'active'
      AND (s.plan = 'free' OR s.current_period_end <= present)
      AND EXISTS (SELECT 1 FROM subscriptions d
                  WHERE d.user_id = p_device_user_id AND d.status = 'active' AND d.plan <> 'free'
                    AND coalesce(d.current_period_end > present, true));
    PERFORM payment_difference(
        p_user_id, paid.id, coalesce(paid.yookassa_payment_id, d.id::text), 'subscription_closed',
        format('linked: %s until %s gives way to %s', d.plan,
               coalesce(d.current_period_end::text, 'it is cancelled'), s.plan))
    FROM subscriptions d
    JOIN subscriptions s ON s.user_id = p_user_id AND s.status = 'active'
    LEFT JOIN LATERAL (SELECT p.id, p.yookassa_payment_id FROM payments p
                       WHERE p.user_id = p_user_id AND p.subscription_id = d.id
                         AND p.status = 'succeeded'
                       ORDER BY p.created_at DESC LIMIT 1) paid ON true
    WHERE d.user_id = p_device_user_id AND d.status = 'active' AND d.plan <> 'free'
      AND coalesce(d.current_period_end > present, true);
    WITH moved AS (DELETE FROM subscriptions s WHERE s.user_id = p_device_user_id RETURNING s.*)
    INSERT INTO subscriptions (user_id, id, plan, status, current_period_start,
                               current_period_end, yookassa_subscription_id, created_at,
                               updated_at, payment_method_id, cancel_at_period_end,
                               renewal_attempts, period_anchor, period_months, next_check_at,
                               grace_until, paid_amount)
    SELECT p_user_id, m.id, m.plan,
           CASE WHEN m.status = 'active' AND other.there THEN 'cancelled' ELSE m.status END,
           m.current_period_start, m.current_period_end, m.yookassa_subscription_id,
           m.created_at, m.updated_at,
           CASE WHEN NOT other.there THEN m.payment_method_id END, m.cancel_at_period_end,
           m.renewal_attempts, m.period_anchor, m.period_months,
           CASE WHEN NOT other.there THEN m.next_check_at END, m.grace_until, m.paid_amount
    FROM moved m
    CROSS JOIN (SELECT EXISTS (SELECT 1 FROM subscriptions s
                               WHERE s.user_id = p_user_id AND s.status = 'active')) other (there);

    IF device.used_before > coalesce(account.used_before, '-infinity') THEN
        UPDATE users u SET used_before = device.used_before WHERE u.id = p_user_id;
    END IF;
    UPDATE users u SET merged_into = p_user_id, updated_at = present
    WHERE u.id = p_device_user_id OR u.merged_into = p_device_user_id;
    UPDATE user_identities i SET user_id = p_user_id WHERE i.user_id = p_device_user_id;
    UPDATE payment_references i SET user_id = p_user_id WHERE i.user_id = p_device_user_id;
    RETURN QUERY SELECT 'linked', theirs.balance;
END
$$;
