-- Balance and holds of one account now; expired holds do not count. $1 user_id uuid.
SELECT t.balance - h.held AS balance, h.held
FROM user_tokens t
CROSS JOIN LATERAL (
    SELECT (CASE WHEN t.next_hold_expiry IS NULL THEN 0
                 ELSE coalesce((SELECT sum(p.amount) FROM token_holds p
                                WHERE p.user_id = t.user_id AND p.status = 'pending'
                                  AND p.expires_at > (now() AT TIME ZONE 'utc')), 0)
            END)::int AS held
) h
WHERE t.user_id = $1 AND t.closed_at IS NULL
