-- Stores a finished generation, counted against the limit. $1 user_id uuid, $2 generation_id uuid,
-- $3 image_url text, $4 prompt_used text, $5 trend text, $6 quality text, $7 ip_address text,
-- $8 whether the address counts as well boolean, $9 request hash int8 or NULL.
SELECT outcome, used, usage_limit, reset_at, retry_at, created_at
FROM generation_record($1, $2, $3, $4, $5, $6, $7, $8, $9)
