-- Removes what limits nothing any more: uses of addresses after an hour, digests of erased
-- identities after erased_identity_days, and what stands beside those after a day. At most p_limit
-- rows of each; what another sweep is at is left to it. Returns how many rows it changed. The rows
-- are an array, so that the plan looks them up one by one, however many the table has.
CREATE OR REPLACE FUNCTION person_sweep(p_limit int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    present timestamp := clock_timestamp() AT TIME ZONE 'utc'; -- a constant for the indexes
    kept_days int := coalesce((SELECT s.value FROM app_settings s
                               WHERE s.name = 'erased_identity_days'), 365);
    swept int;
    changed int := 0;
BEGIN
    DELETE FROM address_uses a
    WHERE a.ctid = ANY (ARRAY(SELECT o.ctid FROM address_uses o
                              WHERE o.used_at < present - interval '1 hour'
                              ORDER BY o.used_at LIMIT p_limit FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS swept = ROW_COUNT;
    changed := changed + swept;
    DELETE FROM erased_identities e
    WHERE e.digest = ANY (ARRAY(
        SELECT o.digest FROM erased_identities o
        WHERE o.erased_at < present - make_interval(days => greatest(kept_days, 0))
        ORDER BY o.erased_at LIMIT p_limit FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS swept = ROW_COUNT;
    changed := changed + swept;
    UPDATE erased_identities e SET last_bonus_date = NULL, last_used_at = NULL
    WHERE e.digest = ANY (ARRAY(
        SELECT o.digest FROM erased_identities o
        WHERE o.erased_at < present - interval '1 day'
          AND (o.last_bonus_date IS NOT NULL OR o.last_used_at IS NOT NULL)
        ORDER BY o.erased_at LIMIT p_limit FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS swept = ROW_COUNT;
    RETURN changed + swept;
END
$$;
