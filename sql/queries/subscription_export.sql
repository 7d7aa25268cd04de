-- A page of one user's subscriptions, current and past, in key order after a position.
-- $1 user_id uuid, $2 after id uuid, $3 limit int4.
SELECT user_id, id, plan::text AS plan, status::text AS status, current_period_start,
       current_period_end, cancel_at_period_end, payment_method_id, renewal_attempts, next_check_at,
       grace_until, created_at
FROM subscriptions
WHERE user_id = $1 AND id > $2
ORDER BY id
LIMIT $3
