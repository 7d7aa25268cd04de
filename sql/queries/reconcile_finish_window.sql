-- One of the provider's lists was read to its end. $1 name text, $2 until timestamp.
UPDATE payment_windows
SET since = greatest(since, $2), listed_at = now() AT TIME ZONE 'utc', claimed_until = NULL
WHERE name = $1
RETURNING name
