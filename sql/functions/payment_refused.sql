-- The provider refused for good. Without an attempt before that may have happened, the payment is
-- removed and its key is free again; else it stays, to be asked for later.
CREATE OR REPLACE FUNCTION payment_refused(p_user_id uuid, p_id uuid)
RETURNS TABLE (removed boolean)
LANGUAGE plpgsql AS $$
DECLARE
    asked payments%ROWTYPE;
BEGIN
    SELECT * INTO asked FROM payments p WHERE p.user_id = p_user_id AND p.id = p_id FOR UPDATE;
    removed := NOT FOUND;
    IF asked.status = 'pending' AND asked.yookassa_payment_id IS NULL THEN
        IF asked.repeated THEN
            UPDATE payments p
            SET next_check_at = (clock_timestamp() AT TIME ZONE 'utc')
                                + payment_check_after(p.created_at, false)
            WHERE p.user_id = p_user_id AND p.id = p_id;
        ELSE
            DELETE FROM payments p WHERE p.user_id = p_user_id AND p.id = p_id;
            removed := true;
        END IF;
    END IF;
    RETURN NEXT;
END
$$;
