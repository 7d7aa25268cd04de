-- Keys that begin with the user, identities in a table of their own, a ledger that knows the
-- balance after each entry, and the trigger that opens an account. In one migration, because no
-- request may find the identities without the trigger.
-- Written for adoption: rows of an existing database stay, whatever state it is in.

-- Rows without an owner cannot be keyed by one. They are kept under an account of their own.
DO $$
DECLARE
    nobody uuid;
    owned text;
    found_rows bigint;
BEGIN
    FOREACH owned IN ARRAY ARRAY['subscriptions', 'generations', 'usage_logs', 'payments',
                                 'user_tokens', 'token_transactions'] LOOP
        EXECUTE format('SELECT count(*) FROM %I WHERE user_id IS NULL', owned) INTO found_rows;
        CONTINUE WHEN found_rows = 0;
        INSERT INTO users (device_id) VALUES ('device_rows_adopted_without_owner')
        ON CONFLICT (device_id) DO UPDATE SET device_id = excluded.device_id
        RETURNING id INTO nobody;
        IF owned = 'user_tokens' THEN
            DELETE FROM user_tokens WHERE user_id IS NULL AND balance = 0;
        END IF;
        EXECUTE format('UPDATE %I SET user_id = $1 WHERE user_id IS NULL', owned) USING nobody;
    END LOOP;
END
$$;

-- Primary keys: (user_id, id), and user_id alone for the balance. Foreign keys that cascade would
-- erase the books with the person; they go, and come back below without the cascade.
DO $$
DECLARE
    found record;
    wanted record;
BEGIN
    FOR found IN
        SELECT conrelid::regclass AS relation, conname
        FROM pg_constraint
        WHERE contype = 'f' AND confrelid = 'users'::regclass AND confdeltype <> 'r'
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', found.relation, found.conname);
    END LOOP;

    FOR wanted IN
        SELECT * FROM (VALUES
            ('subscriptions', ARRAY['user_id', 'id']),
            ('generations', ARRAY['user_id', 'id']),
            ('usage_logs', ARRAY['user_id', 'id']),
            ('payments', ARRAY['user_id', 'id']),
            ('user_tokens', ARRAY['user_id']),
            ('token_transactions', ARRAY['user_id', 'id'])
        ) AS w (relation, columns)
    LOOP
        EXECUTE format('ALTER TABLE %I ALTER COLUMN user_id SET NOT NULL', wanted.relation);
        SELECT conname,
               (SELECT array_agg(a.attname::text ORDER BY k.position)
                FROM unnest(conkey) WITH ORDINALITY AS k (attnum, position)
                JOIN pg_attribute a ON a.attrelid = conrelid AND a.attnum = k.attnum) AS columns
        INTO found
        FROM pg_constraint
        WHERE contype = 'p' AND conrelid = wanted.relation::regclass;
        CONTINUE WHEN found.columns = wanted.columns;
        IF found.conname IS NOT NULL THEN
            EXECUTE format('ALTER TABLE %I DROP CONSTRAINT %I', wanted.relation, found.conname);
        END IF;
        EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I PRIMARY KEY (%s)', wanted.relation,
                       wanted.relation || '_pkey', array_to_string(wanted.columns, ', '));
    END LOOP;

    -- The primary key of user_tokens replaces the unique constraint it had.
    FOR found IN
        SELECT conname FROM pg_constraint
        WHERE contype = 'u' AND conrelid = 'user_tokens'::regclass
    LOOP
        EXECUTE format('ALTER TABLE user_tokens DROP CONSTRAINT %I', found.conname);
    END LOOP;
END
$$;

-- An account keeps its row when the person is erased: no identity, and the time it happened.
ALTER TABLE users ADD COLUMN IF NOT EXISTS erased_at timestamp;

DO $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT conname FROM pg_constraint
        WHERE contype = 'c' AND conrelid = 'users'::regclass
          AND pg_get_constraintdef(oid) LIKE '%clerk_id%device_id%'
    LOOP
        EXECUTE format('ALTER TABLE users DROP CONSTRAINT %I', found.conname);
    END LOOP;
END
$$;
ALTER TABLE users ADD CONSTRAINT users_identity_check
    CHECK (clerk_id IS NOT NULL OR device_id IS NOT NULL OR erased_at IS NOT NULL);

-- Who an identity leads to: "device:<device id>" or "clerk:<Clerk user id>". Unique across users,
-- hence a table of its own, keyed by the identity.
CREATE TABLE IF NOT EXISTS user_identities (
    identity text CONSTRAINT user_identities_pkey PRIMARY KEY,
    user_id uuid NOT NULL
);
CREATE INDEX IF NOT EXISTS user_identities_user_id_idx ON user_identities (user_id);

INSERT INTO user_identities (identity, user_id)
SELECT 'device:' || device_id, id FROM users WHERE device_id IS NOT NULL
UNION ALL
SELECT 'clerk:' || clerk_id, id FROM users WHERE clerk_id IS NOT NULL
ON CONFLICT (identity) DO NOTHING;

