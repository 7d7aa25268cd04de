-- Claims the reading of one of the provider's lists, when the last one is long enough ago. The very
-- first one reads a day. $1 name text, $2 every_seconds int4, $3 lease_seconds int4.
INSERT INTO payment_windows AS w (name, since, claimed_until)
VALUES ($1, (now() AT TIME ZONE 'utc') - interval '1 day',
        (now() AT TIME ZONE 'utc') + make_interval(secs => $3))
ON CONFLICT (name) DO UPDATE SET claimed_until = excluded.claimed_until
WHERE coalesce(w.claimed_until <= (now() AT TIME ZONE 'utc'), true)
  AND coalesce(w.listed_at <= (now() AT TIME ZONE 'utc') - make_interval(secs => $2), true)
RETURNING w.since
