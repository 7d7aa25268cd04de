-- Lets the active subscription end with its period, now when that is over or has no end; or lets it
-- go on, if it is paid and can be renewed. One that ended like that is found again by the
-- repetition. $1 user_id uuid, $2 cancel bool, $3 id uuid or NULL: only if it is this one.
WITH changed AS (
    UPDATE subscriptions s
    SET cancel_at_period_end = $2, updated_at = now() AT TIME ZONE 'utc',
        status = CASE WHEN now_over.yes THEN 'cancelled' ELSE s.status END,
        payment_method_id = CASE WHEN NOT now_over.yes THEN s.payment_method_id END,
        next_check_at = CASE WHEN NOT now_over.yes THEN s.next_check_at END,
        grace_until = CASE WHEN now_over.yes THEN coalesce(s.grace_until, now() AT TIME ZONE 'utc')
                      ELSE s.grace_until END
    FROM (SELECT o.id, $2 AND coalesce(o.current_period_end, '-infinity')
                              <= (now() AT TIME ZONE 'utc')
          FROM subscriptions o WHERE o.user_id = $1 AND o.status = 'active') now_over (id, yes)
    WHERE s.user_id = $1 AND s.id = now_over.id AND s.status = 'active'
      AND ($3::uuid IS NULL OR s.id = $3)
      AND ($2 OR s.payment_method_id IS NOT NULL
                 AND s.current_period_end > (now() AT TIME ZONE 'utc'))
    RETURNING s.user_id, s.id, s.plan::text AS plan, s.status::text AS status,
              s.current_period_start, s.current_period_end, s.cancel_at_period_end,
              s.payment_method_id, s.renewal_attempts, s.next_check_at, s.grace_until,
              s.created_at
)
SELECT c.user_id, c.id, c.plan, c.status, c.current_period_start, c.current_period_end,
       c.cancel_at_period_end, c.payment_method_id, c.renewal_attempts, c.next_check_at,
       c.grace_until, c.created_at
FROM changed c
UNION ALL
SELECT l.user_id, l.id, l.plan::text, l.status::text, l.current_period_start,
       l.current_period_end, l.cancel_at_period_end, l.payment_method_id, l.renewal_attempts,
       l.next_check_at, l.grace_until, l.created_at
FROM (SELECT s.user_id, s.id, s.plan, s.status, s.current_period_start, s.current_period_end,
             s.cancel_at_period_end, s.payment_method_id, s.renewal_attempts, s.next_check_at,
             s.grace_until, s.created_at
      FROM subscriptions s WHERE s.user_id = $1
      ORDER BY s.created_at DESC, s.id DESC LIMIT 1) l
WHERE $2 AND $3::uuid IS NULL AND l.status = 'cancelled' AND l.cancel_at_period_end
  AND l.grace_until IS NOT NULL AND NOT EXISTS (SELECT 1 FROM changed)
