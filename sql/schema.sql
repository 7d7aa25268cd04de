-- The whole schema of the DreamLens database in one file: what the numbered migrations lead to, and
-- a test compares the two by catalog.
--
--     psql -v ON_ERROR_STOP=1 -f sql/schema.sql "$POSTGRES_URL_NON_POOLING"
--
-- For an empty database, or one that has this schema already (then nothing changes). An existing
-- database of the original backend is adopted by the handlers instead: GET /api/init-db, or simply
-- the first request. The handlers keep the record of migrations, the table schema_migrations; on a
-- database made from this file they make it at their first bootstrap, which changes nothing else.
--
-- Conventions. Ids are uuids made by the handlers (version 7, so they sort by time). Timestamps
-- have no zone and are UTC. Every table of a user's rows has a key that begins with user_id, so
-- that the same schema can be distributed by user. Tokens are whole numbers, money is numeric.

BEGIN;
SET LOCAL client_min_messages = warning;
-- The lock of the handlers' bootstrap: one at a time makes the schema.
SELECT pg_advisory_xact_lock(x'445245414D4C454E'::bigint) \g /dev/null

DO $$
BEGIN
    IF to_regclass('users') IS NOT NULL AND to_regclass('user_identities') IS NULL THEN
        RAISE EXCEPTION 'this database has tables of the original backend'
            USING HINT = 'Call /api/init-db: it adopts them. This file is for an empty database.';
    END IF;
END
$$;

-- ---------------------------------------------------------------------------------------------
-- Reference tables: yours to edit with psql. A changed row is never overwritten.
-- ---------------------------------------------------------------------------------------------

-- What a plan allows.
CREATE TABLE IF NOT EXISTS plans (
    plan text CONSTRAINT plans_pkey PRIMARY KEY,
    daily_generations int,         -- free generations a day; NULL: unlimited
    history_max int,               -- generations shown in the history; NULL: unlimited
    quality text NOT NULL,         -- the best quality a free generation may have
    price numeric(10, 2) NOT NULL, -- a month
    currency text NOT NULL DEFAULT 'RUB',
    CONSTRAINT plans_quality_check CHECK (quality IN ('1K', '2K', '4K'))
);
INSERT INTO plans (plan, daily_generations, history_max, quality, price) VALUES
    ('free', 0, 10, '1K', 0),
    ('pro', 50, 100, '2K', 999),
    ('premium', NULL, NULL, '4K', 2999)
ON CONFLICT (plan) DO NOTHING;

-- Token packages on sale.
CREATE TABLE IF NOT EXISTS token_packages (
    package text CONSTRAINT token_packages_pkey PRIMARY KEY,
    tokens int NOT NULL,
    price numeric(10, 2) NOT NULL,
    currency text NOT NULL DEFAULT 'RUB',
    CONSTRAINT token_packages_tokens_check CHECK (tokens > 0)
);
INSERT INTO token_packages (package, tokens, price) VALUES
    ('small', 10, 99),
    ('medium', 50, 399),
    ('large', 100, 699)
ON CONFLICT (package) DO NOTHING;

-- The numbers of the token economy and the limits; each row says what it is.
CREATE TABLE IF NOT EXISTS app_settings (
    name text CONSTRAINT app_settings_pkey PRIMARY KEY,
    value int NOT NULL,
    description text NOT NULL
);
INSERT INTO app_settings (name, value, description) VALUES
    ('welcome_bonus_clerk', 10, 'tokens a new Clerk account starts with'),
    ('welcome_bonus_device', 5, 'tokens a new anonymous device starts with'),
    ('daily_bonus_min', 1, 'tokens, the least a daily bonus gives'),
    ('daily_bonus_max', 10, 'tokens, the most a daily bonus gives'),
    ('generations_per_minute', 10, 'generations a user may start or record in 60 seconds'),
    ('downloads_per_minute', 60, 'downloads a user may record in 60 seconds')
ON CONFLICT (name) DO NOTHING;

