-- A page of one user's payments, newest first, from before a position. $1 user_id uuid,
-- $2 before created_at timestamp, $3 before id uuid, $4 limit int4.
SELECT user_id, id, yookassa_payment_id::text AS provider_id, purpose, amount::text AS amount,
       currency::text AS currency, status::text AS status, token_package::text AS token_package,
       plan, tokens_amount, refunded_amount::text AS refunded_amount, confirmation_url,
       cancellation_reason, request_body, renews, credit_days, created_at
FROM payments
WHERE user_id = $1 AND (created_at, id) < ($2, $3)
ORDER BY created_at DESC, id DESC
LIMIT $4
