-- Counts what devices of one network did in the time before and records one more if p_most allows
-- it. Requests wait for one another only while there is something left to be had, and beyond that
-- nothing is written. p_network NULL: not counted. allowed_at: when the oldest that counts leaves
-- the window, if there is no room.
CREATE OR REPLACE FUNCTION address_use(p_network inet, p_action text, p_most int,
                                       p_window interval)
RETURNS TABLE (allowed boolean, allowed_at timestamp)
LANGUAGE plpgsql AS $$
DECLARE
    counted int;
    newest timestamp;
    present timestamp;
BEGIN
    allowed := true;
    IF p_network IS NULL THEN
        RETURN NEXT;
        RETURN;
    END IF;
    FOR locked IN 0..1 LOOP
        present := clock_timestamp() AT TIME ZONE 'utc';
        -- The newest p_most are enough to know; the oldest of them has to leave.
        SELECT count(*)::int, min(a.used_at) + p_window, max(a.used_at)
        INTO counted, allowed_at, newest
        FROM (SELECT u.used_at FROM address_uses u
              WHERE u.network = p_network AND u.action = p_action
                AND u.used_at > present - p_window
              ORDER BY u.used_at DESC LIMIT greatest(p_most, 0)) a;
        allowed := counted < p_most;
        EXIT WHEN NOT allowed OR locked = 1;
        PERFORM pg_advisory_xact_lock(hashtextextended(p_action || p_network::text, 0));
    END LOOP;
    IF allowed THEN
        INSERT INTO address_uses (network, action, used_at)
        VALUES (p_network, p_action, greatest(present, newest + interval '1 microsecond'));
    END IF;
    RETURN NEXT;
END
$$;