-- The ledger. balance is the sum of the entries; held is the part of it that holds set aside.
ALTER TABLE user_tokens ADD COLUMN IF NOT EXISTS held int NOT NULL DEFAULT 0;
ALTER TABLE token_transactions ADD COLUMN IF NOT EXISTS balance_after int;

INSERT INTO user_tokens (user_id, balance)
SELECT u.id, coalesce((SELECT sum(e.amount) FROM token_transactions e WHERE e.user_id = u.id), 0)
FROM users u
WHERE NOT EXISTS (SELECT 1 FROM user_tokens t WHERE t.user_id = u.id);

-- Entries of the original carry no balance after: it is the running sum. Where that does not meet
-- the balance (a lost or doubled write of the original), one entry says by how much, and the
-- balance the person sees stays. A balance below zero (an overspend) is forgiven.
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM token_transactions WHERE balance_after IS NULL)
       OR EXISTS (SELECT 1 FROM pg_attribute
                  WHERE attrelid = 'token_transactions'::regclass
                    AND attname = 'balance_after' AND NOT attnotnull) THEN
        UPDATE user_tokens SET balance = 0 WHERE balance < 0;

        INSERT INTO token_transactions (user_id, id, amount, type, description, created_at)
        SELECT t.user_id, gen_random_uuid(), t.balance - coalesce(e.total, 0),
               CASE WHEN t.balance > coalesce(e.total, 0) THEN 'refund' ELSE 'generation' END,
               'Корректировка при переносе',
               greatest(now() AT TIME ZONE 'utc', e.newest + interval '1 microsecond')
        FROM user_tokens t
        LEFT JOIN (SELECT user_id, sum(amount)::int AS total, max(created_at) AS newest
                   FROM token_transactions GROUP BY user_id) e ON e.user_id = t.user_id
        WHERE t.balance <> coalesce(e.total, 0);

        UPDATE token_transactions e
        SET balance_after = s.running
        FROM (SELECT user_id, id,
                     sum(amount) OVER (PARTITION BY user_id ORDER BY created_at, id) AS running
              FROM token_transactions) s
        WHERE e.user_id = s.user_id AND e.id = s.id;
    END IF;
END
$$;
ALTER TABLE token_transactions ALTER COLUMN balance_after SET NOT NULL;

-- Checks and foreign keys. The two busiest tables have no foreign key: their rows are written by
-- functions that have just locked the user's own row.
DO $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('user_tokens', 'user_tokens_balance_check', 'CHECK (balance >= 0)'),
            ('user_tokens', 'user_tokens_held_check', 'CHECK (held >= 0 AND held <= balance)'),
            ('user_tokens', 'user_tokens_user_id_fkey',
             'FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE RESTRICT'),
            ('subscriptions', 'subscriptions_user_id_fkey',
             'FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE RESTRICT'),
            ('subscriptions', 'subscriptions_plan_check',
             $c$CHECK (plan IN ('free', 'pro', 'premium'))$c$),
            ('subscriptions', 'subscriptions_status_check',
             $c$CHECK (status IN ('active', 'cancelled', 'expired'))$c$),
            ('generations', 'generations_user_id_fkey',
             'FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE RESTRICT'),
            ('payments', 'payments_user_id_fkey',
             'FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE RESTRICT'),
            ('usage_logs', 'usage_logs_action_check',
             $c$CHECK (action IN ('generation', 'download'))$c$),
            ('token_transactions', 'token_transactions_type_check',
             $c$CHECK (type IN ('purchase', 'bonus', 'generation', 'refund'))$c$)
        ) AS w (relation, name, definition)
    LOOP
        CONTINUE WHEN EXISTS (SELECT 1 FROM pg_constraint
                              WHERE conrelid = wanted.relation::regclass
                                AND conname = wanted.name);
        EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I %s', wanted.relation, wanted.name,
                       wanted.definition);
    END LOOP;
END
$$;

CREATE UNIQUE INDEX IF NOT EXISTS subscriptions_one_active_idx
    ON subscriptions (user_id) WHERE status = 'active';
CREATE INDEX IF NOT EXISTS generations_history_idx
    ON generations (user_id, created_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS usage_logs_window_idx ON usage_logs (user_id, action, created_at);
CREATE INDEX IF NOT EXISTS token_transactions_history_idx
    ON token_transactions (user_id, created_at DESC, id DESC);

-- Opens the account of a new user: the balance row and the welcome bonus as its first entry. The
-- entry has the user's own id, so that there can be only one. Schema-qualified, and touching only
-- this user's rows, so that it runs on a worker of a distributed database as well.
CREATE OR REPLACE FUNCTION public.initialize_new_user() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    bonus int;
BEGIN
    SELECT s.value INTO bonus FROM public.app_settings s
    WHERE s.name = CASE WHEN NEW.clerk_id IS NOT NULL THEN 'welcome_bonus_clerk'
                        ELSE 'welcome_bonus_device' END;
    bonus := greatest(coalesce(bonus, 0), 0);
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

DROP TRIGGER IF EXISTS trigger_initialize_new_user ON users;
CREATE TRIGGER trigger_initialize_new_user
    AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION public.initialize_new_user();
