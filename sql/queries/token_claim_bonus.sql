-- The daily bonus. $1 user_id uuid, $2 operation_id uuid, $3 request hash int8 or NULL.
SELECT outcome, tokens_awarded, balance FROM token_claim_bonus($1, $2, $3)
