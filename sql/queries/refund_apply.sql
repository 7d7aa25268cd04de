-- What the provider says of a refund. $1 user_id uuid, $2 refund id uuid, $3 payment id uuid,
-- $4 provider_id text, $5 provider_payment_id text, $6 status text, $7 amount text (decimal),
-- $8 currency text.
SELECT outcome, kind FROM refund_apply($1, $2, $3, $4, $5, $6, $7, $8)
