-- A page of one user's usage log for the export, in key order after a position.
-- $1 user_id uuid, $2 after id uuid, $3 limit int4.
SELECT id, action::text AS action, ip_address::text AS ip_address, created_at
FROM usage_logs
WHERE user_id = $1 AND id > $2
ORDER BY id
LIMIT $3
