-- Where a subscription is now: with its user, or the account the user was linked to.
-- $1 user_id uuid, $2 subscription id uuid.
SELECT s.user_id FROM subscriptions s WHERE s.user_id = $1 AND s.id = $2
UNION ALL
SELECT s.user_id FROM users u JOIN subscriptions s ON s.user_id = u.merged_into
WHERE u.id = $1 AND s.id = $2
LIMIT 1
