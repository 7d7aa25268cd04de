-- Sets tokens aside. $1 user_id uuid, $2 hold id uuid, $3 amount int4, $4 ttl_seconds int4,
-- $5 description text or NULL, $6 request hash int8 or NULL.
SELECT outcome, balance, held, expires_at FROM hold_create($1, $2, $3, $4, $5, $6)
