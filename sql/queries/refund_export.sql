-- A page of one user's refunds, in key order after a position.
-- $1 user_id uuid, $2 after id uuid, $3 limit int4.
SELECT user_id, id, payment_id, yookassa_refund_id AS provider_id, provider_payment_id,
       amount::text AS amount, currency, status, tokens_taken, tokens_owed, request_body,
       created_at
FROM payment_refunds
WHERE user_id = $1 AND id > $2
ORDER BY id
LIMIT $3
