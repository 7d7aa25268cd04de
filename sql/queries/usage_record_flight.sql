-- Counts and records many actions. Arrays of one length: $1 user ids, $2 usage ids, $3 actions,
-- $4 addresses, $5 request hashes (0: none).
SELECT place, outcome, used, usage_limit, reset_at, retry_at
FROM usage_record_flight($1, $2, $3, $4, $5)
