-- Ends a subscription now, whatever it is; one that has ended stays as it is.
-- $1 user_id uuid, $2 id uuid.
UPDATE subscriptions
SET status = CASE status WHEN 'active' THEN 'cancelled' ELSE status END,
    current_period_end = CASE WHEN status = 'active'
                              THEN least(current_period_end, now() AT TIME ZONE 'utc')
                              ELSE current_period_end END,
    payment_method_id = NULL, next_check_at = NULL, updated_at = now() AT TIME ZONE 'utc'
WHERE user_id = $1 AND id = $2
RETURNING user_id, id, plan::text AS plan, status::text AS status, current_period_start,
          current_period_end, cancel_at_period_end, payment_method_id, renewal_attempts,
          next_check_at, grace_until, created_at
