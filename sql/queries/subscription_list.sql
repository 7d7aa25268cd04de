-- A user's newest subscriptions, current and past. $1 user_id uuid, $2 limit int4.
SELECT user_id, id, plan::text AS plan, status::text AS status, current_period_start,
       current_period_end, cancel_at_period_end, payment_method_id, renewal_attempts, next_check_at,
       grace_until, created_at
FROM subscriptions
WHERE user_id = $1
ORDER BY created_at DESC, id DESC
LIMIT $2
