-- Writes a refund before the provider is asked. $1 user_id uuid, $2 refund id uuid,
-- $3 payment id uuid, $4 amount text (decimal), $5 request_body text, $6 request hash int8 or NULL,
-- $7 lease_seconds int4.
SELECT o.outcome, (o.refund).user_id, (o.refund).id, (o.refund).payment_id,
       (o.refund).yookassa_refund_id AS provider_id, (o.refund).provider_payment_id,
       (o.refund).amount::text AS amount, (o.refund).currency, (o.refund).status,
       (o.refund).tokens_taken, (o.refund).tokens_owed, (o.refund).request_body,
       (o.refund).created_at
FROM refund_open($1, $2, $3, $4, $5, $6, $7) o
