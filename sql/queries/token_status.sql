-- Everything GET /api/tokens tells of one user. $1 user_id uuid.
SELECT t.balance - t.held AS balance,
       t.held,
       t.last_bonus_date,
       (now() AT TIME ZONE 'utc')::date AS server_date,
       now() AT TIME ZONE 'utc' AS as_of,
       p.plan,
       p.quality AS plan_quality,
       p.daily_generations,
       (SELECT count(*)::int FROM usage_logs l
        WHERE l.user_id = t.user_id AND l.action = 'generation'
          AND l.created_at >= date_trunc('day', now() AT TIME ZONE 'utc')) AS generations_today
FROM user_tokens t
LEFT JOIN subscriptions s
       ON s.user_id = t.user_id AND s.status = 'active'
      AND (s.current_period_end IS NULL OR s.current_period_end > (now() AT TIME ZONE 'utc'))
JOIN plans p ON p.plan = coalesce(s.plan, 'free')
WHERE t.user_id = $1
