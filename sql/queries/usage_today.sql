-- What one user did today, and the limits. $1 user_id uuid.
SELECT (SELECT count(*)::int FROM usage_logs l
        WHERE l.user_id = $1 AND l.action = 'generation'
          AND l.created_at >= date_trunc('day', now() AT TIME ZONE 'utc')) AS generations,
       (SELECT count(*)::int FROM usage_logs l
        WHERE l.user_id = $1 AND l.action = 'download'
          AND l.created_at >= date_trunc('day', now() AT TIME ZONE 'utc')) AS downloads,
       coalesce((SELECT value FROM app_settings WHERE name = 'generations_per_minute'), 10)
           AS generations_per_minute,
       coalesce((SELECT value FROM app_settings WHERE name = 'downloads_per_minute'), 60)
           AS downloads_per_minute
