-- Writes down where the provider says something else than our rows, or that it is still so.
-- $1 provider_id text, $2 kind text, $3 user_id uuid or NULL, $4 payment id uuid or NULL,
-- $5 details text.
SELECT payment_difference($3, $4, $1, $2, $5) AS is_new
