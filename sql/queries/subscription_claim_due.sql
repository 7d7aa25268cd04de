-- Claims subscriptions whose renewal is due. $1 limit int4, $2 lease_seconds int4.
SELECT (c.subscription).user_id, (c.subscription).id, (c.subscription).plan::text AS plan,
       (c.subscription).status::text AS status, (c.subscription).current_period_start,
       (c.subscription).current_period_end, (c.subscription).cancel_at_period_end,
       (c.subscription).payment_method_id, (c.subscription).renewal_attempts,
       (c.subscription).next_check_at, (c.subscription).grace_until,
       (c.subscription).created_at, c.late
FROM subscription_claim_due($1, $2) c
