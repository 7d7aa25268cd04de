-- Lets an identity nobody has yet lead to an account, and tells whose it is. The account is locked
-- so that an erasure waits, and then knows this identity too. No row: the account is closed.
-- $1 identity text, $2 user_id uuid.
INSERT INTO user_identities (identity, user_id)
SELECT $1, u.id FROM users u
WHERE u.id = $2 AND u.erased_at IS NULL AND u.merged_into IS NULL
FOR SHARE
ON CONFLICT (identity) DO UPDATE SET identity = excluded.identity
RETURNING user_id
