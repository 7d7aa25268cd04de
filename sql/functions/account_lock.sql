-- Locks the account's balance row and releases what has expired. No row: no such open account.
CREATE OR REPLACE FUNCTION account_lock(p_user_id uuid)
RETURNS TABLE (balance int, held int, updated_at timestamp)
LANGUAGE plpgsql AS $$
DECLARE
    due timestamp;
BEGIN
    SELECT t.next_hold_expiry INTO due FROM user_tokens t
    WHERE t.user_id = p_user_id AND t.closed_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF due <= (clock_timestamp() AT TIME ZONE 'utc') THEN
        PERFORM hold_release_expired(p_user_id);
    END IF;
    RETURN QUERY SELECT t.balance, t.held, t.updated_at FROM user_tokens t
                 WHERE t.user_id = p_user_id;
END
$$;
