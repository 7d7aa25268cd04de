-- What the operator has to do before the provider takes everything the shop asks for.
SELECT details FROM payment_differences
WHERE provider_id = 'shop' AND kind IN ('denied', 'may_not_save') AND resolved_at IS NULL
ORDER BY kind
LIMIT 1
