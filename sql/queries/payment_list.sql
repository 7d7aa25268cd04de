-- A page of one user's payments, in key order after a position. The amount as a decimal text:
-- money is never a floating-point number.
-- $1 user_id uuid, $2 after id uuid, $3 limit int4.
SELECT id, amount::text AS amount, currency::text AS currency, status::text AS status,
       token_package::text AS token_package, tokens_amount, created_at
FROM payments
WHERE user_id = $1 AND id > $2
ORDER BY id
LIMIT $3
