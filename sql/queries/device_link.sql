-- Moves a device's account into a Clerk account. $1 user_id uuid, $2 device's user_id uuid,
-- $3 operation_id uuid, $4 correction_id uuid.
SELECT outcome, moved_tokens FROM device_link($1, $2, $3, $4)
