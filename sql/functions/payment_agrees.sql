-- What a look that went well has settled. What was not given or not taken stays, and what is said
-- of the shop is settled by a payment that shows the opposite: p_saves, one whose method is to be
-- saved was taken.
CREATE OR REPLACE FUNCTION payment_agrees(p_provider_id text, p_saves boolean)
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE payment_differences d SET resolved_at = clock_timestamp() AT TIME ZONE 'utc'
    WHERE d.resolved_at IS NULL
      AND (d.provider_id = p_provider_id
           AND d.kind NOT IN ('account_closed', 'subscription_closed', 'tokens_owed',
                              'credit_given')
           OR d.provider_id = 'shop'
              AND (d.kind = 'denied' OR p_saves AND d.kind = 'may_not_save'));
END
$$;
