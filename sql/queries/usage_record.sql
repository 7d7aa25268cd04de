-- Counts and records an action. $1 user_id uuid, $2 usage_id uuid, $3 action text,
-- $4 ip_address text.
SELECT allowed, used, usage_limit, reset_at FROM record_usage($1, $2, $3, $4)
