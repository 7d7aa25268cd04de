-- Keys, checks, indexes and triggers of the tables of the original backend.

-- Each user's rows are keyed by the user. The ledger's key begins with the entry's id: ids of the
-- handlers begin with the time (UUIDv7), so it grows at its end. A key that begins with the user
-- puts nearly every entry on another page, which is logged whole once after each checkpoint.
-- Where something of the operator's keeps the old primary key, a unique index stands beside it.
DO $$
DECLARE
    wanted record;
    present text[];
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('subscriptions', ARRAY['user_id', 'id']),
            ('generations', ARRAY['user_id', 'id']),
            ('usage_logs', ARRAY['user_id', 'id']),
            ('payments', ARRAY['user_id', 'id']),
            ('user_uploads', ARRAY['user_id', 'id']),
            ('user_tokens', ARRAY['user_id']),
            ('token_transactions', ARRAY['id', 'user_id'])
        ) AS w (relation, columns)
    LOOP
        SELECT array_agg(a.attname::text) INTO present
        FROM pg_constraint c
        JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
        WHERE c.contype = 'p' AND c.conrelid = wanted.relation::regclass;
        IF present IS NULL THEN
            EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I PRIMARY KEY (%s)', wanted.relation,
                           wanted.relation || '_pkey', array_to_string(wanted.columns, ', '));
        ELSIF NOT (present @> wanted.columns AND present <@ wanted.columns) THEN
            EXECUTE format('CREATE UNIQUE INDEX IF NOT EXISTS %I ON %I (%s)',
                           wanted.relation || '_user_key', wanted.relation,
                           array_to_string(wanted.columns, ', '));
        END IF;
    END LOOP;
    RAISE NOTICE 'tables have their keys' USING ERRCODE = 'DL000', DETAIL = '80';
END
$$;

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
            ('users', 'users_identity_check',
             'CHECK (num_nonnulls(clerk_id, device_id, telegram_id, vk_id, yandex_id, erased_at,'
             ' merged_into) > 0)'),
            ('user_tokens', 'user_tokens_balance_check', 'CHECK (balance >= 0)'),
            ('user_tokens', 'user_tokens_held_check', 'CHECK (held >= 0 AND held <= balance)'),
            ('user_tokens', 'user_tokens_user_id_fkey',
             'FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE RESTRICT'),
            ('subscriptions', 'subscriptions_user_id_fkey',
             'FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE RESTRICT'),
            ('subscriptions', 'subscriptions_status_check',
             $c$CHECK (status IN ('active', 'cancelled', 'expired'))$c$),
            ('generations', 'generations_user_id_fkey',
             'FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE RESTRICT'),
            ('payments', 'payments_user_id_fkey',
             'FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE RESTRICT'),
            ('user_uploads', 'user_uploads_user_id_fkey',
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

CREATE UNIQUE INDEX IF NOT EXISTS users_telegram_id_key ON users (telegram_id);
CREATE INDEX IF NOT EXISTS users_merged_into_idx ON users (merged_into)
    WHERE merged_into IS NOT NULL;
CREATE UNIQUE INDEX IF NOT EXISTS subscriptions_one_active_idx
    ON subscriptions (user_id) WHERE status = 'active';
CREATE INDEX IF NOT EXISTS subscriptions_history_idx
    ON subscriptions (user_id, created_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS subscriptions_next_check_idx ON subscriptions (next_check_at)
    WHERE next_check_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS generations_history_idx
    ON generations (user_id, created_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS usage_logs_window_idx ON usage_logs (user_id, action, created_at);
CREATE INDEX IF NOT EXISTS usage_logs_address_idx ON usage_logs (ip_address, created_at)
    WHERE action = 'generation';
CREATE INDEX IF NOT EXISTS payments_history_idx ON payments (user_id, created_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS payments_next_check_idx ON payments (next_check_at)
    WHERE next_check_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS token_transactions_history_idx
    ON token_transactions (user_id, created_at DESC, id DESC);

DO $$
BEGIN
    RAISE NOTICE 'tables have their indexes' USING ERRCODE = 'DL000', DETAIL = '98';
END
$$;

-- A new account gets its balance and its welcome bonus.
DROP TRIGGER IF EXISTS trigger_initialize_new_user ON users;
CREATE TRIGGER trigger_initialize_new_user
    AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION public.initialize_new_user();

-- Entries are written once. The triggers hold for every role, the owner's own mistakes included.
DROP TRIGGER IF EXISTS trigger_token_transactions_append_only ON token_transactions;
CREATE TRIGGER trigger_token_transactions_append_only
    BEFORE UPDATE OR DELETE ON token_transactions
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
DROP TRIGGER IF EXISTS trigger_token_transactions_no_truncate ON token_transactions;
CREATE TRIGGER trigger_token_transactions_no_truncate
    BEFORE TRUNCATE ON token_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
