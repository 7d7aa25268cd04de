-- Keys that begin with the user, identities in a table of their own, a ledger that knows the
-- balance after each entry, and the trigger that opens an account. In one migration, because no
-- request may find the identities without the trigger.
-- Written for adoption: rows of an existing database stay, whatever state it is in. What is
-- corrected is said above the statement that does it.

-- Who an identity leads to: "device:<device id>" or "clerk:<Clerk user id>". Unique across users,
-- hence a table of its own, keyed by the identity.
CREATE TABLE IF NOT EXISTS user_identities (
    identity text CONSTRAINT user_identities_pkey PRIMARY KEY,
    user_id uuid NOT NULL
);
CREATE INDEX IF NOT EXISTS user_identities_user_id_idx ON user_identities (user_id);

-- Nobody writes while balances and entries are compared; in the order in which requests lock.
LOCK TABLE user_identities, users, user_tokens, token_transactions, subscriptions, payments,
    usage_logs, generations IN ACCESS EXCLUSIVE MODE;

-- The last statement makes it again. Rows inserted here are nobody's first visit.
DROP TRIGGER IF EXISTS trigger_initialize_new_user ON users;
-- The fifth migration makes it again; meanwhile a column that was dropped can be filled.
DROP TRIGGER IF EXISTS trigger_token_transactions_append_only ON token_transactions;

-- Values. A column that a new database declares NOT NULL becomes so, and its NULLs get the value
-- that means the least: a time nobody knows is the oldest one. Times are written in UTC by the
-- default as well, whatever the time zone of the session is. What the API leaves out may be NULL.
DO $$
DECLARE
    utc CONSTANT text := '(now() AT TIME ZONE ''utc'')';
    wanted record;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('users', 'created_at', $v$timestamp 'epoch'$v$),
            ('users', 'updated_at', 'created_at'),
            ('subscriptions', 'plan', $v$'free'$v$),
            ('subscriptions', 'status', $v$'expired'$v$),
            ('subscriptions', 'created_at', $v$timestamp 'epoch'$v$),
            ('subscriptions', 'updated_at', 'created_at'),
            ('generations', 'status', $v$'completed'$v$),
            ('generations', 'created_at', $v$timestamp 'epoch'$v$),
            ('generations', 'updated_at', 'created_at'),
            ('usage_logs', 'action', $v$'generation'$v$),
            ('usage_logs', 'created_at', $v$timestamp 'epoch'$v$),
            ('payments', 'amount', '0'),
            ('payments', 'currency', $v$'RUB'$v$),
            ('payments', 'status', $v$'pending'$v$),
            ('payments', 'created_at', $v$timestamp 'epoch'$v$),
            ('user_tokens', 'balance', '0'),
            ('user_tokens', 'created_at', $v$timestamp 'epoch'$v$),
            ('user_tokens', 'updated_at', 'created_at'),
            ('token_transactions', 'amount', '0'),
            ('token_transactions', 'type',
             $v$CASE WHEN amount < 0 THEN 'generation' ELSE 'bonus' END$v$),
            ('token_transactions', 'created_at', $v$timestamp 'epoch'$v$)
        ) AS w (relation, name, least)
    LOOP
        IF wanted.name IN ('created_at', 'updated_at') THEN
            EXECUTE format('ALTER TABLE %I ALTER COLUMN %I SET DEFAULT %s', wanted.relation,
                           wanted.name, utc);
        END IF;
        CONTINUE WHEN (SELECT attnotnull FROM pg_attribute
                       WHERE attrelid = wanted.relation::regclass AND attname = wanted.name);
        EXECUTE format('UPDATE %I SET %I = %s WHERE %I IS NULL', wanted.relation, wanted.name,
                       wanted.least, wanted.name);
        EXECUTE format('ALTER TABLE %I ALTER COLUMN %I SET NOT NULL', wanted.relation,
                       wanted.name);
    END LOOP;
END
$$;
ALTER TABLE generations
    ALTER COLUMN status SET DEFAULT 'completed',
    ALTER COLUMN image_url DROP NOT NULL,
    ALTER COLUMN prompt_used DROP NOT NULL,
    ALTER COLUMN trend DROP NOT NULL,
    ALTER COLUMN quality DROP NOT NULL;
ALTER TABLE usage_logs ALTER COLUMN ip_address DROP NOT NULL;
ALTER TABLE user_tokens ALTER COLUMN balance SET DEFAULT 0;

