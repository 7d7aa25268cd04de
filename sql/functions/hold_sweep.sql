-- Releases the expired holds of the accounts of the p_limit oldest ones, for the background sweep.
-- Returns the number of accounts; one that somebody is working on is left for later.
CREATE OR REPLACE FUNCTION hold_sweep(p_limit int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    present timestamp := clock_timestamp() AT TIME ZONE 'utc'; -- a constant for the index
    owner uuid;
    swept int := 0;
BEGIN
    FOR owner IN
        SELECT DISTINCT due.user_id
        FROM (SELECT h.user_id FROM token_holds h
              WHERE h.status = 'pending' AND h.expires_at <= present
              ORDER BY h.expires_at LIMIT p_limit) due
    LOOP
        PERFORM 1 FROM user_tokens t WHERE t.user_id = owner FOR UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        PERFORM hold_release_expired(owner);
        swept := swept + 1;
    END LOOP;
    RETURN swept;
END
$$;
