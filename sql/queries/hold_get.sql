-- One hold of an account, with what was taken of it. A hold that expired is that, swept or not.
-- $1 user_id uuid, or of a device that was linked to it; $2 hold id uuid.
SELECT h.user_id, h.id, h.amount,
       CASE WHEN h.status = 'pending' AND h.expires_at <= (now() AT TIME ZONE 'utc')
              OR h.status = 'released' AND h.settled_at = h.expires_at
            THEN 'expired' ELSE h.status END AS status,
       h.description, h.created_at, h.expires_at, e.user_id AS entry_user_id, -e.amount AS captured
FROM token_holds h
LEFT JOIN token_transactions e
    ON h.status = 'captured' AND e.id = h.id AND e.user_id IN (h.user_id, h.linked_from)
WHERE h.user_id = (SELECT coalesce(u.merged_into, u.id) FROM users u WHERE u.id = $1)
  AND h.id = $2
