-- Opens the account of a new user: the balance row and, where users.welcome says so, the welcome
-- bonus as its first entry. The entry has the user's own id, so that there can be only one.
-- Schema-qualified, and touching only this user's rows, so that it runs on a worker of a
-- distributed database as well.
CREATE OR REPLACE FUNCTION public.initialize_new_user() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    bonus int;
BEGIN
    SELECT s.value INTO bonus FROM public.app_settings s
    WHERE s.name = CASE WHEN NEW.clerk_id IS NOT NULL THEN 'welcome_bonus_clerk'
                        ELSE 'welcome_bonus_device' END;
    bonus := CASE WHEN NEW.welcome THEN greatest(coalesce(bonus, 0), 0) ELSE 0 END;
    INSERT INTO public.user_tokens (user_id, balance) VALUES (NEW.id, bonus)
    ON CONFLICT (user_id) DO NOTHING;
    IF FOUND AND bonus > 0 THEN
        INSERT INTO public.token_transactions
            (user_id, id, amount, type, description, balance_after)
        VALUES (NEW.id, NEW.id, bonus, 'bonus', 'Приветственный бонус', bonus);
    END IF;
    RETURN NULL;
END
$$;
