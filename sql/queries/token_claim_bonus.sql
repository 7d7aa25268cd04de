-- The daily bonus. $1 user_id uuid, $2 operation_id uuid.
SELECT claimed, tokens_awarded, balance FROM claim_daily_bonus($1, $2)
