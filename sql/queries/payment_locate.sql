-- Where a payment is now: with its user, or the account the user was linked to.
-- $1 user_id uuid, $2 payment id uuid.
SELECT p.user_id FROM payments p WHERE p.user_id = $1 AND p.id = $2
UNION ALL
SELECT p.user_id FROM users u JOIN payments p ON p.user_id = u.merged_into
WHERE u.id = $1 AND p.id = $2
LIMIT 1
