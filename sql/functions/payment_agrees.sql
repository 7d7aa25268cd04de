-- What a look that went well has settled. What was not given or not taken stays.
CREATE OR REPLACE FUNCTION payment_agrees(p_provider_id text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE payment_differences d SET resolved_at = clock_timestamp() AT TIME ZONE 'utc'
    WHERE d.provider_id = p_provider_id AND d.resolved_at IS NULL
      AND d.kind NOT IN ('account_closed', 'subscription_closed', 'tokens_owed');
END
$$;
