-- The active subscription, also while its renewal is tried again. $1 user_id uuid.
SELECT user_id, id, plan::text AS plan, status::text AS status, current_period_start,
       current_period_end, cancel_at_period_end, payment_method_id, renewal_attempts, next_check_at,
       grace_until, created_at
FROM subscriptions
WHERE user_id = $1 AND status = 'active'
  AND (current_period_end IS NULL
       OR CASE WHEN payment_method_id IS NULL OR cancel_at_period_end THEN current_period_end
               ELSE coalesce(grace_until, current_period_end) + interval '30 days' END
          > (now() AT TIME ZONE 'utc'))