-- An account keeps its row when the person is erased: no identity, and the time it happened.
ALTER TABLE users ADD COLUMN IF NOT EXISTS erased_at timestamp;
DO $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT conname FROM pg_constraint
        WHERE contype = 'c' AND conrelid = 'users'::regclass
          AND pg_get_constraintdef(oid) LIKE '%clerk_id%'
          AND pg_get_constraintdef(oid) LIKE '%device_id%'
    LOOP
        EXECUTE format('ALTER TABLE users DROP CONSTRAINT %I', found.conname);
    END LOOP;
END
$$;
ALTER TABLE users ADD CONSTRAINT users_identity_check
    CHECK (clerk_id IS NOT NULL OR device_id IS NOT NULL OR erased_at IS NOT NULL);

-- Foreign keys that cascade would erase the books with the person; they go, and those that stay
-- come back below without the cascade. Primary keys: (user_id, id), and user_id alone for the
-- balance. Where something of the operator's hangs on the old key (a view, a foreign key), the old
-- one stays and a unique index stands beside it.
-- Rows without an owner cannot be keyed by one: they go to an account of nobody's, the nil uuid;
-- a balance, of which a user has one, to an account of its own.
DO $$
DECLARE
    nobody CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    found record;
    wanted record;
BEGIN
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
        FOR found IN
            SELECT conname FROM pg_constraint
            WHERE contype = 'f' AND conrelid = wanted.relation::regclass
              AND confrelid = 'users'::regclass AND confdeltype <> 'r'
        LOOP
            EXECUTE format('ALTER TABLE %I DROP CONSTRAINT %I', wanted.relation, found.conname);
        END LOOP;

        IF NOT (SELECT attnotnull FROM pg_attribute
                WHERE attrelid = wanted.relation::regclass AND attname = 'user_id') THEN
            IF wanted.relation = 'user_tokens' THEN
                UPDATE user_tokens SET user_id = id WHERE user_id IS NULL;
            ELSE
                EXECUTE format('UPDATE %I SET user_id = $1 WHERE user_id IS NULL',
                               wanted.relation) USING nobody;
            END IF;
            EXECUTE format('ALTER TABLE %I ALTER COLUMN user_id SET NOT NULL', wanted.relation);
        END IF;

        SELECT conname,
               (SELECT array_agg(a.attname::text ORDER BY k.position)
                FROM unnest(conkey) WITH ORDINALITY AS k (attnum, position)
                JOIN pg_attribute a ON a.attrelid = conrelid AND a.attnum = k.attnum) AS columns
        INTO found
        FROM pg_constraint
        WHERE contype = 'p' AND conrelid = wanted.relation::regclass;
        CONTINUE WHEN found.columns = wanted.columns;
        BEGIN
            IF found.conname IS NOT NULL THEN
                EXECUTE format('ALTER TABLE %I DROP CONSTRAINT %I', wanted.relation,
                               found.conname);
            END IF;
            EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I PRIMARY KEY (%s)', wanted.relation,
                           wanted.relation || '_pkey', array_to_string(wanted.columns, ', '));
        EXCEPTION WHEN dependent_objects_still_exist THEN
            EXECUTE format('CREATE UNIQUE INDEX IF NOT EXISTS %I ON %I (%s)',
                           wanted.relation || '_user_key', wanted.relation,
                           array_to_string(wanted.columns, ', '));
        END;
    END LOOP;

    -- The primary key of user_tokens, or what stands for it, replaces its unique constraint.
    FOR found IN
        SELECT conname FROM pg_constraint
        WHERE contype = 'u' AND conrelid = 'user_tokens'::regclass
          AND conkey = ARRAY[(SELECT attnum FROM pg_attribute
                              WHERE attrelid = conrelid AND attname = 'user_id')]
    LOOP
        BEGIN
            EXECUTE format('ALTER TABLE user_tokens DROP CONSTRAINT %I', found.conname);
        EXCEPTION WHEN dependent_objects_still_exist THEN
            NULL; -- a second unique index does no harm
        END;
    END LOOP;
END
$$;

-- Rows whose user is not there get one: the account that an identity still leads to (its row was
-- dropped), else an erased account.
INSERT INTO users (id, clerk_id, device_id, erased_at)
SELECT o.user_id, i.clerk_id, i.device_id,
       CASE WHEN i.clerk_id IS NULL AND i.device_id IS NULL THEN now() AT TIME ZONE 'utc' END
