-- Claims payments that are due for a look. $1 limit int4, $2 lease_seconds int4.
SELECT user_id, id, yookassa_payment_id::text AS provider_id, purpose, amount::text AS amount,
       currency::text AS currency, status::text AS status, token_package::text AS token_package,
       plan, tokens_amount, refunded_amount::text AS refunded_amount, confirmation_url,
       cancellation_reason, request_body, renews, credit_days, created_at
FROM payment_claim_due($1, $2)
