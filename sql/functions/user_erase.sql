-- Erases the person and keeps the books: identities, e-mail, names, images, uploads, prompts and
-- addresses go, of the account and of every device linked to it; balances, ledger entries, payments
-- and subscription periods stay under ids that lead to nobody.
-- erased: false without such an account, or when it was linked to another one meanwhile: the caller
-- looks its identity up again.
CREATE OR REPLACE FUNCTION user_erase(p_user_id uuid) RETURNS TABLE (erased boolean)
LANGUAGE plpgsql AS $$
DECLARE
    present timestamp := now() AT TIME ZONE 'utc';
BEGIN
    -- The order of a link: the account, its balance, its identities. A link that is under way is
    -- waited for, and what it brings is erased too.
    PERFORM 1 FROM users u WHERE u.id = p_user_id OR u.merged_into = p_user_id
    ORDER BY u.id FOR NO KEY UPDATE;
    PERFORM 1 FROM users u WHERE u.id = p_user_id AND u.merged_into IS NULL;
    erased := FOUND;
    IF NOT erased THEN
        RETURN NEXT;
        RETURN;
    END IF;
    -- Before the keys of the account's row change, for which its balance must be nobody's.
    UPDATE user_tokens t SET closed_at = coalesce(t.closed_at, present)
    WHERE t.user_id = p_user_id;
    UPDATE users u
    SET clerk_id = NULL, device_id = NULL, email = NULL, telegram_id = NULL, first_name = NULL,
        last_name = NULL, username = NULL, photo_url = NULL, language_code = NULL, vk_id = NULL,
        yandex_id = NULL, password_hash = NULL, updated_at = present,
        erased_at = coalesce(u.erased_at, present)
    WHERE u.id = p_user_id OR u.merged_into = p_user_id;
    -- What is paid is still looked for, so that the operator learns of it; nothing more is asked.
    UPDATE payments p SET request_body = NULL, confirmation_url = NULL
    WHERE p.user_id = p_user_id
      AND (p.request_body IS NOT NULL OR p.confirmation_url IS NOT NULL);
    UPDATE subscriptions s
    SET status = 'cancelled', payment_method_id = NULL, next_check_at = NULL,
        updated_at = present
    WHERE s.user_id = p_user_id AND s.status = 'active';
    DELETE FROM usage_logs l WHERE l.user_id = p_user_id;
    DELETE FROM generations g WHERE g.user_id = p_user_id;
    DELETE FROM user_uploads f WHERE f.user_id = p_user_id;
    DELETE FROM user_identities i WHERE i.user_id = p_user_id;
    RETURN NEXT;
END
$$;
