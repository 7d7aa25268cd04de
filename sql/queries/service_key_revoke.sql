-- $1 name text. No row: there is no such key.
UPDATE service_keys SET revoked_at = coalesce(revoked_at, now() AT TIME ZONE 'utc') WHERE name = $1
RETURNING key_hash
