-- Many movements, independent of one another. Arrays of one length: $1 user ids, $2 entry ids,
-- $3 amounts, $4 types, $5 descriptions, $6 request hashes (0: none).
SELECT place, outcome, balance FROM ledger_post_flight($1, $2, $3, $4, $5, $6)
