-- Deletes one generation of one user. $1 user_id uuid, $2 id uuid.
DELETE FROM generations WHERE user_id = $1 AND id = $2 RETURNING id
