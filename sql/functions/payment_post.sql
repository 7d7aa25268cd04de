-- Posts the ledger entry of a payment or refund, p_operation_id. The caller has locked the account
-- and seen that the balance allows it. The entry's id is made of the operation's and not the same,
-- for a client may have sent its Idempotency-Key with another movement as well.
CREATE OR REPLACE FUNCTION payment_post(p_user_id uuid, p_entry_id uuid, p_operation_id uuid,
                                        p_amount int, p_type text, p_description text)
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    total int;
    held_now int;
    stamp timestamp;
BEGIN
    UPDATE user_tokens t
    SET balance = t.balance + p_amount,
        updated_at = greatest(clock_timestamp() AT TIME ZONE 'utc',
                              t.updated_at + interval '1 microsecond')
    WHERE t.user_id = p_user_id
    RETURNING t.balance, t.held, t.updated_at INTO total, held_now, stamp;
    INSERT INTO token_transactions (user_id, id, amount, type, description, balance_after,
                                    held_after, operation_id, created_at)
    VALUES (p_user_id, p_entry_id, p_amount, p_type, p_description, total, held_now,
            p_operation_id, stamp);
END
$$;
