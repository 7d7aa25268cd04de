-- Opens an account for an identity, or returns the one that a concurrent request has just opened.
-- The trigger on users adds the balance and the welcome bonus.
-- $1 identity text, $2 user_id uuid (new), $3 clerk_id text or NULL, $4 device_id text or NULL,
-- $5 email text or NULL.
WITH entry AS (
    INSERT INTO user_identities (identity, user_id) VALUES ($1, $2)
    ON CONFLICT (identity) DO UPDATE SET identity = excluded.identity
    RETURNING user_id, (xmax = 0) AS created
), account AS (
    INSERT INTO users (id, clerk_id, device_id, email)
    SELECT user_id, $3, $4, $5 FROM entry WHERE created
    RETURNING id
)
SELECT user_id, created FROM entry
