-- The provider will never make a renewal as it was asked for, its saved method being gone as a
-- rule: that is a failed attempt like one that was declined. After an attempt that may have
-- happened it stays, as in payment_refused.
CREATE OR REPLACE FUNCTION renewal_refused(p_user_id uuid, p_id uuid)
RETURNS TABLE (failed boolean)
LANGUAGE plpgsql AS $$
DECLARE
    asked payments%ROWTYPE;
BEGIN
    SELECT * INTO asked FROM payments p
    WHERE p.user_id = p_user_id AND p.id = p_id AND p.purpose = 'renewal' FOR UPDATE;
    failed := FOUND AND asked.status = 'pending' AND asked.yookassa_payment_id IS NULL
              AND NOT asked.repeated;
    IF failed THEN
        UPDATE payments p
        SET status = 'canceled', cancellation_reason = 'refused', next_check_at = NULL,
            request_body = NULL
        WHERE p.user_id = p_user_id AND p.id = p_id;
        PERFORM subscription_unpaid(p_user_id, asked.subscription_id, asked.created_at, NULL);
    END IF;
    RETURN NEXT;
END
$$;
