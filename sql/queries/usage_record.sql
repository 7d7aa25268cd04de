-- Counts and records an action, whatever its address. $1 user_id uuid, $2 usage_id uuid,
-- $3 action text, $4 ip_address text, $5 request hash int8 or NULL.
SELECT outcome, used, usage_limit, reset_at, retry_at
FROM usage_record($1, $2, $3, $4, false, $5)
