-- A page of one user's ledger entries, newest first, that are older than a position.
-- $1 user_id uuid, $2 before created_at timestamp, $3 before id uuid, $4 limit int4,
-- $5 type text or NULL, $6 from timestamp (inclusive), $7 to timestamp (exclusive).
SELECT id, amount, type::text AS type, description, balance_after, created_at
FROM token_transactions
WHERE user_id = $1 AND (created_at, id) < ($2, $3)
  AND ($5::text IS NULL OR type = $5) AND created_at >= $6 AND created_at < $7
ORDER BY created_at DESC, id DESC
LIMIT $4
