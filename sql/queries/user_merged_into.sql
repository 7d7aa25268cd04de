-- Where a linked account's tokens are now. $1 user_id uuid.
SELECT merged_into FROM users WHERE id = $1 AND merged_into IS NOT NULL
