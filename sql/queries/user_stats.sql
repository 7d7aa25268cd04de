-- How many generations one user has: ever, today, in the last seven days. $1 user_id uuid.
SELECT count(*) AS total_generations,
       count(*) FILTER (WHERE created_at >= date_trunc('day', now() AT TIME ZONE 'utc'))
           AS today_generations,
       count(*) FILTER (WHERE created_at >= (now() AT TIME ZONE 'utc') - interval '7 days')
           AS week_generations
FROM generations
WHERE user_id = $1
