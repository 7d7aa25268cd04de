-- Claims refunds that are due for a look. $1 limit int4, $2 lease_seconds int4.
SELECT user_id, id, payment_id, yookassa_refund_id AS provider_id, provider_payment_id,
       amount::text AS amount, currency, status, tokens_taken, tokens_owed, request_body,
       created_at
FROM refund_claim_due($1, $2)
