-- $1 user_id uuid, $2 hold id uuid, $3 amount int4 or NULL for all, $4 settle_id uuid,
-- $5 request hash int8 or NULL.
SELECT outcome, balance FROM hold_capture($1, $2, $3, $4, $5)
