-- Opens an account for an identity, or finds the one that a concurrent request has just opened. The
-- trigger on users adds the balance and the welcome bonus, which there is once a person: not after
-- an erasure (p_digest is that of the identity, NULL: not looked at), and not for devices of one
-- address beyond anonymous_bonuses_per_hour. Nobody is refused.
CREATE OR REPLACE FUNCTION account_open(p_user_id uuid, p_identity text, p_clerk_id text,
                                        p_device_id text, p_email text, p_digest text,
                                        p_ip_address text)
RETURNS TABLE (user_id uuid)
LANGUAGE plpgsql AS $$
DECLARE
    created boolean;
    before record;
    greeted boolean := true;
BEGIN
    INSERT INTO user_identities AS i (identity, user_id) VALUES (p_identity, p_user_id)
    ON CONFLICT (identity) DO UPDATE SET identity = excluded.identity
    RETURNING i.user_id, (i.xmax = 0) INTO user_id, created;
    IF NOT created THEN
        RETURN NEXT;
        RETURN;
    END IF;
    -- After the identity: an erasure that was under way is through.
    SELECT e.last_bonus_date, e.last_used_at INTO before
    FROM erased_identities e WHERE e.digest = p_digest;
    IF FOUND THEN
        greeted := false;
    ELSIF p_device_id IS NOT NULL THEN
        SELECT a.allowed INTO greeted
        FROM address_use(address_network(p_ip_address), 'welcome',
                         coalesce((SELECT s.value FROM app_settings s
                                   WHERE s.name = 'anonymous_bonuses_per_hour'), 100),
                         interval '1 hour') a;
    END IF;
    INSERT INTO users (id, clerk_id, device_id, email, welcome, used_before)
    VALUES (p_user_id, p_clerk_id, p_device_id, p_email, greeted, before.last_used_at);
    IF before.last_bonus_date IS NOT NULL THEN
        UPDATE user_tokens t SET last_bonus_date = before.last_bonus_date
        WHERE t.user_id = p_user_id;
    END IF;
    RETURN NEXT;
END
$$;
