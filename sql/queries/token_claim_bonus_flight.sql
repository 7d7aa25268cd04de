-- Many daily bonuses. Arrays of one length: $1 user ids, $2 operation ids, $3 request hashes
-- (0: none).
SELECT place, outcome, tokens_awarded, balance FROM token_claim_bonus_flight($1, $2, $3)
