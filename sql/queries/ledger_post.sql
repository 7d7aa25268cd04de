-- One movement. $1 user_id uuid, $2 entry id uuid, $3 amount int4 (negative: spent), $4 type text,
-- $5 description text or NULL, $6 request hash int8 or NULL.
SELECT outcome, balance FROM ledger_post($1, $2, $3, $4, $5, $6)
