-- Opens an account for an identity, or returns the one that a concurrent request has just opened.
-- $1 user_id uuid (new), $2 identity text, $3 clerk_id text or NULL, $4 device_id text or NULL,
-- $5 email text or NULL, $6 digest of the identity text or NULL, $7 ip_address text.
SELECT user_id FROM account_open($1, $2, $3, $4, $5, $6, $7)
