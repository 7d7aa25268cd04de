-- Whose the provider's payment is. $1 provider_id text.
SELECT user_id, payment_id FROM payment_references WHERE provider_id = $1
