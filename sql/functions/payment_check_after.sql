-- How long until a payment or refund that was opened at p_created_at is looked at again.
-- p_known: the provider has answered; else its creation is repeated, which is to be done rarely.
CREATE OR REPLACE FUNCTION payment_check_after(p_created_at timestamp, p_known boolean)
RETURNS interval
LANGUAGE plpgsql STABLE AS $$
DECLARE
    age interval := (clock_timestamp() AT TIME ZONE 'utc') - p_created_at;
    poll interval := make_interval(secs => greatest(1, coalesce(
        (SELECT s.value FROM app_settings s WHERE s.name = 'payments_poll_seconds'), 15)));
BEGIN
    RETURN CASE WHEN age < interval '10 minutes' AND p_known THEN poll
                WHEN age < interval '10 minutes' THEN 4 * poll
                WHEN age < interval '1 hour' THEN interval '1 minute'
                WHEN age < interval '1 day' THEN interval '10 minutes'
                ELSE interval '1 hour' END;
END
$$;
