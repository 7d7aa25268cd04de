-- Erases the person, keeps the books. $1 user_id uuid, $2 identities text[], $3 their digests
-- text[].
SELECT outcome FROM user_erase($1, $2, $3)