-- ---------------------------------------------------------------------------------------------
-- Accounts
-- ---------------------------------------------------------------------------------------------

-- An account. Erasing the person empties the identities and sets erased_at; the row stays, because
-- the books refer to it.
CREATE TABLE IF NOT EXISTS users (
    id uuid CONSTRAINT users_pkey PRIMARY KEY DEFAULT gen_random_uuid(),
    clerk_id varchar(255) CONSTRAINT users_clerk_id_key UNIQUE,
    device_id varchar(255) CONSTRAINT users_device_id_key UNIQUE,
    email varchar(255),
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    updated_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    erased_at timestamp,
    CONSTRAINT users_identity_check
        CHECK (clerk_id IS NOT NULL OR device_id IS NOT NULL OR erased_at IS NOT NULL)
);

-- Who an identity leads to: "device:<device id>" or "clerk:<Clerk user id>". The handlers look
-- here; the columns of users are what the original backend had.
CREATE TABLE IF NOT EXISTS user_identities (
    identity text CONSTRAINT user_identities_pkey PRIMARY KEY,
    user_id uuid NOT NULL
);
CREATE INDEX IF NOT EXISTS user_identities_user_id_idx ON user_identities (user_id);

-- Paid plans of an account; at most one is active.
CREATE TABLE IF NOT EXISTS subscriptions (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    plan varchar(20) NOT NULL,
    status varchar(20) NOT NULL,
    current_period_start timestamp,
    current_period_end timestamp,
    yookassa_subscription_id varchar(255),
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    updated_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    CONSTRAINT subscriptions_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT subscriptions_user_id_fkey
        FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT subscriptions_plan_check CHECK (plan IN ('free', 'pro', 'premium')),
    CONSTRAINT subscriptions_status_check CHECK (status IN ('active', 'cancelled', 'expired'))
);
CREATE UNIQUE INDEX IF NOT EXISTS subscriptions_one_active_idx
    ON subscriptions (user_id) WHERE status = 'active';

-- ---------------------------------------------------------------------------------------------
-- Tokens: the balance and the ledger. balance is the sum of the entries' amounts.
-- ---------------------------------------------------------------------------------------------

-- held is the part of the balance that holds set aside; what can be spent is balance - held.
CREATE TABLE IF NOT EXISTS user_tokens (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    balance int NOT NULL DEFAULT 0,
    last_bonus_date date, -- the UTC day of the last daily bonus
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    updated_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    held int NOT NULL DEFAULT 0,
    CONSTRAINT user_tokens_pkey PRIMARY KEY (user_id),
    CONSTRAINT user_tokens_balance_check CHECK (balance >= 0),
    CONSTRAINT user_tokens_held_check CHECK (held >= 0 AND held <= balance),
    CONSTRAINT user_tokens_user_id_fkey
        FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE RESTRICT
);

-- One entry a movement, never changed or deleted. The id is the operation's, made by the handler,
-- so that a repeated operation meets its own entry. No foreign key: entries are written by
-- functions that have just locked the user's balance.
CREATE TABLE IF NOT EXISTS token_transactions (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    amount int NOT NULL, -- negative when spent
    type varchar(20) NOT NULL,
    description text,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    balance_after int NOT NULL,
    CONSTRAINT token_transactions_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT token_transactions_type_check
        CHECK (type IN ('purchase', 'bonus', 'generation', 'refund'))
);
CREATE INDEX IF NOT EXISTS token_transactions_history_idx
    ON token_transactions (user_id, created_at DESC, id DESC);

CREATE TABLE IF NOT EXISTS payments (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    yookassa_payment_id varchar(255) CONSTRAINT payments_yookassa_payment_id_key UNIQUE,
    amount numeric(10, 2) NOT NULL,
    currency varchar(3) NOT NULL DEFAULT 'RUB',
    status varchar(50) NOT NULL,
    token_package varchar(50),
    tokens_amount int,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    CONSTRAINT payments_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT payments_user_id_fkey
        FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE RESTRICT
);

