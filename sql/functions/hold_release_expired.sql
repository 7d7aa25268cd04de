-- Releases the account's holds that have expired. The caller has locked the account's balance row.
CREATE OR REPLACE FUNCTION hold_release_expired(p_user_id uuid) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    present timestamp := clock_timestamp() AT TIME ZONE 'utc';
    freed int;
    following timestamp;
BEGIN
    WITH expired AS (
        UPDATE token_holds h SET status = 'released', settled_at = h.expires_at
        WHERE h.user_id = p_user_id AND h.status = 'pending' AND h.expires_at <= present
        RETURNING h.amount
    )
    SELECT coalesce(sum(e.amount), 0) INTO freed FROM expired e;
    SELECT min(h.expires_at) INTO following FROM token_holds h
    WHERE h.user_id = p_user_id AND h.status = 'pending';
    UPDATE user_tokens t SET held = t.held - freed, next_hold_expiry = following
    WHERE t.user_id = p_user_id;
END
$$;
