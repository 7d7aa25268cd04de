-- Claims up to p_limit active subscriptions whose renewal is due. Those that are not renewed end
-- here: cancelled, where the person wanted it, else expired (no saved method, attempts used up, or
-- nothing came of a renewal for thirty days).
-- late: nobody looked for a day, which is written down; one that has ended is returned only then.
CREATE OR REPLACE FUNCTION subscription_claim_due(p_limit int, p_lease_seconds int)
RETURNS TABLE (subscription subscriptions, late boolean)
LANGUAGE plpgsql AS $$
DECLARE
    present timestamp := clock_timestamp() AT TIME ZONE 'utc';
    due record;
    claim subscriptions%ROWTYPE;
    claimed int := 0;
    ended text;
BEGIN
    FOR due IN
        SELECT s.user_id, s.id, s.next_check_at FROM subscriptions s
        WHERE s.next_check_at <= present
        ORDER BY s.next_check_at LIMIT p_limit + 100
    LOOP
        EXIT WHEN claimed = p_limit;
        SELECT * INTO claim FROM subscriptions s
        WHERE s.user_id = due.user_id AND s.id = due.id AND s.next_check_at <= present
        FOR UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        late := false;
        ended := CASE WHEN claim.status <> 'active' THEN claim.status
                      WHEN claim.cancel_at_period_end THEN 'cancelled'
                      WHEN claim.payment_method_id IS NULL OR claim.renewal_attempts > 3
                      THEN 'expired' END;
        IF ended IS NULL THEN
            IF coalesce(claim.grace_until, claim.current_period_end)
               < present - interval '30 days' THEN
                ended := 'expired';
            END IF;
            late := ended IS NOT NULL OR claim.next_check_at < present - interval '1 day';
        END IF;
        IF late THEN
            PERFORM payment_difference(
                due.user_id, NULL, due.id::text, 'renewal_late',
                format('%s until %s: an attempt was due at %s%s', claim.plan,
                       claim.current_period_end, claim.next_check_at,
                       CASE WHEN ended IS NOT NULL THEN '; it has expired' ELSE '' END));
        END IF;
        UPDATE subscriptions s
        SET status = coalesce(ended, s.status), updated_at = present,
            payment_method_id = CASE WHEN ended IS NULL THEN s.payment_method_id END,
            next_check_at = CASE WHEN ended IS NULL THEN present + greatest(
                                     make_interval(secs => p_lease_seconds),
                                     payment_check_after(s.current_period_end, true)) END
        WHERE s.user_id = due.user_id AND s.id = due.id
        RETURNING * INTO claim;
        IF ended IS NULL OR late THEN
            claimed := claimed + 1;
            subscription := claim;
            RETURN NEXT;
        END IF;
    END LOOP;
END
$$;
