-- A page of the holds of an account, newest first, that are older than a position; those that a
-- link brought are among them. $1 user_id uuid, $2 before created_at timestamp, $3 before id uuid,
-- $4 limit int4, $5 status text (as hold_get says it) or NULL. The filter is an inequality, which
-- the planner expects most rows to pass: it then reads the index in order instead of sorting.
SELECT p.user_id, p.id, p.amount, p.status, p.description, p.created_at, p.expires_at,
       e.user_id AS entry_user_id, -e.amount AS captured
FROM (
    SELECT s.*
    FROM (
        SELECT h.user_id, h.id, h.amount, h.description, h.created_at, h.expires_at, h.linked_from,
               CASE WHEN h.status = 'pending' AND h.expires_at <= (now() AT TIME ZONE 'utc')
                      OR h.status = 'released' AND h.settled_at = h.expires_at
                    THEN 'expired' ELSE h.status END AS status
        FROM token_holds h
        WHERE h.user_id = $1 AND (h.created_at, h.id) < ($2, $3)
    ) s
    WHERE CASE WHEN $5::text IS NULL OR s.status = $5 THEN 1 ELSE 0 END <> 0
    ORDER BY s.created_at DESC, s.id DESC
    LIMIT $4
) p
LEFT JOIN LATERAL (
    SELECT t.user_id, t.amount
    FROM token_transactions t
    WHERE p.status = 'captured' AND t.id = p.id AND t.user_id IN (p.user_id, p.linked_from)
) e ON true
ORDER BY p.created_at DESC, p.id DESC
