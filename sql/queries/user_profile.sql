-- The account with its plan and what was used of it today. A renewal that failed is tried again for
-- a week; the plan holds meanwhile, and while nobody tries it for thirty days. $1 user_id uuid.
SELECT u.id,
       u.email::text AS email,
       u.created_at,
       s.plan::text AS subscription_plan,
       s.status::text AS subscription_status,
       s.current_period_end AS period_end,
       p.plan,
       p.daily_generations,
       p.history_max,
       p.quality,
       (SELECT count(*)::int FROM usage_logs l
        WHERE l.user_id = u.id AND l.action = 'generation'
          AND l.created_at >= date_trunc('day', now() AT TIME ZONE 'utc'))
       + CASE WHEN p.plan = 'free'
                   AND u.used_before >= date_trunc('day', now() AT TIME ZONE 'utc')
              THEN coalesce(p.daily_generations, 0) ELSE 0 END AS used_today,
       CASE WHEN s.grace_until IS NOT NULL THEN s.next_check_at END AS next_attempt_at,
       s.grace_until AS grace_ends_at
FROM users u
LEFT JOIN subscriptions s
       ON s.user_id = u.id AND s.status = 'active'
      AND (s.current_period_end IS NULL
           OR CASE WHEN s.payment_method_id IS NULL OR s.cancel_at_period_end
                   THEN s.current_period_end
                   ELSE coalesce(s.grace_until, s.current_period_end) + interval '30 days' END
              > (now() AT TIME ZONE 'utc'))
JOIN plans p ON p.plan = coalesce(s.plan, 'free')
WHERE u.id = $1 AND u.erased_at IS NULL AND u.merged_into IS NULL
