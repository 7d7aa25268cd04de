-- How many generations one user has. $1 user_id uuid.
SELECT count(*) AS total FROM generations WHERE user_id = $1