FROM (SELECT user_id FROM subscriptions
      UNION SELECT user_id FROM generations
      UNION SELECT user_id FROM usage_logs
      UNION SELECT user_id FROM payments
      UNION SELECT user_id FROM user_tokens
      UNION SELECT user_id FROM token_transactions
      EXCEPT SELECT id FROM users) o
LEFT JOIN LATERAL (
    SELECT max(substr(identity, 7)) FILTER (WHERE identity LIKE 'clerk:%') AS clerk_id,
           max(substr(identity, 8)) FILTER (WHERE identity LIKE 'device:%') AS device_id
    FROM user_identities WHERE user_id = o.user_id
) i ON true;

INSERT INTO user_identities (identity, user_id)
SELECT 'device:' || device_id, id FROM users WHERE device_id IS NOT NULL
UNION ALL
SELECT 'clerk:' || clerk_id, id FROM users WHERE clerk_id IS NOT NULL
ON CONFLICT (identity) DO NOTHING;

-- The ledger. balance is the sum of the entries; held is the part of it that holds set aside.
ALTER TABLE user_tokens ADD COLUMN IF NOT EXISTS held int NOT NULL DEFAULT 0;
ALTER TABLE token_transactions ADD COLUMN IF NOT EXISTS balance_after int;

-- A balance that is missing is what the entries say; one below zero (an overspend) is forgiven.
INSERT INTO user_tokens (user_id, balance)
SELECT u.id, coalesce((SELECT sum(e.amount) FROM token_transactions e WHERE e.user_id = u.id), 0)
FROM users u
WHERE NOT EXISTS (SELECT 1 FROM user_tokens t WHERE t.user_id = u.id);
UPDATE user_tokens SET balance = 0 WHERE balance < 0;
UPDATE user_tokens SET held = least(greatest(held, 0), balance)
WHERE held NOT BETWEEN 0 AND balance;

-- Entries of the original carry no balance after: it is the running sum. Where that does not meet
-- the balance (a lost or doubled write of the original), one more entry says by how much, and the
-- balance that the person sees stays.
UPDATE token_transactions e
SET balance_after = s.running
FROM (SELECT user_id, id,
             sum(amount) OVER (PARTITION BY user_id ORDER BY created_at, id) AS running
      FROM token_transactions
      WHERE EXISTS (SELECT 1 FROM token_transactions WHERE balance_after IS NULL)) s
WHERE e.user_id = s.user_id AND e.id = s.id;
INSERT INTO token_transactions
    (user_id, id, amount, type, description, created_at, balance_after)
SELECT t.user_id, gen_random_uuid(), t.balance - coalesce(e.total, 0),
       CASE WHEN t.balance > coalesce(e.total, 0) THEN 'refund' ELSE 'generation' END,
       'Корректировка при переносе',
       greatest(now() AT TIME ZONE 'utc', e.newest + interval '1 microsecond'), t.balance
FROM user_tokens t
LEFT JOIN (SELECT user_id, sum(amount)::int AS total, max(created_at) AS newest
           FROM token_transactions GROUP BY user_id) e ON e.user_id = t.user_id
WHERE t.balance <> coalesce(e.total, 0);
ALTER TABLE token_transactions ALTER COLUMN balance_after SET NOT NULL;

-- Of several active subscriptions the newest is the active one.
UPDATE subscriptions s SET status = 'expired'
WHERE s.status = 'active'
  AND EXISTS (SELECT 1 FROM subscriptions n
              WHERE n.user_id = s.user_id AND n.status = 'active'
                AND (n.created_at, n.id) > (s.created_at, s.id));

-- Checks and foreign keys. The two busiest tables have no foreign key: their rows are written by
-- functions that have just locked the user's own row. Old rows that a check would refuse stay; it
-- then holds for new ones.
DO $$
DECLARE
    wanted record;
    command text;
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
        command := format('ALTER TABLE %I ADD CONSTRAINT %I %s', wanted.relation, wanted.name,
                          wanted.definition);
        BEGIN
            EXECUTE command;
        EXCEPTION WHEN check_violation THEN
            EXECUTE command || ' NOT VALID';
        END;
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

CREATE TRIGGER trigger_initialize_new_user
    AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION public.initialize_new_user();
