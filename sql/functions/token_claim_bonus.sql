-- The daily bonus, once a day of the database's UTC date. outcome: done, replayed (the same
-- operation), claimed (by another one), reused (the key came with another request), in_progress
-- (the first one is not through). No row: no such open account.
CREATE OR REPLACE FUNCTION token_claim_bonus(p_user_id uuid, p_operation_id uuid,
                                             p_request_hash bigint)
RETURNS TABLE (outcome text, tokens_awarded int, balance int)
LANGUAGE plpgsql AS $$
DECLARE
    today date := (now() AT TIME ZONE 'utc')::date;
    bonus_min int := coalesce((SELECT s.value FROM app_settings s
                               WHERE s.name = 'daily_bonus_min'), 1);
    bonus_max int := coalesce((SELECT s.value FROM app_settings s
                               WHERE s.name = 'daily_bonus_max'), 10);
    awarded int := bonus_min + floor(random() * (bonus_max - bonus_min + 1))::int;
    account record;
    prior record;
    total int;
    stamp timestamp;
BEGIN
    IF p_request_hash IS NOT NULL
       AND NOT pg_try_advisory_xact_lock(hashtextextended(p_operation_id::text, 0)) THEN
        RETURN QUERY SELECT 'in_progress', 0, 0;
        RETURN;
    END IF;
    SELECT * INTO account FROM account_lock(p_user_id);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    awarded := least(awarded, 2147483647 - account.balance);
    UPDATE user_tokens t
    SET balance = t.balance + awarded, last_bonus_date = today,
        updated_at = greatest(clock_timestamp() AT TIME ZONE 'utc',
                              t.updated_at + interval '1 microsecond')
    WHERE t.user_id = p_user_id AND (t.last_bonus_date IS NULL OR t.last_bonus_date < today)
      AND NOT EXISTS (SELECT 1 FROM token_transactions e
                      WHERE e.user_id = p_user_id AND e.id = p_operation_id)
    RETURNING t.balance, t.updated_at INTO total, stamp;
    IF FOUND THEN
        INSERT INTO token_transactions (user_id, id, amount, type, description, balance_after,
                                        held_after, request_hash, created_at)
        VALUES (p_user_id, p_operation_id, awarded, 'bonus', 'Ежедневный бонус', total,
                account.held, p_request_hash, stamp);
        RETURN QUERY SELECT 'done', awarded, total - account.held;
        RETURN;
    END IF;
    SELECT e.amount, e.balance_after - e.held_after AS answer, e.request_hash INTO prior
    FROM token_transactions e WHERE e.user_id = p_user_id AND e.id = p_operation_id;
    IF FOUND THEN
        RETURN QUERY SELECT CASE WHEN prior.request_hash IS NOT DISTINCT FROM p_request_hash
                                 THEN 'replayed' ELSE 'reused' END, prior.amount, prior.answer;
    ELSE
        RETURN QUERY SELECT 'claimed', 0, account.balance - account.held;
    END IF;
END
$$;
