-- The answer a movement got when it was made. $1 user_id uuid, $2 entry id uuid.
-- The lock is a write, so that the answer waits for a synchronous standby: the entry may be visible
-- here while the statement that made it was cut off waiting for that.
SELECT e.balance_after - e.held_after AS balance
FROM user_tokens t JOIN token_transactions e ON e.user_id = t.user_id
WHERE t.user_id = $1 AND e.id = $2
FOR UPDATE OF t
