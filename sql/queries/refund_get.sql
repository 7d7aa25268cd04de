-- One refund of a user's payment. $1 user_id uuid, $2 refund id uuid.
SELECT user_id, id, payment_id, yookassa_refund_id AS provider_id, provider_payment_id,
       amount::text AS amount, currency, status, tokens_taken, tokens_owed, request_body,
       created_at
FROM payment_refunds
WHERE user_id = $1 AND id = $2
