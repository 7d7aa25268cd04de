-- Takes back the tokens that refunds of p_refunded together stand for, less what the refunds before
-- took: a part of the money is that part of the tokens, rounded down, and all of it is all of them.
-- At most what can be spent is taken; the rest is owed.
CREATE OR REPLACE FUNCTION refund_debit(p_user_id uuid, p_id uuid, p_paid payments,
                                        p_refunded numeric)
RETURNS TABLE (taken int, owed int)
LANGUAGE plpgsql AS $$
DECLARE
    given int := 0;
    due int;
BEGIN
    IF p_paid.purpose = 'tokens' AND NOT EXISTS (
           SELECT 1 FROM payment_differences d
           WHERE d.provider_id = p_paid.yookassa_payment_id AND d.kind = 'account_closed') THEN
        given := coalesce(p_paid.tokens_amount, 0);
    END IF;
    due := CASE WHEN p_refunded >= p_paid.amount THEN given
                ELSE floor(given * p_refunded / p_paid.amount) END
           - (SELECT coalesce(sum(r.tokens_taken + r.tokens_owed), 0) FROM payment_refunds r
              WHERE r.user_id = p_user_id AND r.payment_id = p_paid.id);
    due := greatest(due, 0);
    taken := least(due, coalesce((SELECT a.balance - a.held FROM account_lock(p_user_id) a), 0));
    owed := due - taken;
    IF taken > 0 THEN
        PERFORM payment_post(p_user_id, md5('refund ' || p_id)::uuid, p_id, -taken, 'refund',
                              'Возврат платежа');
    END IF;
    RETURN NEXT;
END
$$;
