-- The provider refused to make a payment. $1 user_id uuid, $2 payment id uuid.
SELECT removed FROM payment_refused($1, $2)
