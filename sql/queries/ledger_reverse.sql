-- The opposite of an entry, once. $1 user_id uuid, $2 entry's user_id uuid, $3 entry id uuid,
-- $4 operation_id uuid, $5 request hash int8 or NULL.
SELECT outcome, balance, reversal_id FROM ledger_reverse($1, $2, $3, $4, $5)
