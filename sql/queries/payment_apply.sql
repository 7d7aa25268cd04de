-- What the provider says of a payment. $1 user_id uuid, $2 payment id uuid, $3 provider_id text,
-- $4 status text, $5 amount text (decimal), $6 currency text, $7 test bool, $8 test_accepted bool,
-- $9 confirmation_url text or NULL, $10 payment_method_id text or NULL (not saved),
-- $11 cancellation_reason text or NULL.
SELECT outcome, kind FROM payment_apply($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
