-- Many captures. Arrays of one length: $1 user ids, $2 hold ids, $3 amounts (0: all),
-- $4 settle ids, $5 request hashes (0: none).
SELECT place, outcome, balance FROM hold_capture_flight($1, $2, $3, $4, $5)