-- ---------------------------------------------------------------------------------------------
-- What users make and do
-- ---------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS generations (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    image_url text,
    prompt_used text,
    trend varchar(50),
    quality varchar(10),
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    status varchar(20) NOT NULL DEFAULT 'completed',
    error_message text,
    updated_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    CONSTRAINT generations_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT generations_user_id_fkey
        FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE RESTRICT
);
CREATE INDEX IF NOT EXISTS generations_history_idx
    ON generations (user_id, created_at DESC, id DESC);

-- Counted for the limits of a minute and of a day. No foreign key, as in the ledger.
CREATE TABLE IF NOT EXISTS usage_logs (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    action varchar(20) NOT NULL,
    ip_address varchar(45),
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    CONSTRAINT usage_logs_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT usage_logs_action_check CHECK (action IN ('generation', 'download'))
);
CREATE INDEX IF NOT EXISTS usage_logs_window_idx ON usage_logs (user_id, action, created_at);

-- ---------------------------------------------------------------------------------------------
-- The trigger that opens an account
-- ---------------------------------------------------------------------------------------------

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

-- ---------------------------------------------------------------------------------------------
-- Movements
-- ---------------------------------------------------------------------------------------------

-- What changes a user's rows in more than one place. Each is one plpgsql function whose first
-- argument is the user, called outside BEGIN: one round trip, one commit, and a distributed
-- database sends it whole to the user's worker. Each can be repeated with the same operation id
-- and then answers what it answered first.

-- The daily bonus, once a day of the database's UTC date. No row: no such user.
CREATE OR REPLACE FUNCTION claim_daily_bonus(p_user_id uuid, p_operation_id uuid)
RETURNS TABLE (claimed boolean, tokens_awarded int, balance int)
LANGUAGE plpgsql AS $$
DECLARE
    today date := (now() AT TIME ZONE 'utc')::date;
    bonus_min int := coalesce((SELECT s.value FROM app_settings s
                               WHERE s.name = 'daily_bonus_min'), 1);
    bonus_max int := coalesce((SELECT s.value FROM app_settings s
                               WHERE s.name = 'daily_bonus_max'), 10);
    awarded int := bonus_min + floor(random() * (bonus_max - bonus_min + 1))::int;
    total int;
    held_now int;
BEGIN
    UPDATE user_tokens t
    SET balance = t.balance + awarded, last_bonus_date = today,
        updated_at = now() AT TIME ZONE 'utc'
    WHERE t.user_id = p_user_id AND (t.last_bonus_date IS NULL OR t.last_bonus_date < today)
      -- Repeated after midnight, the operation is still yesterday's.
      AND NOT EXISTS (SELECT 1 FROM token_transactions e
                      WHERE e.user_id = p_user_id AND e.id = p_operation_id)
    RETURNING t.balance, t.held INTO total, held_now;
    IF FOUND THEN
        INSERT INTO token_transactions (user_id, id, amount, type, description, balance_after)
        VALUES (p_user_id, p_operation_id, awarded, 'bonus', 'Ежедневный бонус', total);
        RETURN QUERY SELECT true, awarded, total - held_now;
        RETURN;
    END IF;
    -- Claimed before: by this very operation, whose answer was lost, or by another one.
    RETURN QUERY
        SELECT e.id IS NOT NULL, coalesce(e.amount, 0),
               coalesce(e.balance_after, t.balance) - t.held
        FROM user_tokens t
        LEFT JOIN token_transactions e ON e.user_id = t.user_id AND e.id = p_operation_id
        WHERE t.user_id = p_user_id;
END
$$;

-- Counts the user's actions of the last 60 seconds and records one more if the limit allows it, in
-- one statement under the lock of the user's own row, so that no two requests pass on one count.
-- No row: no such user, or an erased one. reset_at: when the oldest counted action leaves the
-- window.
CREATE OR REPLACE FUNCTION record_usage(p_user_id uuid, p_usage_id uuid, p_action text,
                                        p_ip_address text)
