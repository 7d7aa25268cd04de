-- Counts the user's actions of the last 60 seconds and records one more if the limit allows it, in
-- one statement under the lock of the user's own row, so that no two requests pass on one count.
-- p_by_address: a generation also counts against generations_per_minute_address of its network,
-- because a new device id costs nothing.
-- outcome: done, limited, replayed (p_usage_id is there with the same request hash), reused (with
-- another), in_progress (the request of that id is not through). No row: no such user, or a closed
-- account. used, usage_limit, reset_at: the user's own count, and when the oldest counted action
-- leaves the window. retry_at: when a limited action may be tried again.
CREATE OR REPLACE FUNCTION usage_record(p_user_id uuid, p_usage_id uuid, p_action text,
                                        p_ip_address text, p_by_address boolean,
                                        p_request_hash bigint)
RETURNS TABLE (outcome text, used int, usage_limit int, reset_at timestamp, retry_at timestamp)
LANGUAGE plpgsql AS $$
DECLARE
    window_length CONSTANT interval := interval '60 seconds';
    network inet := CASE WHEN p_by_address AND p_action = 'generation'
                         THEN address_network(p_ip_address) END;
    present timestamp;
    oldest timestamp;
    counted int;
    account record;
    prior record;
    by_address record;
    allowed_max int := coalesce((SELECT s.value FROM app_settings s
                                 WHERE s.name = p_action || 's_per_minute'),
                                CASE p_action WHEN 'download' THEN 60 ELSE 10 END);
BEGIN
    IF p_request_hash IS NOT NULL
       AND NOT pg_try_advisory_xact_lock(hashtextextended(p_usage_id::text, 0)) THEN
        present := clock_timestamp() AT TIME ZONE 'utc';
        RETURN QUERY SELECT 'in_progress', 0, allowed_max, present, present;
        RETURN;
    END IF;
    SELECT u.used_before INTO account FROM users u
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
                            prior.answer_used, prior.answer_limit, prior.answer_reset_at,
                            prior.answer_reset_at;
        RETURN;
    END IF;
    present := clock_timestamp() AT TIME ZONE 'utc';
    SELECT count(*)::int, min(l.created_at) INTO counted, oldest
    FROM usage_logs l
    WHERE l.user_id = p_user_id AND l.action = p_action AND l.created_at > present - window_length;
    -- What an erased account of the same person used counts as all there was.
    IF account.used_before > present - window_length THEN
        counted := allowed_max;
        oldest := account.used_before;
    END IF;
    oldest := coalesce(oldest, present) + window_length;
    IF counted >= allowed_max THEN
        RETURN QUERY SELECT 'limited', counted, allowed_max, oldest, oldest;
        RETURN;
    END IF;
    SELECT a.allowed, a.allowed_at INTO by_address
    FROM address_use(network, 'generation',
                     coalesce((SELECT s.value FROM app_settings s
                               WHERE s.name = 'generations_per_minute_address'), 60),
                     window_length) a;
    IF NOT by_address.allowed THEN
        RETURN QUERY SELECT 'limited', counted, allowed_max, oldest,
                            coalesce(by_address.allowed_at, present + window_length);
        RETURN;
    END IF;
    -- Others of the address may have been waited for.
    present := clock_timestamp() AT TIME ZONE 'utc';
    INSERT INTO usage_logs (user_id, id, action, ip_address, created_at, request_hash,
                            answer_used, answer_limit, answer_reset_at)
    VALUES (p_user_id, p_usage_id, p_action, p_ip_address, present, p_request_hash,
            counted + 1, allowed_max, oldest);
    RETURN QUERY SELECT 'done', counted + 1, allowed_max, oldest, oldest;
END
$$;
