-- The account an identity leads to. $1 identity text.
SELECT user_id FROM user_identities WHERE identity = $1
