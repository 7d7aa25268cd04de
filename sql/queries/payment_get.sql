-- One payment of a user. $1 user_id uuid, $2 payment id uuid.
SELECT user_id, id, yookassa_payment_id::text AS provider_id, purpose, amount::text AS amount,
       currency::text AS currency, status::text AS status, token_package::text AS token_package,
       plan, tokens_amount, refunded_amount::text AS refunded_amount, confirmation_url,
       cancellation_reason, request_body, renews, credit_days, created_at
FROM payments
WHERE user_id = $1 AND id = $2
