-- Every identity that leads to one account. $1 user_id uuid.
SELECT identity FROM user_identities WHERE user_id = $1 ORDER BY identity
