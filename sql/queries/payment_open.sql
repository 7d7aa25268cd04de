-- Writes a payment before the provider is asked. $1 user_id uuid, $2 payment id uuid,
-- $3 purpose text, $4 token_package text or NULL, $5 plan text or NULL, $6 amount text (decimal),
-- $7 currency text, $8 tokens_amount int4 or NULL, $9 subscription_id uuid or NULL,
-- $10 renews bool, $11 request_body text, $12 request hash int8 or NULL, $13 lease_seconds int4.
SELECT o.outcome, (o.payment).user_id, (o.payment).id,
       (o.payment).yookassa_payment_id::text AS provider_id, (o.payment).purpose,
       (o.payment).amount::text AS amount, (o.payment).currency::text AS currency,
       (o.payment).status::text AS status, (o.payment).token_package::text AS token_package,
       (o.payment).plan, (o.payment).tokens_amount,
       (o.payment).refunded_amount::text AS refunded_amount, (o.payment).confirmation_url,
       (o.payment).cancellation_reason, (o.payment).request_body, (o.payment).renews,
       (o.payment).credit_days, (o.payment).created_at
FROM payment_open($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) o
