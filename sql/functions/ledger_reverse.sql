-- Posts the opposite of an entry, once. p_user_id: whose balance; p_entry_user_id: whose entry (the
-- same, or a device linked to it). The reversal's id is made of the entry's, so there is only one.
-- It is looked for in both accounts: the entry may have been reversed before the device was linked.
-- A reversal, and an entry of a link's transfer, are already_reversed: their opposite is there.
-- An entry of a payment or refund, whose id is made of theirs, is of_payment: its refund takes the
-- tokens back, once. So is a purchase that the original backend credited for a payment.
-- outcome: done, replayed, reused, in_progress, already_reversed, of_payment, insufficient,
-- limit, not_found.
-- No row: no such account.
CREATE OR REPLACE FUNCTION ledger_reverse(p_user_id uuid, p_entry_user_id uuid, p_entry_id uuid,
                                          p_operation_id uuid, p_request_hash bigint)
RETURNS TABLE (outcome text, balance int, reversal_id uuid)
LANGUAGE plpgsql AS $$
DECLARE
    account record;
    original token_transactions%ROWTYPE;
    prior token_transactions%ROWTYPE;
    opposite uuid := md5('reverse ' || p_entry_user_id || ' ' || p_entry_id)::uuid;
    total int;
    held_now int;
    stamp timestamp;
BEGIN
    IF p_request_hash IS NOT NULL
       AND NOT pg_try_advisory_xact_lock(hashtextextended(p_operation_id::text, 0)) THEN
        RETURN QUERY SELECT 'in_progress', 0, NULL::uuid;
        RETURN;
    END IF;
    SELECT * INTO account FROM account_lock(p_user_id);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO original FROM token_transactions e
    WHERE e.user_id = p_entry_user_id AND e.id = p_entry_id;
    IF NOT FOUND THEN
        RETURN QUERY SELECT 'not_found', 0, NULL::uuid;
        RETURN;
    END IF;
    IF original.id IN (md5('payment ' || original.operation_id)::uuid,
                       md5('refund ' || original.operation_id)::uuid)
       -- Random ids are the original's: ours begin with the time, or are made of something.
       OR original.type = 'purchase' AND original.operation_id IS NULL
          AND substr(original.id::text, 15, 1) = '4' AND EXISTS (
              SELECT 1 FROM payments p
              WHERE p.user_id = p_user_id AND p.purpose = 'tokens' AND p.succeeded_at IS NULL
                AND p.status IN ('succeeded', 'refunded')
                AND p.tokens_amount = original.amount) THEN
        RETURN QUERY SELECT 'of_payment', account.balance - account.held, NULL::uuid;
        RETURN;
    END IF;
    SELECT * INTO prior FROM token_transactions e
    WHERE e.user_id IN (p_user_id, p_entry_user_id) AND e.id = opposite;
    IF FOUND OR original.reverses IS NOT NULL
       -- The two entries of a transfer have one id; reversing one would make tokens of nothing.
       OR EXISTS (SELECT 1 FROM token_transactions e
                  WHERE e.id = p_entry_id AND e.user_id <> p_entry_user_id
                    AND e.amount = -original.amount
                    AND e.user_id IN (SELECT u.id FROM users u
                                      WHERE u.id = p_user_id OR u.merged_into = p_user_id)) THEN
        RETURN QUERY
            SELECT CASE WHEN prior.operation_id IS DISTINCT FROM p_operation_id
                        THEN 'already_reversed'
                        WHEN prior.request_hash IS NOT DISTINCT FROM p_request_hash
                        THEN 'replayed' ELSE 'reused' END,
                   coalesce(prior.balance_after - prior.held_after,
                            account.balance - account.held), prior.id;
        RETURN;
    END IF;
    IF account.balance - account.held < original.amount THEN
        RETURN QUERY SELECT 'insufficient', account.balance - account.held, NULL::uuid;
        RETURN;
    END IF;
    IF account.balance::bigint - original.amount > 2147483647 THEN
        RETURN QUERY SELECT 'limit', account.balance - account.held, NULL::uuid;
        RETURN;
    END IF;
    UPDATE user_tokens t
    SET balance = t.balance - original.amount,
        updated_at = greatest(clock_timestamp() AT TIME ZONE 'utc',
                              t.updated_at + interval '1 microsecond')
    WHERE t.user_id = p_user_id
    RETURNING t.balance, t.held, t.updated_at INTO total, held_now, stamp;
    INSERT INTO token_transactions (user_id, id, amount, type, description, balance_after,
                                    held_after, operation_id, request_hash, reverses, created_at)
    VALUES (p_user_id, opposite, -original.amount, 'refund', original.description, total,
            held_now, p_operation_id, p_request_hash, p_entry_id, stamp);
    RETURN QUERY SELECT 'done', total - held_now, opposite;
END
$$;
