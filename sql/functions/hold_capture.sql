-- Takes p_amount (NULL: all) of a hold off the balance and releases the rest. The entry has the
-- hold's id. p_settle_id: of this request; the same one is answered the same.
-- outcome: done, replayed, reused, in_progress, not_pending, too_much, not_found. No row: no such
-- account.
CREATE OR REPLACE FUNCTION hold_capture(p_user_id uuid, p_hold_id uuid, p_amount int,
                                        p_settle_id uuid, p_request_hash bigint)
RETURNS TABLE (outcome text, balance int)
LANGUAGE plpgsql AS $$
DECLARE
    account record;
    prior token_holds%ROWTYPE;
    taken int;
    total int;
    held_now int;
    stamp timestamp;
BEGIN
    IF p_request_hash IS NOT NULL
       AND NOT pg_try_advisory_xact_lock(hashtextextended(p_settle_id::text, 0)) THEN
        RETURN QUERY SELECT 'in_progress', 0;
        RETURN;
    END IF;
    SELECT * INTO account FROM account_lock(p_user_id);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO prior FROM token_holds h WHERE h.user_id = p_user_id AND h.id = p_hold_id;
    IF NOT FOUND THEN
        RETURN QUERY SELECT 'not_found', 0;
        RETURN;
    END IF;
    IF prior.status = 'captured' AND prior.settle_id = p_settle_id THEN
        -- The hold moves when its account is linked to another one, the entry of its capture stays.
        RETURN QUERY
            SELECT CASE WHEN prior.settle_hash IS NOT DISTINCT FROM p_request_hash
                        THEN 'replayed' ELSE 'reused' END, e.balance_after - e.held_after
            FROM token_transactions e
            WHERE e.id = p_hold_id
              AND e.user_id IN (SELECT u.id FROM users u
                                WHERE u.id = p_user_id OR u.merged_into = p_user_id)
            LIMIT 1;
        RETURN;
    END IF;
    IF prior.status <> 'pending' THEN
        RETURN QUERY SELECT 'not_pending', account.balance - account.held;
        RETURN;
    END IF;
    taken := coalesce(p_amount, prior.amount);
    IF taken > prior.amount THEN
        RETURN QUERY SELECT 'too_much', account.balance - account.held;
        RETURN;
    END IF;
    UPDATE user_tokens t
    SET balance = t.balance - taken, held = t.held - prior.amount,
        next_hold_expiry = (SELECT min(h.expires_at) FROM token_holds h
                            WHERE h.user_id = p_user_id AND h.status = 'pending'
                              AND h.id <> p_hold_id),
        updated_at = greatest(clock_timestamp() AT TIME ZONE 'utc',
                              t.updated_at + interval '1 microsecond')
    WHERE t.user_id = p_user_id
    RETURNING t.balance, t.held, t.updated_at INTO total, held_now, stamp;
    UPDATE token_holds h
    SET status = 'captured', settled_at = stamp, settle_id = p_settle_id,
        settle_hash = p_request_hash
    WHERE h.user_id = p_user_id AND h.id = p_hold_id;
    INSERT INTO token_transactions (user_id, id, amount, type, description, balance_after,
                                    held_after, operation_id, request_hash, created_at)
    VALUES (p_user_id, p_hold_id, -taken, 'generation', prior.description, total, held_now,
            p_settle_id, p_request_hash, stamp);
    RETURN QUERY SELECT 'done', total - held_now;
END
$$;
