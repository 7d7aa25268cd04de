-- Erases the person and keeps the books: identities, e-mail, names, images, uploads, prompts and
-- addresses go, of the account and of every device linked to it; balances, ledger entries, payments
-- and subscription periods stay under ids that lead to nobody (docs/personal-data.md).
-- p_identities are those the caller read, p_digests their keyed digests in the same order: these
-- outlive the erasure, so that bonuses and limits are once a person.
-- outcome: erased (also when it was before), gone (no such account, or one that was linked away
-- meanwhile: the caller looks its identity up again), changed (the account has other identities by
-- now: they are read again).
CREATE OR REPLACE FUNCTION user_erase(p_user_id uuid, p_identities text[], p_digests text[])
RETURNS TABLE (outcome text)
LANGUAGE plpgsql AS $$
DECLARE
    present timestamp := now() AT TIME ZONE 'utc';
    account record;
    last_bonus date;
    last_used timestamp;
BEGIN
    -- The order of a link: the account, its balance, its identities. A link that is under way is
    -- waited for, and what it brings is erased too.
    PERFORM 1 FROM users u WHERE u.id = p_user_id OR u.merged_into = p_user_id
    ORDER BY u.id FOR NO KEY UPDATE;
    SELECT u.erased_at, u.used_before INTO account
    FROM users u WHERE u.id = p_user_id AND u.merged_into IS NULL;
    outcome := CASE WHEN NOT FOUND THEN 'gone'
                    WHEN account.erased_at IS NULL
                         AND EXISTS (SELECT 1 FROM user_identities i WHERE i.user_id = p_user_id
                                     AND i.identity <> ALL (p_identities)) THEN 'changed'
                    ELSE 'erased' END;
    IF outcome <> 'erased' THEN
        RETURN NEXT;
        RETURN;
    END IF;
    -- Before the keys of the account's row change, for which its balance must be nobody's.
    UPDATE user_tokens t SET closed_at = coalesce(t.closed_at, present)
    WHERE t.user_id = p_user_id
    RETURNING t.last_bonus_date INTO last_bonus;
    SELECT greatest(max(l.created_at), account.used_before) INTO last_used
    FROM usage_logs l WHERE l.user_id = p_user_id;
    INSERT INTO erased_identities AS e (digest, erased_at, last_bonus_date, last_used_at)
    SELECT k.digest, present, last_bonus, last_used
    FROM unnest(p_identities, p_digests) k (identity, digest)
    JOIN user_identities i ON i.identity = k.identity AND i.user_id = p_user_id
    ON CONFLICT (digest) DO UPDATE
    SET erased_at = excluded.erased_at,
        last_bonus_date = greatest(e.last_bonus_date, excluded.last_bonus_date),
        last_used_at = greatest(e.last_used_at, excluded.last_used_at);
    UPDATE users u
    SET clerk_id = NULL, device_id = NULL, email = NULL, telegram_id = NULL, first_name = NULL,
        last_name = NULL, username = NULL, photo_url = NULL, language_code = NULL, vk_id = NULL,
        yandex_id = NULL, password_hash = NULL, used_before = NULL,
        updated_at = present, erased_at = coalesce(u.erased_at, present)
    WHERE u.id = p_user_id OR u.merged_into = p_user_id;
    -- What is paid is still looked for, so that the operator learns of it; nothing more is asked.
    UPDATE payments p SET request_body = NULL, confirmation_url = NULL
    WHERE p.user_id = p_user_id
      AND (p.request_body IS NOT NULL OR p.confirmation_url IS NOT NULL);
    UPDATE subscriptions s
    SET status = CASE WHEN s.status = 'active' THEN 'cancelled' ELSE s.status END,
        updated_at = CASE WHEN s.status = 'active' THEN present ELSE s.updated_at END,
        next_check_at = CASE WHEN s.status = 'active' THEN NULL ELSE s.next_check_at END,
        payment_method_id = NULL, yookassa_subscription_id = NULL
    WHERE s.user_id = p_user_id;
    -- One that is pending is the person's money: its request goes with the provider's answer.
    UPDATE payment_refunds r SET request_body = NULL
    WHERE r.user_id = p_user_id AND r.status <> 'pending' AND r.request_body IS NOT NULL;
    UPDATE token_holds h SET description = NULL
    WHERE h.user_id = p_user_id AND h.description IS NOT NULL;
    DELETE FROM usage_logs l WHERE l.user_id = p_user_id;
    DELETE FROM generations g WHERE g.user_id = p_user_id;
    DELETE FROM user_uploads f WHERE f.user_id = p_user_id;
    DELETE FROM user_identities i WHERE i.user_id = p_user_id;
    RETURN NEXT;
END
$$;
