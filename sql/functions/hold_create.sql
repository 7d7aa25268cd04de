-- Sets tokens aside for p_ttl_seconds. outcome: done, replayed, insufficient, reused, in_progress.
CREATE OR REPLACE FUNCTION hold_create(p_user_id uuid, p_id uuid, p_amount int, p_ttl_seconds int,
                                       p_description text, p_request_hash bigint)
RETURNS TABLE (outcome text, balance int, held int, expires_at timestamp)
LANGUAGE plpgsql AS $$
DECLARE
    account record;
    prior token_holds%ROWTYPE;
    due timestamp;
    stamp timestamp;
BEGIN
    IF p_request_hash IS NOT NULL
       AND NOT pg_try_advisory_xact_lock(hashtextextended(p_id::text, 0)) THEN
        RETURN QUERY SELECT 'in_progress', 0, 0, NULL::timestamp;
        RETURN;
    END IF;
    SELECT * INTO account FROM account_lock(p_user_id);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO prior FROM token_holds h WHERE h.user_id = p_user_id AND h.id = p_id;
    IF FOUND THEN
        RETURN QUERY SELECT CASE WHEN prior.request_hash IS NOT DISTINCT FROM p_request_hash
                                 THEN 'replayed' ELSE 'reused' END,
                            prior.answer_balance, prior.answer_held, prior.expires_at;
        RETURN;
    END IF;
    IF p_request_hash IS NOT NULL THEN
        PERFORM 1 FROM token_transactions e WHERE e.user_id = p_user_id AND e.id = p_id;
        IF FOUND THEN
            RETURN QUERY SELECT 'reused', 0, 0, NULL::timestamp;
            RETURN;
        END IF;
    END IF;
    IF account.balance - account.held < p_amount THEN
        RETURN QUERY SELECT 'insufficient', account.balance - account.held, account.held,
                            NULL::timestamp;
        RETURN;
    END IF;
    due := (clock_timestamp() AT TIME ZONE 'utc') + make_interval(secs => p_ttl_seconds);
    UPDATE user_tokens t
    SET held = t.held + p_amount, next_hold_expiry = least(t.next_hold_expiry, due),
        updated_at = greatest(clock_timestamp() AT TIME ZONE 'utc',
                              t.updated_at + interval '1 microsecond')
    WHERE t.user_id = p_user_id
    RETURNING t.updated_at INTO stamp;
    INSERT INTO token_holds (user_id, id, amount, description, expires_at, created_at,
                             request_hash, answer_balance, answer_held)
    VALUES (p_user_id, p_id, p_amount, p_description, due, stamp, p_request_hash,
            account.balance - account.held - p_amount, account.held + p_amount);
    RETURN QUERY SELECT 'done', account.balance - account.held - p_amount,
                        account.held + p_amount, due;
END
$$;