RETURNS TABLE (allowed boolean, used int, usage_limit int, reset_at timestamp)
LANGUAGE plpgsql AS $$
DECLARE
    window_length CONSTANT interval := interval '60 seconds';
    present timestamp;
    oldest timestamp;
    counted int;
    allowed_max int := coalesce((SELECT s.value FROM app_settings s
                                 WHERE s.name = p_action || 's_per_minute'),
                                CASE p_action WHEN 'download' THEN 60 ELSE 10 END);
BEGIN
    PERFORM 1 FROM users u WHERE u.id = p_user_id AND u.erased_at IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    present := clock_timestamp() AT TIME ZONE 'utc';
    SELECT count(*)::int, min(l.created_at) INTO counted, oldest
    FROM usage_logs l
    WHERE l.user_id = p_user_id AND l.action = p_action AND l.created_at > present - window_length;
    IF EXISTS (SELECT 1 FROM usage_logs l WHERE l.user_id = p_user_id AND l.id = p_usage_id) THEN
        RETURN QUERY SELECT true, counted, allowed_max, coalesce(oldest, present) + window_length;
    ELSIF counted >= allowed_max THEN
        RETURN QUERY SELECT false, counted, allowed_max, coalesce(oldest, present) + window_length;
    ELSE
        INSERT INTO usage_logs (user_id, id, action, ip_address, created_at)
        VALUES (p_user_id, p_usage_id, p_action, p_ip_address, present);
        RETURN QUERY
            SELECT true, counted + 1, allowed_max, coalesce(oldest, present) + window_length;
    END IF;
END
$$;

-- Stores a finished generation in the history, counted against the same limit as generating one.
-- The generation's id is the usage entry's id as well. No row: no such user.
CREATE OR REPLACE FUNCTION record_generation(p_user_id uuid, p_generation_id uuid,
                                             p_image_url text, p_prompt_used text, p_trend text,
                                             p_quality text, p_ip_address text)
RETURNS TABLE (allowed boolean, used int, usage_limit int, reset_at timestamp,
               created_at timestamp)
LANGUAGE plpgsql AS $$
DECLARE
    usage record;
    stored timestamp;
BEGIN
    SELECT * INTO usage FROM record_usage(p_user_id, p_generation_id, 'generation', p_ip_address);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF usage.allowed THEN
        INSERT INTO generations AS g (user_id, id, image_url, prompt_used, trend, quality, status)
        VALUES (p_user_id, p_generation_id, p_image_url, p_prompt_used, p_trend, p_quality,
                'completed')
        ON CONFLICT (user_id, id) DO UPDATE SET image_url = excluded.image_url
        RETURNING g.created_at INTO stored;
    END IF;
    RETURN QUERY SELECT usage.allowed, usage.used, usage.usage_limit, usage.reset_at, stored;
END
$$;

-- Erases the person and keeps the books: identities, e-mail, images, prompts and addresses go;
-- balance, ledger entries, payments and subscription periods stay under an id that leads to nobody.
CREATE OR REPLACE FUNCTION erase_user(p_user_id uuid) RETURNS TABLE (erased boolean)
LANGUAGE plpgsql AS $$
DECLARE
    present timestamp := now() AT TIME ZONE 'utc';
BEGIN
    -- The order of sign-up: first the identity, then the account.
    DELETE FROM user_identities i WHERE i.user_id = p_user_id;
    UPDATE users u
    SET clerk_id = NULL, device_id = NULL, email = NULL, updated_at = present,
        erased_at = coalesce(u.erased_at, present)
    WHERE u.id = p_user_id;
    erased := FOUND;
    UPDATE subscriptions s SET status = 'cancelled', updated_at = present
    WHERE s.user_id = p_user_id AND s.status = 'active';
    DELETE FROM usage_logs l WHERE l.user_id = p_user_id;
    DELETE FROM generations g WHERE g.user_id = p_user_id;
    RETURN NEXT;
END
$$;

COMMIT;
