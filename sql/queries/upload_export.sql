-- A page of one user's uploads, in key order after a position. A url that is longer than the API's
-- longest is a picture itself, of which the beginning is told.
-- $1 user_id uuid, $2 after id uuid, $3 limit int4.
SELECT id, left(url, 8192) AS url, file_path, quality_score, mime_type::text AS mime_type,
       to_timestamp(extract(epoch FROM created_at)) AT TIME ZONE 'utc' AS created_at
FROM user_uploads
WHERE user_id = $1 AND id > $2
ORDER BY id
LIMIT $3
