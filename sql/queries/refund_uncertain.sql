-- The creation of a refund may have happened: it is repeated by the schedule, and not before so
-- many seconds. $1 user_id uuid, $2 refund id uuid, $3 retry_seconds int4.
UPDATE payment_refunds
SET next_check_at = (now() AT TIME ZONE 'utc')
                    + greatest(make_interval(secs => $3), payment_check_after(created_at, false))
WHERE user_id = $1 AND id = $2 AND status = 'pending' AND yookassa_refund_id IS NULL
RETURNING id
