-- A page of one user's payments, in key order after a position. The amount as a decimal text:
-- money is never a floating-point number.
-- $1 user_id uuid, $2 after id uuid, $3 limit int4.
SELECT user_id, id, yookassa_payment_id::text AS provider_id, purpose, amount::text AS amount,
       currency::text AS currency, status::text AS status, token_package::text AS token_package,
       plan, tokens_amount, refunded_amount::text AS refunded_amount, confirmation_url,
       cancellation_reason, request_body, renews, credit_days, created_at
FROM payments
WHERE user_id = $1 AND id > $2
ORDER BY id
LIMIT $3
