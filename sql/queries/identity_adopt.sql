-- Gives an account that the original backend made after the migration its identity row.
-- $1 identity text, $2 clerk_id text or NULL, $3 device_id text or NULL.
INSERT INTO user_identities (identity, user_id)
SELECT $1, coalesce(merged_into, id) FROM users WHERE clerk_id = $2 OR device_id = $3
ON CONFLICT (identity) DO UPDATE SET identity = excluded.identity
RETURNING user_id
