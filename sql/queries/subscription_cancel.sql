-- Lets the active subscription end with its period, now when that is over or has no end; or lets it
-- go on, if it can be renewed. $1 user_id uuid, $2 cancel bool, $3 id uuid or NULL: only if it is
-- this one.
UPDATE subscriptions
SET cancel_at_period_end = $2, updated_at = now() AT TIME ZONE 'utc',
    next_check_at = CASE WHEN $2 AND coalesce(current_period_end, '-infinity')
                                     <= (now() AT TIME ZONE 'utc')
                         THEN now() AT TIME ZONE 'utc' ELSE next_check_at END
WHERE user_id = $1 AND status = 'active' AND ($3::uuid IS NULL OR id = $3)
  AND ($2 OR payment_method_id IS NOT NULL)
RETURNING id
