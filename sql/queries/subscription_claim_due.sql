-- Claims subscriptions whose renewal is due. $1 limit int4, $2 lease_seconds int4.
SELECT user_id, id, plan::text AS plan, status::text AS status, current_period_start,
       current_period_end, cancel_at_period_end, payment_method_id, renewal_attempts, created_at
FROM subscription_claim_due($1, $2)
