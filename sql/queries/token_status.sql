-- Everything GET /api/tokens tells of one user; expired holds do not count. The plan holds while a
-- failed renewal is tried again. What costs nothing is once a person: what an erased account of the
-- same person used today counts as all the free plan gives. $1 user_id uuid.
SELECT t.balance - h.held AS balance,
       h.held,
       t.next_hold_expiry,
       t.last_bonus_date,
       (now() AT TIME ZONE 'utc')::date AS server_date,
       now() AT TIME ZONE 'utc' AS as_of,
       p.plan,
       p.quality AS plan_quality,
       p.daily_generations,
       (SELECT count(*)::int FROM usage_logs l
        WHERE l.user_id = t.user_id AND l.action = 'generation'
          AND l.created_at >= date_trunc('day', now() AT TIME ZONE 'utc'))
       + CASE WHEN p.plan = 'free' AND p.daily_generations > 0
              THEN (SELECT CASE WHEN u.used_before >= date_trunc('day', now() AT TIME ZONE 'utc')
                                THEN p.daily_generations ELSE 0 END
                    FROM users u WHERE u.id = t.user_id)
              ELSE 0 END AS generations_today
FROM user_tokens t
CROSS JOIN LATERAL (
    SELECT (CASE WHEN t.next_hold_expiry IS NULL THEN 0
                 ELSE coalesce((SELECT sum(o.amount) FROM token_holds o
                                WHERE o.user_id = t.user_id AND o.status = 'pending'
                                  AND o.expires_at > (now() AT TIME ZONE 'utc')), 0)
            END)::int AS held
) h
LEFT JOIN subscriptions s
       ON s.user_id = t.user_id AND s.status = 'active'
      AND (s.current_period_end IS NULL
           OR CASE WHEN s.payment_method_id IS NULL OR s.cancel_at_period_end
                   THEN s.current_period_end
                   ELSE coalesce(s.grace_until, s.current_period_end) + interval '30 days' END
              > (now() AT TIME ZONE 'utc'))
JOIN plans p ON p.plan = coalesce(s.plan, 'free')
WHERE t.user_id = $1 AND t.closed_at IS NULL
