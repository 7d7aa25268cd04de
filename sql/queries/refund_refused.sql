-- The provider refused to make a refund. $1 user_id uuid, $2 refund id uuid.
SELECT removed FROM refund_refused($1, $2)
