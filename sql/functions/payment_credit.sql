-- Credits a payment's tokens. Returns NULL, or the difference because of which it did not.
CREATE OR REPLACE FUNCTION payment_credit(p_user_id uuid, p_id uuid, p_tokens int) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    total int;
BEGIN
    SELECT a.balance INTO total FROM account_lock(p_user_id) a;
    IF NOT FOUND THEN
        RETURN 'account_closed';
    ELSIF coalesce(p_tokens, 0) <= 0 THEN
        RETURN 'unknown_package';
    ELSIF total > 2147483647 - p_tokens THEN
        RETURN 'balance_limit';
    END IF;
    PERFORM payment_post(p_user_id, md5('payment ' || p_id)::uuid, p_id, p_tokens, 'purchase',
                          'Покупка токенов');
    RETURN NULL;
END
$$;
