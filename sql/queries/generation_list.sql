-- A page of one user's generations, newest first, that are older than a position.
-- $1 user_id uuid, $2 before created_at timestamp, $3 before id uuid, $4 limit int4.
SELECT id, user_id, image_url, prompt_used, trend::text AS trend, quality::text AS quality,
       status::text AS status, error_message, created_at, updated_at
FROM generations
WHERE user_id = $1 AND (created_at, id) < ($2, $3)
ORDER BY created_at DESC, id DESC
LIMIT $4
