-- A key that may be used. $1 key_hash text (SHA-256 in hexadecimal).
SELECT name, scopes FROM service_keys WHERE key_hash = $1 AND revoked_at IS NULL
