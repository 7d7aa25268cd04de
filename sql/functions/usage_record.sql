-- Counts the user's actions of the last 60 seconds and records one more if the limit allows it, in
-- one statement under the lock of the user's own row, so that no two requests pass on one count.
-- p_by_address: generations from the address count as well, whoever made them, because a new device
-- id costs nothing; requests of one address then wait for one another.
-- outcome: done, limited, replayed (p_usage_id is there with the same request hash), reused (with
-- another), in_progress (the request of that id is not through). No row: no such user, or a closed
-- account. reset_at: when the oldest counted action leaves the window.
CREATE OR REPLACE FUNCTION usage_record(p_user_id uuid, p_usage_id uuid, p_action text,
                                        p_ip_address text, p_by_address boolean,
                                        p_request_hash bigint)
RETURNS TABLE (outcome text, used int, usage_limit int, reset_at timestamp)
LANGUAGE plpgsql AS $$
DECLARE
    window_length CONSTANT interval := interval '60 seconds';
    by_address boolean := p_by_address AND p_action = 'generation' AND p_ip_address <> '';
    present timestamp;
    oldest timestamp;
    oldest_of_address timestamp;
    counted int;
    counted_of_address int;
    prior record;
    allowed_max int := coalesce((SELECT s.value FROM app_settings s
                                 WHERE s.name = p_action || 's_per_minute'),
                                CASE p_action WHEN 'download' THEN 60 ELSE 10 END);
BEGIN
    IF p_request_hash IS NOT NULL
       AND NOT pg_try_advisory_xact_lock(hashtextextended(p_usage_id::text, 0)) THEN
        RETURN QUERY SELECT 'in_progress', 0, allowed_max, clock_timestamp() AT TIME ZONE 'utc';
        RETURN;
    END IF;
    PERFORM 1 FROM users u
    WHERE u.id = p_user_id AND u.merged_into IS NULL AND u.erased_at IS NULL
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT l.request_hash, l.answer_used, l.answer_limit, l.answer_reset_at INTO prior
    FROM usage_logs l WHERE l.user_id = p_user_id AND l.id = p_usage_id;
    IF FOUND THEN
        RETURN QUERY SELECT CASE WHEN prior.request_hash IS NOT DISTINCT FROM p_request_hash
                                 THEN 'replayed' ELSE 'reused' END,
                            prior.answer_used, prior.answer_limit, prior.answer_reset_at;
        RETURN;
    END IF;
    IF by_address THEN
        PERFORM pg_advisory_xact_lock(hashtextextended(p_ip_address, 0));
    END IF;
    present := clock_timestamp() AT TIME ZONE 'utc';
    SELECT count(*)::int, min(l.created_at) INTO counted, oldest
    FROM usage_logs l
    WHERE l.user_id = p_user_id AND l.action = p_action AND l.created_at > present - window_length;
    IF by_address THEN
        SELECT count(*)::int, min(l.created_at) INTO counted_of_address, oldest_of_address
        FROM usage_logs l
        WHERE l.ip_address = p_ip_address AND l.action = 'generation'
          AND l.created_at > present - window_length;
        IF counted_of_address > counted THEN
            counted := counted_of_address;
            oldest := oldest_of_address;
        END IF;
    END IF;
    oldest := coalesce(oldest, present) + window_length;
    IF counted >= allowed_max THEN
        RETURN QUERY SELECT 'limited', counted, allowed_max, oldest;
    ELSE
        INSERT INTO usage_logs (user_id, id, action, ip_address, created_at, request_hash,
                                answer_used, answer_limit, answer_reset_at)
        VALUES (p_user_id, p_usage_id, p_action, p_ip_address, present, p_request_hash,
                counted + 1, allowed_max, oldest);
        RETURN QUERY SELECT 'done', counted + 1, allowed_max, oldest;
    END IF;
END
$$;
