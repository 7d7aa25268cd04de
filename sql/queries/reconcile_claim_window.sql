-- Claims the reading of one of the provider's lists, when the last one is long enough ago. The very
-- first one reads a day, and back to the oldest creation without an answer.
-- Every next_check_at is later than -infinity: a condition for the index of the payments to be
-- checked, so that no plan reads the others.
-- $1 name text, $2 every_seconds int4, $3 lease_seconds int4.
INSERT INTO payment_windows AS w (name, since, claimed_until)
VALUES ($1, least((now() AT TIME ZONE 'utc') - interval '1 day',
                  (SELECT min(p.created_at) FROM payments p
                   WHERE p.next_check_at > '-infinity' AND p.yookassa_payment_id IS NULL),
                  (SELECT min(r.created_at) FROM payment_refunds r
                   WHERE r.next_check_at > '-infinity' AND r.yookassa_refund_id IS NULL)),
        (now() AT TIME ZONE 'utc') + make_interval(secs => $3))
ON CONFLICT (name) DO UPDATE SET claimed_until = excluded.claimed_until
WHERE coalesce(w.claimed_until <= (now() AT TIME ZONE 'utc'), true)
  AND coalesce(w.listed_at <= (now() AT TIME ZONE 'utc') - make_interval(secs => $2), true)
RETURNING w.since
