-- A renewal that was opened at p_opened_at has failed. It is tried again on the days 1, 3 and 7
-- after the period's end; then the subscription expires, and at once when the person has taken the
-- permission back. A renewal of an earlier period says nothing of this one.
CREATE OR REPLACE FUNCTION subscription_unpaid(p_user_id uuid, p_id uuid, p_opened_at timestamp,
                                               p_reason text)
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    present timestamp := clock_timestamp() AT TIME ZONE 'utc';
    revoked boolean := p_reason IS NOT DISTINCT FROM 'permission_revoked';
BEGIN
    UPDATE subscriptions s
    SET renewal_attempts = s.renewal_attempts + 1,
        payment_method_id = CASE WHEN NOT revoked AND s.renewal_attempts < 3
                                 THEN s.payment_method_id END,
        status = CASE WHEN revoked OR s.renewal_attempts >= 3 THEN 'expired' ELSE s.status END,
        next_check_at = CASE WHEN NOT revoked THEN s.current_period_end + make_interval(
                                 days => (ARRAY[1, 3, 7])[s.renewal_attempts + 1]) END,
        updated_at = present
    WHERE s.user_id = p_user_id AND s.id = p_id AND s.status = 'active'
      AND s.current_period_end <= p_opened_at;
END
$$;
