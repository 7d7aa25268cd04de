-- A page of one user's holds for the export, in key order after a position.
-- $1 user_id uuid, $2 after id uuid, $3 limit int4.
SELECT id, amount, status, description, expires_at, created_at, settled_at
FROM token_holds
WHERE user_id = $1 AND id > $2
ORDER BY id
LIMIT $3
