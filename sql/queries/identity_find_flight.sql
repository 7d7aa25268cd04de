-- The accounts that identities lead to, each with the place of the identity in $1. An identity that
-- leads nowhere has no row. $1 identities text[].
SELECT q.place::int AS place, i.user_id
FROM unnest($1::text[]) WITH ORDINALITY q (identity, place)
JOIN user_identities i ON i.identity = q.identity
