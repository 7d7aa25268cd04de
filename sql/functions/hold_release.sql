-- Gives a hold back. outcome: done (also when it was released or had expired before), not_pending
-- (captured), not_found. No row: no such account.
CREATE OR REPLACE FUNCTION hold_release(p_user_id uuid, p_hold_id uuid)
RETURNS TABLE (outcome text, balance int)
LANGUAGE plpgsql AS $$
DECLARE
    account record;
    prior token_holds%ROWTYPE;
    stamp timestamp;
BEGIN
    SELECT * INTO account FROM account_lock(p_user_id);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO prior FROM token_holds h WHERE h.user_id = p_user_id AND h.id = p_hold_id;
    IF NOT FOUND THEN
        RETURN QUERY SELECT 'not_found', 0;
    ELSIF prior.status = 'captured' THEN
        RETURN QUERY SELECT 'not_pending', account.balance - account.held;
    ELSIF prior.status = 'released' THEN
        RETURN QUERY SELECT 'done', account.balance - account.held;
    ELSE
        UPDATE user_tokens t
        SET held = t.held - prior.amount,
            next_hold_expiry = (SELECT min(h.expires_at) FROM token_holds h
                                WHERE h.user_id = p_user_id AND h.status = 'pending'
                                  AND h.id <> p_hold_id),
            updated_at = greatest(clock_timestamp() AT TIME ZONE 'utc',
                                  t.updated_at + interval '1 microsecond')
        WHERE t.user_id = p_user_id
        RETURNING t.updated_at INTO stamp;
        UPDATE token_holds h SET status = 'released', settled_at = stamp
        WHERE h.user_id = p_user_id AND h.id = p_hold_id;
        RETURN QUERY SELECT 'done', account.balance - account.held + prior.amount;
    END IF;
END
$$;
