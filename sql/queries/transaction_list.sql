-- A page of the ledger entries of one account and the devices linked to it, newest first, that are
-- older than a position. Each account is read by its own index, as far as a page needs.
-- $1 user_id uuid, $2 before created_at timestamp, $3 before id uuid, $4 limit int4,
-- $5 type text or NULL, $6 from timestamp (inclusive), $7 to timestamp (exclusive).
SELECT e.user_id, e.id, e.amount, e.type, e.description, e.balance_after, e.created_at
FROM (SELECT $1 AS id UNION ALL SELECT u.id FROM users u WHERE u.merged_into = $1) owner
CROSS JOIN LATERAL (
    SELECT t.user_id, t.id, t.amount, t.type::text AS type, t.description, t.balance_after,
           t.created_at
    FROM token_transactions t
    WHERE t.user_id = owner.id AND (t.created_at, t.id) < ($2, $3)
      AND ($5::text IS NULL OR t.type = $5) AND t.created_at >= $6 AND t.created_at < $7
    ORDER BY t.created_at DESC, t.id DESC
    LIMIT $4
) e
ORDER BY e.created_at DESC, e.id DESC
LIMIT $4
