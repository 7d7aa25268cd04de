-- The account row for the export. $1 user_id uuid.
SELECT u.id, u.clerk_id::text AS clerk_id, u.device_id::text AS device_id, u.email::text AS email,
       u.created_at, u.updated_at, t.balance, t.held, t.last_bonus_date
FROM users u
JOIN user_tokens t ON t.user_id = u.id
WHERE u.id = $1
