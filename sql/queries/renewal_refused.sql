-- The provider refused to renew a subscription. $1 user_id uuid, $2 payment id uuid.
SELECT failed FROM renewal_refused($1, $2)
