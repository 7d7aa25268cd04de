-- One movement: guard, balance, entry and answer together. p_amount is negative for a spend.
-- p_request_hash: of a request with an Idempotency-Key, which p_id is then made of; NULL without.
-- outcome: done, replayed, insufficient, limit (the balance would pass 2^31 - 1), reused (the key
-- came with another request), in_progress (the first one is not through). No row: no such account.
-- balance: what can be spent, after the movement or without it.
-- A p_id that exists without a request hash is replayed where the movement would not be possible
-- now, and else raises unique_violation: the caller sent it before.
CREATE OR REPLACE FUNCTION ledger_post(p_user_id uuid, p_id uuid, p_amount int, p_type text,
                                       p_description text, p_request_hash bigint)
RETURNS TABLE (outcome text, balance int)
LANGUAGE plpgsql AS $$
DECLARE
    total int;
    held_now int;
    stamp timestamp;
    prior_hash bigint;
    prior_balance int;
    is_open boolean;
BEGIN
    IF p_request_hash IS NOT NULL THEN
        IF NOT pg_try_advisory_xact_lock(hashtextextended(p_id::text, 0)) THEN
            RETURN QUERY SELECT 'in_progress', 0;
            RETURN;
        END IF;
        -- Flights have no lock on the key: who has the account's row waits for them. It is a
        -- write, so that a replayed answer waits for the standby too: the first one may have been
        -- cut off while it waited, with its entry visible here and nowhere else yet.
        PERFORM 1 FROM user_tokens t WHERE t.user_id = p_user_id FOR UPDATE;
        SELECT e.request_hash, e.balance_after - e.held_after INTO prior_hash, prior_balance
        FROM token_transactions e WHERE e.user_id = p_user_id AND e.id = p_id;
        IF FOUND THEN
            RETURN QUERY SELECT CASE WHEN prior_hash = p_request_hash THEN 'replayed'
                                     ELSE 'reused' END, prior_balance;
            RETURN;
        END IF;
        -- A capture writes an entry of the hold's id, so a hold's key is no movement's.
        PERFORM 1 FROM token_holds h WHERE h.user_id = p_user_id AND h.id = p_id;
        IF FOUND THEN
            RETURN QUERY SELECT 'reused', 0;
            RETURN;
        END IF;
    END IF;
    UPDATE user_tokens t
    SET balance = t.balance + p_amount,
        updated_at = greatest(clock_timestamp() AT TIME ZONE 'utc',
                              t.updated_at + interval '1 microsecond')
    WHERE t.user_id = p_user_id AND t.closed_at IS NULL
      AND t.balance - t.held >= -p_amount
      AND t.balance <= 2147483647 - greatest(p_amount, 0)
      AND (t.next_hold_expiry IS NULL
           OR t.next_hold_expiry > (clock_timestamp() AT TIME ZONE 'utc'))
    RETURNING t.balance, t.held, t.updated_at INTO total, held_now, stamp;
    IF NOT FOUND THEN
        SELECT a.balance, a.held INTO total, held_now FROM account_lock(p_user_id) a;
        is_open := FOUND;
        -- This very operation may be what stands in the way, done before and its answer lost: it
        -- took the balance to where it is, or its account was linked to another one since.
        SELECT e.balance_after - e.held_after INTO prior_balance
        FROM token_transactions e WHERE e.user_id = p_user_id AND e.id = p_id;
        IF FOUND THEN
            PERFORM 1 FROM user_tokens t WHERE t.user_id = p_user_id FOR UPDATE;
            RETURN QUERY SELECT 'replayed', prior_balance;
            RETURN;
        END IF;
        IF NOT is_open THEN
            RETURN;
        END IF;
        IF total > 2147483647 - greatest(p_amount, 0) THEN
            RETURN QUERY SELECT 'limit', total - held_now;
            RETURN;
        END IF;
        IF total - held_now < -p_amount THEN
            RETURN QUERY SELECT 'insufficient', total - held_now;
            RETURN;
        END IF;
        UPDATE user_tokens t
        SET balance = t.balance + p_amount,
            updated_at = greatest(clock_timestamp() AT TIME ZONE 'utc',
                                  t.updated_at + interval '1 microsecond')
        WHERE t.user_id = p_user_id
        RETURNING t.balance, t.held, t.updated_at INTO total, held_now, stamp;
    END IF;
    INSERT INTO token_transactions (user_id, id, amount, type, description, balance_after,
                                    held_after, request_hash, created_at)
    VALUES (p_user_id, p_id, p_amount, p_type, p_description, total, held_now, p_request_hash,
            stamp);
    RETURN QUERY SELECT 'done', total - held_now;
END
$$;
