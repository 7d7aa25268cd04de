-- Writes down where the provider says something else than our rows, or that it is still so.
-- $1 provider_id text, $2 kind text, $3 user_id uuid or NULL, $4 payment id uuid or NULL,
-- $5 details text.
INSERT INTO payment_differences (provider_id, kind, user_id, payment_id, details)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (provider_id, kind) DO UPDATE
SET last_seen = excluded.last_seen, details = excluded.details, resolved_at = NULL
RETURNING (xmax = 0) AS is_new
