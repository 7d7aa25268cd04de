-- $1 user_id uuid, $2 hold id uuid.
SELECT outcome, balance FROM hold_release($1, $2)
