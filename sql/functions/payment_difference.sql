-- Writes a difference down, or that it is still there. Returns whether it is a new one.
CREATE OR REPLACE FUNCTION payment_difference(p_user_id uuid, p_payment_id uuid, p_provider_id text,
                                              p_kind text, p_details text)
RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    present timestamp := clock_timestamp() AT TIME ZONE 'utc';
    is_new boolean;
BEGIN
    INSERT INTO payment_differences AS d (provider_id, kind, user_id, payment_id, details,
                                          first_seen, last_seen)
    VALUES (p_provider_id, p_kind, p_user_id, p_payment_id, p_details, present, present)
    ON CONFLICT (provider_id, kind) DO UPDATE
    SET last_seen = excluded.last_seen, details = excluded.details, resolved_at = NULL
    RETURNING (xmax = 0) INTO is_new;
    RETURN is_new;
END
$$;
