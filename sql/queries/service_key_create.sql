-- $1 name text, $2 key_hash text, $3 scopes text (comma list). No row: the name is taken.
INSERT INTO service_keys (name, key_hash, scopes) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE SET name = excluded.name
    WHERE service_keys.key_hash = excluded.key_hash
RETURNING key_hash
