-- As payment_refused.
CREATE OR REPLACE FUNCTION refund_refused(p_user_id uuid, p_id uuid)
RETURNS TABLE (removed boolean)
LANGUAGE plpgsql AS $$
DECLARE
    asked payment_refunds%ROWTYPE;
BEGIN
    SELECT * INTO asked FROM payment_refunds r
    WHERE r.user_id = p_user_id AND r.id = p_id FOR UPDATE;
    removed := NOT FOUND;
    IF asked.status = 'pending' AND asked.yookassa_refund_id IS NULL THEN
        IF asked.repeated THEN
            UPDATE payment_refunds r
            SET next_check_at = (clock_timestamp() AT TIME ZONE 'utc')
                                + payment_check_after(r.created_at, false)
            WHERE r.user_id = p_user_id AND r.id = p_id;
        ELSE
            DELETE FROM payment_refunds r WHERE r.user_id = p_user_id AND r.id = p_id;
            removed := true;
        END IF;
    END IF;
    RETURN NEXT;
END
$$;
