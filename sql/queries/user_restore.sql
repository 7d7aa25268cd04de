-- Makes the users row of an identity whose account row is gone. The trigger opens a balance only
-- where there is none. $1 user_id uuid, $2 clerk_id text or NULL, $3 device_id text or NULL.
INSERT INTO users (id, clerk_id, device_id) VALUES ($1, $2, $3)
ON CONFLICT (id) DO NOTHING
RETURNING id
