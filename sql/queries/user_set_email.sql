-- Keeps the e-mail a session token carries. $1 user_id uuid, $2 email text.
UPDATE users SET email = $2 WHERE id = $1 AND email IS DISTINCT FROM $2
RETURNING id
