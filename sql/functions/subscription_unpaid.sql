-- A renewal that was opened at p_opened_at has failed. It is tried again one, three and seven days
-- after the period's end, or after the first attempt where that was late, and later by as much as a
-- further one is; then the subscription expires, and at once when the person has taken the
-- permission back. A renewal of an earlier period says nothing of this one.
CREATE OR REPLACE FUNCTION subscription_unpaid(p_user_id uuid, p_id uuid, p_opened_at timestamp,
                                               p_reason text)
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    to_next CONSTANT int[] := ARRAY[1, 2, 4];    -- days from each attempt to the one after
    behind_next CONSTANT int[] := ARRAY[6, 4, 0]; -- days of grace behind that
    present timestamp := clock_timestamp() AT TIME ZONE 'utc';
    unpaid subscriptions%ROWTYPE;
    attempt int;
    following timestamp;
    grace timestamp;
BEGIN
    SELECT * INTO unpaid FROM subscriptions s
    WHERE s.user_id = p_user_id AND s.id = p_id AND s.status = 'active'
      AND s.current_period_end <= p_opened_at FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    attempt := unpaid.renewal_attempts + 1;
    IF p_reason = 'permission_revoked' OR attempt > 3 THEN
        UPDATE subscriptions s
        SET renewal_attempts = attempt, status = 'expired', payment_method_id = NULL,
            next_check_at = NULL, updated_at = present
        WHERE s.user_id = p_user_id AND s.id = p_id;
        RETURN;
    END IF;
    grace := coalesce(unpaid.grace_until,
                      CASE WHEN p_opened_at < unpaid.current_period_end + interval '1 hour'
                           THEN unpaid.current_period_end ELSE present END + interval '7 days');
    following := grace - make_interval(days => behind_next[attempt]);
    IF following <= present THEN
        following := present + make_interval(days => to_next[attempt]);
        grace := following + make_interval(days => behind_next[attempt]);
    END IF;
    UPDATE subscriptions s
    SET renewal_attempts = attempt, next_check_at = following, grace_until = grace,
        updated_at = present
    WHERE s.user_id = p_user_id AND s.id = p_id;
END
$$;
