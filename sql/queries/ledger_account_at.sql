-- Balance and holds of one account at a moment; a hold that a link moved belonged to the device's
-- account until then. $1 user_id uuid, $2 moment timestamp.
SELECT t.balance - h.held AS balance, h.held
FROM (SELECT coalesce((SELECT e.balance_after FROM token_transactions e
                       WHERE e.user_id = $1 AND e.created_at <= $2
                       ORDER BY e.created_at DESC, e.id DESC LIMIT 1), 0) AS balance) t
CROSS JOIN LATERAL (
    SELECT coalesce(sum(p.amount), 0)::int AS held
    FROM token_holds p
    LEFT JOIN user_tokens d ON d.user_id = p.linked_from
    WHERE p.user_id = (SELECT coalesce(u.merged_into, u.id) FROM users u WHERE u.id = $1)
      AND p.created_at <= $2 AND p.expires_at > $2
      AND (p.settled_at IS NULL OR p.settled_at > $2)
      AND $1 = CASE WHEN d.closed_at > $2 THEN p.linked_from ELSE p.user_id END
) h
WHERE EXISTS (SELECT 1 FROM users u WHERE u.id = $1)
