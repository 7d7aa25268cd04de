-- What changes a user's rows in more than one place. Each is one plpgsql function whose first
-- argument is the user, called outside BEGIN: one round trip, one commit, and a distributed
-- database sends it whole to the user's worker. Each can be repeated with the same operation id
-- and then answers what it answered first.

-- The daily bonus, once a day of the database's UTC date. No row: no such user.
CREATE OR REPLACE FUNCTION claim_daily_bonus(p_user_id uuid, p_operation_id uuid)
RETURNS TABLE (claimed boolean, tokens_awarded int, balance int)
LANGUAGE plpgsql AS $$
DECLARE
    today date := (now() AT TIME ZONE 'utc')::date;
    bonus_min int := coalesce((SELECT s.value FROM app_settings s
                               WHERE s.name = 'daily_bonus_min'), 1);
    bonus_max int := coalesce((SELECT s.value FROM app_settings s
                               WHERE s.name = 'daily_bonus_max'), 10);
    awarded int := bonus_min + floor(random() * (bonus_max - bonus_min + 1))::int;
    total int;
    held_now int;
BEGIN
    UPDATE user_tokens t
    SET balance = t.balance + awarded, last_bonus_date = today,
        updated_at = now() AT TIME ZONE 'utc'
    WHERE t.user_id = p_user_id AND (t.last_bonus_date IS NULL OR t.last_bonus_date < today)
      -- Repeated after midnight, the operation is still yesterday's.
      AND NOT EXISTS (SELECT 1 FROM token_transactions e
                      WHERE e.user_id = p_user_id AND e.id = p_operation_id)
    RETURNING t.balance, t.held INTO total, held_now;
    IF FOUND THEN
        INSERT INTO token_transactions (user_id, id, amount, type, description, balance_after)
        VALUES (p_user_id, p_operation_id, awarded, 'bonus', 'Ежедневный бонус', total);
        RETURN QUERY SELECT true, awarded, total - held_now;
        RETURN;
    END IF;
    -- Claimed before: by this very operation, whose answer was lost, or by another one.
    RETURN QUERY
        SELECT e.id IS NOT NULL, coalesce(e.amount, 0),
               coalesce(e.balance_after, t.balance) - t.held
        FROM user_tokens t
        LEFT JOIN token_transactions e ON e.user_id = t.user_id AND e.id = p_operation_id
        WHERE t.user_id = p_user_id;
END
$$;

-- Counts the user's actions of the last 60 seconds and records one more if the limit allows it, in
-- one statement under the lock of the user's own row, so that no two requests pass on one count.
-- No row: no such user, or an erased one. reset_at: when the oldest counted action leaves the
-- window.
CREATE OR REPLACE FUNCTION record_usage(p_user_id uuid, p_usage_id uuid, p_action text,
                                        p_ip_address text)
RETURNS TABLE (allowed boolean, used int, usage_limit int, reset_at timestamp)
LANGUAGE plpgsql AS $$
DECLARE
    window_length CONSTANT interval := interval '60 seconds';
    present timestamp;
    oldest timestamp;
    counted int;
    allowed_max int := coalesce((SELECT s.value FROM app_settings s
                                 WHERE s.name = p_action || 's_per_minute'),
                                CASE p_action WHEN 'download' THEN 60 ELSE 10 END);
BEGIN
    PERFORM 1 FROM users u WHERE u.id = p_user_id AND u.erased_at IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    present := clock_timestamp() AT TIME ZONE 'utc';
    SELECT count(*)::int, min(l.created_at) INTO counted, oldest
    FROM usage_logs l
    WHERE l.user_id = p_user_id AND l.action = p_action AND l.created_at > present - window_length;
    IF EXISTS (SELECT 1 FROM usage_logs l WHERE l.user_id = p_user_id AND l.id = p_usage_id) THEN
        RETURN QUERY SELECT true, counted, allowed_max, coalesce(oldest, present) + window_length;
    ELSIF counted >= allowed_max THEN
        RETURN QUERY SELECT false, counted, allowed_max, coalesce(oldest, present) + window_length;
    ELSE
        INSERT INTO usage_logs (user_id, id, action, ip_address, created_at)
        VALUES (p_user_id, p_usage_id, p_action, p_ip_address, present);
        RETURN QUERY
            SELECT true, counted + 1, allowed_max, coalesce(oldest, present) + window_length;
    END IF;
END
$$;

-- Stores a finished generation in the history, counted against the same limit as generating one.
-- The generation's id is the usage entry's id as well. No row: no such user.
CREATE OR REPLACE FUNCTION record_generation(p_user_id uuid, p_generation_id uuid,
                                             p_image_url text, p_prompt_used text, p_trend text,
                                             p_quality text, p_ip_address text)
RETURNS TABLE (allowed boolean, used int, usage_limit int, reset_at timestamp,
               created_at timestamp)
LANGUAGE plpgsql AS $$
DECLARE
    usage record;
    stored timestamp;
BEGIN
    SELECT * INTO usage FROM record_usage(p_user_id, p_generation_id, 'generation', p_ip_address);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF usage.allowed THEN
        INSERT INTO generations AS g (user_id, id, image_url, prompt_used, trend, quality, status)
        VALUES (p_user_id, p_generation_id, p_image_url, p_prompt_used, p_trend, p_quality,
                'completed')
        ON CONFLICT (user_id, id) DO UPDATE SET image_url = excluded.image_url
        RETURNING g.created_at INTO stored;
    END IF;
    RETURN QUERY SELECT usage.allowed, usage.used, usage.usage_limit, usage.reset_at, stored;
END
$$;

-- Erases the person and keeps the books: identities, e-mail, images, prompts and addresses go;
-- balance, ledger entries, payments and subscription periods stay under an id that leads to nobody.
CREATE OR REPLACE FUNCTION erase_user(p_user_id uuid) RETURNS TABLE (erased boolean)
LANGUAGE plpgsql AS $$
DECLARE
    present timestamp := now() AT TIME ZONE 'utc';
BEGIN
    -- The order of sign-up: first the identity, then the account.
    DELETE FROM user_identities i WHERE i.user_id = p_user_id;
    UPDATE users u
    SET clerk_id = NULL, device_id = NULL, email = NULL, updated_at = present,
        erased_at = coalesce(u.erased_at, present)
    WHERE u.id = p_user_id;
    erased := FOUND;
    UPDATE subscriptions s SET status = 'cancelled', updated_at = present
    WHERE s.user_id = p_user_id AND s.status = 'active';
    DELETE FROM usage_logs l WHERE l.user_id = p_user_id;
    DELETE FROM generations g WHERE g.user_id = p_user_id;
    RETURN NEXT;
END
$$;
