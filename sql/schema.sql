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
-- have no zone and are UTC. Every table of a user's rows has user_id in its key, so that the same
-- schema can be distributed by user. Tokens are whole numbers, money is numeric.

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
    ('downloads_per_minute', 60, 'downloads a user may record in 60 seconds'),
    ('payments_poll_seconds', 15, 'seconds between looks at a payment of the last ten minutes')
ON CONFLICT (name) DO NOTHING;

-- ---------------------------------------------------------------------------------------------
-- Accounts
-- ---------------------------------------------------------------------------------------------

-- An account. Erasing the person empties the identities and sets erased_at; the row stays, because
-- the books refer to it. Linking a device's account to a Clerk account sets merged_into.
CREATE TABLE IF NOT EXISTS users (
    id uuid CONSTRAINT users_pkey PRIMARY KEY DEFAULT gen_random_uuid(),
    clerk_id varchar(255) CONSTRAINT users_clerk_id_key UNIQUE,
    device_id varchar(255) CONSTRAINT users_device_id_key UNIQUE,
    email varchar(255),
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    updated_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    erased_at timestamp,
    merged_into uuid,
    CONSTRAINT users_identity_check
        CHECK (clerk_id IS NOT NULL OR device_id IS NOT NULL OR erased_at IS NOT NULL)
);
CREATE INDEX IF NOT EXISTS users_merged_into_idx ON users (merged_into)
    WHERE merged_into IS NOT NULL;

-- Who an identity leads to: "device:<device id>" or "clerk:<Clerk user id>". The handlers look
-- here; the columns of users are what the original backend had.
CREATE TABLE IF NOT EXISTS user_identities (
    identity text CONSTRAINT user_identities_pkey PRIMARY KEY,
    user_id uuid NOT NULL
);
CREATE INDEX IF NOT EXISTS user_identities_user_id_idx ON user_identities (user_id);

-- Paid plans of an account; at most one is active. period_anchor and period_months: the period ends
-- that many months after the anchor, so that a subscription of the 31st is one of the 31st again
-- after February. payment_method_id: what the provider saved, while the subscription is active;
-- NULL: there is no renewal. renewal_attempts: failed ones of this period. next_check_at: when a
-- renewal is due, or its next attempt; ahead while somebody is at it.
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
    payment_method_id text,
    cancel_at_period_end boolean NOT NULL DEFAULT false,
    renewal_attempts int NOT NULL DEFAULT 0,
    period_anchor timestamp,
    period_months int NOT NULL DEFAULT 0,
    next_check_at timestamp,
    CONSTRAINT subscriptions_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT subscriptions_user_id_fkey
        FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT subscriptions_status_check CHECK (status IN ('active', 'cancelled', 'expired'))
);
CREATE UNIQUE INDEX IF NOT EXISTS subscriptions_one_active_idx
    ON subscriptions (user_id) WHERE status = 'active';
CREATE INDEX IF NOT EXISTS subscriptions_history_idx
    ON subscriptions (user_id, created_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS subscriptions_next_check_idx ON subscriptions (next_check_at)
    WHERE next_check_at IS NOT NULL;

-- ---------------------------------------------------------------------------------------------
-- Tokens: the balance, the ledger and the holds. balance is the sum of the entries' amounts.
-- ---------------------------------------------------------------------------------------------

-- held is the part of the balance that pending holds set aside; balance - held can be spent.
-- next_hold_expiry: of the first of them to expire; NULL without one. closed_at: since when the
-- balance belongs to nobody any more (linked away, or its person erased); no movement takes it.
-- updated_at: of the last movement, which is its entry's created_at.
CREATE TABLE IF NOT EXISTS user_tokens (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    balance int NOT NULL DEFAULT 0,
    last_bonus_date date, -- the UTC day of the last daily bonus
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    updated_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    held int NOT NULL DEFAULT 0,
    closed_at timestamp,
    next_hold_expiry timestamp,
    CONSTRAINT user_tokens_pkey PRIMARY KEY (user_id),
    CONSTRAINT user_tokens_balance_check CHECK (balance >= 0),
    CONSTRAINT user_tokens_held_check CHECK (held >= 0 AND held <= balance),
    CONSTRAINT user_tokens_user_id_fkey
        FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE RESTRICT
);

-- One entry a movement, never changed or deleted. The id is the operation's, made by the handler,
-- so that a repeated operation meets its own entry. No foreign key: entries are written by
-- functions that have just locked the user's balance. The order of a user's entries by created_at
-- is the order of the balances after them.
CREATE TABLE IF NOT EXISTS token_transactions (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    amount int NOT NULL, -- negative when spent
    type varchar(20) NOT NULL,
    description text,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    balance_after int NOT NULL,
    held_after int NOT NULL DEFAULT 0, -- balance_after less this is what the caller was told
    request_hash bigint,               -- of a request with an Idempotency-Key
    operation_id uuid,                 -- of the request, where the entry's id is another one
    reverses uuid,                     -- the entry that this one takes back
    CONSTRAINT token_transactions_pkey PRIMARY KEY (id, user_id),
    CONSTRAINT token_transactions_type_check
        CHECK (type IN ('purchase', 'bonus', 'generation', 'refund'))
);
CREATE INDEX IF NOT EXISTS token_transactions_history_idx
    ON token_transactions (user_id, created_at DESC, id DESC);

-- A hold sets tokens aside: it lowers what can be spent at once, and the balance when captured.
-- settled_at: when it was captured or released, the moment it expired if nobody did either.
-- settle_id, settle_hash: of the request that captured it. answer_*: what its maker was told.
-- linked_from: the device's account it was made in, when that was linked to this one since. No
-- foreign key, as in the ledger: it would lock the account after its balance, and a link or an
-- erasure locks them the other way round.
CREATE TABLE IF NOT EXISTS token_holds (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    amount int NOT NULL,
    status text NOT NULL DEFAULT 'pending',
    description text,
    expires_at timestamp NOT NULL,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    settled_at timestamp,
    settle_id uuid,
    settle_hash bigint,
    request_hash bigint,
    answer_balance int NOT NULL,
    answer_held int NOT NULL,
    linked_from uuid,
    CONSTRAINT token_holds_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT token_holds_amount_check CHECK (amount > 0),
    CONSTRAINT token_holds_status_check CHECK (status IN ('pending', 'captured', 'released')),
    CONSTRAINT token_holds_settled_check CHECK ((status = 'pending') = (settled_at IS NULL))
);
CREATE INDEX IF NOT EXISTS token_holds_expiry_idx ON token_holds (expires_at)
    WHERE status = 'pending';
CREATE INDEX IF NOT EXISTS token_holds_pending_idx ON token_holds (user_id, expires_at)
    WHERE status = 'pending';
CREATE INDEX IF NOT EXISTS token_holds_list_idx
    ON token_holds (user_id, created_at DESC, id DESC);

-- ---------------------------------------------------------------------------------------------
-- Payments
-- ---------------------------------------------------------------------------------------------

-- A payment's row is there before the provider is asked. purpose: tokens, subscription (the first
-- payment of one) or renewal. request_body: what the provider is asked, to be repeated word for
-- word; removed as soon as it is not needed, for it may hold an e-mail address. request_hash: of
-- the request that came with an Idempotency-Key. repeated: the provider was asked more than once,
-- so that a refusal says nothing of the attempts before. next_check_at: who asks the provider sets
-- it ahead, which keeps others away, and it is when to look next; NULL when there is nothing to
-- look for. succeeded_at: when this backend learnt that it was paid; NULL for a payment that the
-- original backend credited. An adopted status may be any word, hence no check.
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
    purpose text NOT NULL DEFAULT 'tokens',
    plan text,
    subscription_id uuid,
    refunded_amount numeric(10, 2) NOT NULL DEFAULT 0,
    confirmation_url text,
    cancellation_reason text,
    request_body text,
    request_hash bigint,
    repeated boolean NOT NULL DEFAULT false,
    next_check_at timestamp,
    succeeded_at timestamp,
    CONSTRAINT payments_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT payments_user_id_fkey
        FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT payments_purpose_check
        CHECK (purpose IN ('tokens', 'subscription', 'renewal'))
);
CREATE INDEX IF NOT EXISTS payments_history_idx ON payments (user_id, created_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS payments_next_check_idx ON payments (next_check_at)
    WHERE next_check_at IS NOT NULL;

-- Whose the provider's payment is. Unique across users, hence a table of its own, keyed by its id.
CREATE TABLE IF NOT EXISTS payment_references (
    provider_id text PRIMARY KEY,
    user_id uuid NOT NULL,
    payment_id uuid NOT NULL
);
CREATE INDEX IF NOT EXISTS payment_references_user_id_idx ON payment_references (user_id);

-- Money given back. The columns that payments has as well mean the same. tokens_taken: off the
-- balance; tokens_owed: what the balance did not allow to take. No foreign key, as in the ledger.
CREATE TABLE IF NOT EXISTS payment_refunds (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    payment_id uuid NOT NULL,
    yookassa_refund_id text,
    provider_payment_id text NOT NULL,
    amount numeric(10, 2) NOT NULL CONSTRAINT payment_refunds_amount_check CHECK (amount > 0),
    currency text NOT NULL,
    status text NOT NULL DEFAULT 'pending' CONSTRAINT payment_refunds_status_check
        CHECK (status IN ('pending', 'succeeded', 'canceled')),
    tokens_taken int NOT NULL DEFAULT 0,
    tokens_owed int NOT NULL DEFAULT 0,
    request_body text,
    request_hash bigint,
    repeated boolean NOT NULL DEFAULT false,
    next_check_at timestamp,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    PRIMARY KEY (user_id, id)
);
CREATE INDEX IF NOT EXISTS payment_refunds_payment_idx ON payment_refunds (user_id, payment_id);
CREATE INDEX IF NOT EXISTS payment_refunds_next_check_idx ON payment_refunds (next_check_at)
    WHERE next_check_at IS NOT NULL;

-- Where the provider says something else than these tables, for the operator. provider_id: of the
-- payment or refund. resolved_at: since when they agree again, or an operator says so.
CREATE TABLE IF NOT EXISTS payment_differences (
    provider_id text NOT NULL,
    kind text NOT NULL,
    user_id uuid,
    payment_id uuid,
    details text NOT NULL,
    first_seen timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    last_seen timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    resolved_at timestamp,
    PRIMARY KEY (provider_id, kind)
);

-- Up to where the provider's lists were read: "payments" and "refunds".
CREATE TABLE IF NOT EXISTS payment_windows (
    name text PRIMARY KEY,
    since timestamp NOT NULL,
    listed_at timestamp,     -- when it was read to its end
    claimed_until timestamp  -- until then somebody reads it
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

-- Counted for the limits of a minute and of a day. No foreign key, as in the ledger. request_hash:
-- of a request with an Idempotency-Key. answer_*: what a repeated request is told again.
CREATE TABLE IF NOT EXISTS usage_logs (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    action varchar(20) NOT NULL,
    ip_address varchar(45),
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    request_hash bigint,
    answer_used int,
    answer_limit int,
    answer_reset_at timestamp,
    CONSTRAINT usage_logs_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT usage_logs_action_check CHECK (action IN ('generation', 'download'))
);
CREATE INDEX IF NOT EXISTS usage_logs_window_idx ON usage_logs (user_id, action, created_at);
CREATE INDEX IF NOT EXISTS usage_logs_address_idx ON usage_logs (ip_address, created_at)
    WHERE action = 'generation';

-- Keys of other back-end services (scripts/service-key). Only a digest of the key is kept.
CREATE TABLE IF NOT EXISTS service_keys (
    name text CONSTRAINT service_keys_pkey PRIMARY KEY,
    key_hash text NOT NULL CONSTRAINT service_keys_key_hash_key UNIQUE,
    scopes text NOT NULL,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    revoked_at timestamp
);

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
-- A later migration that changes what a function takes or returns gives it another name: handlers
-- of the version before still call this one while they are replaced.

-- Entries are written once. The trigger holds for every role, the owner's own mistakes included.
CREATE OR REPLACE FUNCTION refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ledger entries are append-only' USING ERRCODE = 'restrict_violation';
END
$$;
DROP TRIGGER IF EXISTS trigger_token_transactions_append_only ON token_transactions;
CREATE TRIGGER trigger_token_transactions_append_only
    BEFORE UPDATE OR DELETE ON token_transactions
    FOR EACH ROW EXECUTE FUNCTION refuse_ledger_change();
DROP TRIGGER IF EXISTS trigger_token_transactions_no_truncate ON token_transactions;
CREATE TRIGGER trigger_token_transactions_no_truncate
    BEFORE TRUNCATE ON token_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change();

-- What the handlers' role may do when it is not the owner: everything but changing the ledger, and
-- nothing with tables of the operator's.
-- The bootstrap calls this with the user of POSTGRES_URL after every change of the schema.
CREATE OR REPLACE FUNCTION grant_to_application(p_role text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    ours record;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), p_role);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON users, user_identities,'
                   ' subscriptions, generations, usage_logs, payments, user_tokens, token_holds,'
                   ' plans, token_packages, app_settings, service_keys, payment_references,'
                   ' payment_refunds, payment_differences, payment_windows TO %I', p_role);
    EXECUTE format('REVOKE UPDATE, DELETE, TRUNCATE, TRIGGER ON token_transactions'
                   ' FROM PUBLIC, %I', p_role);
    EXECUTE format('GRANT SELECT, INSERT ON token_transactions TO %I', p_role);
    FOR ours IN
        SELECT p.oid::regprocedure::text AS signature FROM pg_proc p
        WHERE p.pronamespace = current_schema()::regnamespace
          AND p.proowner = (SELECT c.relowner FROM pg_class c
                            WHERE c.oid = 'token_transactions'::regclass)
          AND p.prokind = 'f'
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', ours.signature, p_role);
    END LOOP;
END
$$;

-- Releases the account's holds that have expired. The caller has locked the account's balance row.
CREATE OR REPLACE FUNCTION release_expired_holds(p_user_id uuid) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    present timestamp := clock_timestamp() AT TIME ZONE 'utc';
    freed int;
    following timestamp;
BEGIN
    WITH expired AS (
        UPDATE token_holds h SET status = 'released', settled_at = h.expires_at
        WHERE h.user_id = p_user_id AND h.status = 'pending' AND h.expires_at <= present
        RETURNING h.amount
    )
    SELECT coalesce(sum(e.amount), 0) INTO freed FROM expired e;
    SELECT min(h.expires_at) INTO following FROM token_holds h
    WHERE h.user_id = p_user_id AND h.status = 'pending';
    UPDATE user_tokens t SET held = t.held - freed, next_hold_expiry = following
    WHERE t.user_id = p_user_id;
END
$$;

-- Locks the account's balance row and releases what has expired. No row: no such open account.
CREATE OR REPLACE FUNCTION lock_account(p_user_id uuid)
RETURNS TABLE (balance int, held int, updated_at timestamp)
LANGUAGE plpgsql AS $$
DECLARE
    due timestamp;
BEGIN
    SELECT t.next_hold_expiry INTO due FROM user_tokens t
    WHERE t.user_id = p_user_id AND t.closed_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF due <= (clock_timestamp() AT TIME ZONE 'utc') THEN
        PERFORM release_expired_holds(p_user_id);
    END IF;
    RETURN QUERY SELECT t.balance, t.held, t.updated_at FROM user_tokens t
                 WHERE t.user_id = p_user_id;
END
$$;

-- Releases the expired holds of the accounts of the p_limit oldest ones, for the background sweep.
-- Returns the number of accounts; one that somebody is working on is left for later.
CREATE OR REPLACE FUNCTION sweep_holds(p_limit int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    present timestamp := clock_timestamp() AT TIME ZONE 'utc'; -- a constant for the index
    owner uuid;
    swept int := 0;
BEGIN
    FOR owner IN
        SELECT DISTINCT due.user_id
        FROM (SELECT h.user_id FROM token_holds h
              WHERE h.status = 'pending' AND h.expires_at <= present
              ORDER BY h.expires_at LIMIT p_limit) due
    LOOP
        PERFORM 1 FROM user_tokens t WHERE t.user_id = owner FOR UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        PERFORM release_expired_holds(owner);
        swept := swept + 1;
    END LOOP;
    RETURN swept;
END
$$;

-- One movement: guard, balance, entry and answer together. p_amount is negative for a spend.
-- p_request_hash: of a request with an Idempotency-Key, which p_id is then made of; NULL without.
-- outcome: done, replayed, insufficient, limit (the balance would pass 2^31 - 1), reused (the key
-- came with another request), in_progress (the first one is not through). No row: no such account.
-- balance: what can be spent, after the movement or without it.
-- A p_id that exists without a request hash is replayed where the movement would not be possible
-- now, and else raises unique_violation: the caller sent it before.
CREATE OR REPLACE FUNCTION ledger_post(p_user_id uuid, p_id uuid, p_amount int, p_type text,
                                       p_description text, p_request_hash bigint)
RETURNS TABLE (outcome text, balance int)
LANGUAGE plpgsql AS $$
DECLARE
    total int;
    held_now int;
    stamp timestamp;
    prior_hash bigint;
    prior_balance int;
    is_open boolean;
BEGIN
    IF p_request_hash IS NOT NULL THEN
        IF NOT pg_try_advisory_xact_lock(hashtextextended(p_id::text, 0)) THEN
            RETURN QUERY SELECT 'in_progress', 0;
            RETURN;
        END IF;
        -- Flights have no lock on the key: whoever has the account's row waits for them. It is a
        -- write, so that a replayed answer waits for the standby too: the first one may have been
        -- cut off while it waited, with its entry visible here and nowhere else yet.
        PERFORM 1 FROM user_tokens t WHERE t.user_id = p_user_id FOR UPDATE;
        SELECT e.request_hash, e.balance_after - e.held_after INTO prior_hash, prior_balance
        FROM token_transactions e WHERE e.user_id = p_user_id AND e.id = p_id;
        IF FOUND THEN
            RETURN QUERY SELECT CASE WHEN prior_hash = p_request_hash THEN 'replayed'
                                     ELSE 'reused' END, prior_balance;
            RETURN;
        END IF;
        -- A capture writes an entry of the hold's id, so a hold's key is no movement's.
        PERFORM 1 FROM token_holds h WHERE h.user_id = p_user_id AND h.id = p_id;
        IF FOUND THEN
            RETURN QUERY SELECT 'reused', 0;
            RETURN;
        END IF;
    END IF;
    UPDATE user_tokens t
    SET balance = t.balance + p_amount,
        updated_at = greatest(clock_timestamp() AT TIME ZONE 'utc',
                              t.updated_at + interval '1 microsecond')
    WHERE t.user_id = p_user_id AND t.closed_at IS NULL
      AND t.balance - t.held >= -p_amount
      AND t.balance <= 2147483647 - greatest(p_amount, 0)
      AND (t.next_hold_expiry IS NULL
           OR t.next_hold_expiry > (clock_timestamp() AT TIME ZONE 'utc'))
    RETURNING t.balance, t.held, t.updated_at INTO total, held_now, stamp;
    IF NOT FOUND THEN
        SELECT a.balance, a.held INTO total, held_now FROM lock_account(p_user_id) a;
        is_open := FOUND;
        -- This very operation may be what stands in the way, done before and its answer lost: it
        -- took the balance to where it is, or its account was linked to another one since.
        SELECT e.balance_after - e.held_after INTO prior_balance
        FROM token_transactions e WHERE e.user_id = p_user_id AND e.id = p_id;
        IF FOUND THEN
            PERFORM 1 FROM user_tokens t WHERE t.user_id = p_user_id FOR UPDATE;
            RETURN QUERY SELECT 'replayed', prior_balance;
            RETURN;
        END IF;
        IF NOT is_open THEN
            RETURN;
        END IF;
        IF total > 2147483647 - greatest(p_amount, 0) THEN
            RETURN QUERY SELECT 'limit', total - held_now;
            RETURN;
        END IF;
        IF total - held_now < -p_amount THEN
            RETURN QUERY SELECT 'insufficient', total - held_now;
            RETURN;
        END IF;
        UPDATE user_tokens t
        SET balance = t.balance + p_amount,
            updated_at = greatest(clock_timestamp() AT TIME ZONE 'utc',
                                  t.updated_at + interval '1 microsecond')
        WHERE t.user_id = p_user_id
        RETURNING t.balance, t.held, t.updated_at INTO total, held_now, stamp;
    END IF;
    INSERT INTO token_transactions (user_id, id, amount, type, description, balance_after,
                                    held_after, request_hash, created_at)
    VALUES (p_user_id, p_id, p_amount, p_type, p_description, total, held_now, p_request_hash,
            stamp);
    RETURN QUERY SELECT 'done', total - held_now;
END
$$;

-- Many movements, independent of one another, in the order of their accounts so that two calls
-- never wait for each other in a circle. A request hash of 0 means none. place: 1 for the first.
CREATE OR REPLACE FUNCTION ledger_post_many(p_user_ids uuid[], p_ids uuid[], p_amounts int[],
                                            p_types text[], p_descriptions text[],
                                            p_request_hashes bigint[])
RETURNS TABLE (place int, outcome text, balance int)
LANGUAGE plpgsql AS $$
DECLARE
    answer record;
BEGIN
    FOR place IN
        SELECT o.n::int FROM unnest(p_user_ids) WITH ORDINALITY AS o (user_id, n)
        ORDER BY o.user_id, o.n
    LOOP
        SELECT p.outcome, p.balance INTO answer
        FROM ledger_post(p_user_ids[place], p_ids[place], p_amounts[place], p_types[place],
                         p_descriptions[place], nullif(p_request_hashes[place], 0)) p;
        outcome := answer.outcome;
        balance := coalesce(answer.balance, 0);
        RETURN NEXT;
    END LOOP;
END
$$;

-- Sets tokens aside for p_ttl_seconds. outcome: done, replayed, insufficient, reused, in_progress.
CREATE OR REPLACE FUNCTION hold_create(p_user_id uuid, p_id uuid, p_amount int, p_ttl_seconds int,
                                       p_description text, p_request_hash bigint)
RETURNS TABLE (outcome text, balance int, held int, expires_at timestamp)
LANGUAGE plpgsql AS $$
DECLARE
    account record;
    prior token_holds%ROWTYPE;
    due timestamp;
    stamp timestamp;
BEGIN
    IF p_request_hash IS NOT NULL
       AND NOT pg_try_advisory_xact_lock(hashtextextended(p_id::text, 0)) THEN
        RETURN QUERY SELECT 'in_progress', 0, 0, NULL::timestamp;
        RETURN;
    END IF;
    SELECT * INTO account FROM lock_account(p_user_id);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO prior FROM token_holds h WHERE h.user_id = p_user_id AND h.id = p_id;
    IF FOUND THEN
        RETURN QUERY SELECT CASE WHEN prior.request_hash IS NOT DISTINCT FROM p_request_hash
                                 THEN 'replayed' ELSE 'reused' END,
                            prior.answer_balance, prior.answer_held, prior.expires_at;
        RETURN;
    END IF;
    IF p_request_hash IS NOT NULL THEN
        PERFORM 1 FROM token_transactions e WHERE e.user_id = p_user_id AND e.id = p_id;
        IF FOUND THEN
            RETURN QUERY SELECT 'reused', 0, 0, NULL::timestamp;
            RETURN;
        END IF;
    END IF;
    IF account.balance - account.held < p_amount THEN
        RETURN QUERY SELECT 'insufficient', account.balance - account.held, account.held,
                            NULL::timestamp;
        RETURN;
    END IF;
    due := (clock_timestamp() AT TIME ZONE 'utc') + make_interval(secs => p_ttl_seconds);
    UPDATE user_tokens t
    SET held = t.held + p_amount, next_hold_expiry = least(t.next_hold_expiry, due),
        updated_at = greatest(clock_timestamp() AT TIME ZONE 'utc',
                              t.updated_at + interval '1 microsecond')
    WHERE t.user_id = p_user_id
    RETURNING t.updated_at INTO stamp;
    INSERT INTO token_holds (user_id, id, amount, description, expires_at, created_at,
                             request_hash, answer_balance, answer_held)
    VALUES (p_user_id, p_id, p_amount, p_description, due, stamp, p_request_hash,
            account.balance - account.held - p_amount, account.held + p_amount);
    RETURN QUERY SELECT 'done', account.balance - account.held - p_amount,
                        account.held + p_amount, due;
END
$$;

-- Takes p_amount (NULL: all) of a hold off the balance and releases the rest. The entry has the
-- hold's id. p_settle_id: of this request; the same one is answered the same.
-- outcome: done, replayed, reused, in_progress, not_pending, too_much, not_found. No row: no such
-- account.
CREATE OR REPLACE FUNCTION hold_capture(p_user_id uuid, p_hold_id uuid, p_amount int,
                                        p_settle_id uuid, p_request_hash bigint)
RETURNS TABLE (outcome text, balance int)
LANGUAGE plpgsql AS $$
DECLARE
    account record;
    prior token_holds%ROWTYPE;
    taken int;
    total int;
    held_now int;
    stamp timestamp;
BEGIN
    IF p_request_hash IS NOT NULL
       AND NOT pg_try_advisory_xact_lock(hashtextextended(p_settle_id::text, 0)) THEN
        RETURN QUERY SELECT 'in_progress', 0;
        RETURN;
    END IF;
    SELECT * INTO account FROM lock_account(p_user_id);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO prior FROM token_holds h WHERE h.user_id = p_user_id AND h.id = p_hold_id;
    IF NOT FOUND THEN
        RETURN QUERY SELECT 'not_found', 0;
        RETURN;
    END IF;
    IF prior.status = 'captured' AND prior.settle_id = p_settle_id THEN
        -- The hold moves when its account is linked to another one, the entry of its capture stays.
        RETURN QUERY
            SELECT CASE WHEN prior.settle_hash IS NOT DISTINCT FROM p_request_hash
                        THEN 'replayed' ELSE 'reused' END, e.balance_after - e.held_after
            FROM token_transactions e
            WHERE e.id = p_hold_id
              AND e.user_id IN (SELECT u.id FROM users u
                                WHERE u.id = p_user_id OR u.merged_into = p_user_id)
            LIMIT 1;
        RETURN;
    END IF;
    IF prior.status <> 'pending' THEN
        RETURN QUERY SELECT 'not_pending', account.balance - account.held;
        RETURN;
    END IF;
    taken := coalesce(p_amount, prior.amount);
    IF taken > prior.amount THEN
        RETURN QUERY SELECT 'too_much', account.balance - account.held;
        RETURN;
    END IF;
    UPDATE user_tokens t
    SET balance = t.balance - taken, held = t.held - prior.amount,
        next_hold_expiry = (SELECT min(h.expires_at) FROM token_holds h
                            WHERE h.user_id = p_user_id AND h.status = 'pending'
                              AND h.id <> p_hold_id),
        updated_at = greatest(clock_timestamp() AT TIME ZONE 'utc',
                              t.updated_at + interval '1 microsecond')
    WHERE t.user_id = p_user_id
    RETURNING t.balance, t.held, t.updated_at INTO total, held_now, stamp;
    UPDATE token_holds h
    SET status = 'captured', settled_at = stamp, settle_id = p_settle_id,
        settle_hash = p_request_hash
    WHERE h.user_id = p_user_id AND h.id = p_hold_id;
    INSERT INTO token_transactions (user_id, id, amount, type, description, balance_after,
                                    held_after, operation_id, request_hash, created_at)
    VALUES (p_user_id, p_hold_id, -taken, 'generation', prior.description, total, held_now,
            p_settle_id, p_request_hash, stamp);
    RETURN QUERY SELECT 'done', total - held_now;
END
$$;

-- Gives a hold back. outcome: done (also when it was released or had expired before), not_pending
-- (captured), not_found. No row: no such account.
CREATE OR REPLACE FUNCTION hold_release(p_user_id uuid, p_hold_id uuid)
RETURNS TABLE (outcome text, balance int)
LANGUAGE plpgsql AS $$
DECLARE
    account record;
    prior token_holds%ROWTYPE;
    stamp timestamp;
BEGIN
    SELECT * INTO account FROM lock_account(p_user_id);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO prior FROM token_holds h WHERE h.user_id = p_user_id AND h.id = p_hold_id;
    IF NOT FOUND THEN
        RETURN QUERY SELECT 'not_found', 0;
    ELSIF prior.status = 'captured' THEN
        RETURN QUERY SELECT 'not_pending', account.balance - account.held;
    ELSIF prior.status = 'released' THEN
        RETURN QUERY SELECT 'done', account.balance - account.held;
    ELSE
        UPDATE user_tokens t
        SET held = t.held - prior.amount,
            next_hold_expiry = (SELECT min(h.expires_at) FROM token_holds h
                                WHERE h.user_id = p_user_id AND h.status = 'pending'
                                  AND h.id <> p_hold_id),
            updated_at = greatest(clock_timestamp() AT TIME ZONE 'utc',
                                  t.updated_at + interval '1 microsecond')
        WHERE t.user_id = p_user_id
        RETURNING t.updated_at INTO stamp;
        UPDATE token_holds h SET status = 'released', settled_at = stamp
        WHERE h.user_id = p_user_id AND h.id = p_hold_id;
        RETURN QUERY SELECT 'done', account.balance - account.held + prior.amount;
    END IF;
END
$$;

-- Posts the opposite of an entry, once. p_user_id: whose balance; p_entry_user_id: whose entry (the
-- same, or a device linked to it). The reversal's id is made of the entry's, so there is only one.
-- It is looked for in both accounts: the entry may have been reversed before the device was linked.
-- A reversal, and an entry of a link's transfer, are already_reversed: their opposite is there.
-- outcome: done, replayed, reused, in_progress, already_reversed, insufficient, limit, not_found.
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
    SELECT * INTO account FROM lock_account(p_user_id);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO original FROM token_transactions e
    WHERE e.user_id = p_entry_user_id AND e.id = p_entry_id;
    IF NOT FOUND THEN
        RETURN QUERY SELECT 'not_found', 0, NULL::uuid;
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

-- The daily bonus, once a day of the database's UTC date. outcome: done, replayed (the same
-- operation), claimed (by another one), reused (the key came with another request), in_progress
-- (the first one is not through). No row: no such open account.
CREATE OR REPLACE FUNCTION claim_daily_bonus(p_user_id uuid, p_operation_id uuid,
                                             p_request_hash bigint)
RETURNS TABLE (outcome text, tokens_awarded int, balance int)
LANGUAGE plpgsql AS $$
DECLARE
    today date := (now() AT TIME ZONE 'utc')::date;
    bonus_min int := coalesce((SELECT s.value FROM app_settings s
                               WHERE s.name = 'daily_bonus_min'), 1);
    bonus_max int := coalesce((SELECT s.value FROM app_settings s
                               WHERE s.name = 'daily_bonus_max'), 10);
    awarded int := bonus_min + floor(random() * (bonus_max - bonus_min + 1))::int;
    account record;
    prior record;
    total int;
    stamp timestamp;
BEGIN
    IF p_request_hash IS NOT NULL
       AND NOT pg_try_advisory_xact_lock(hashtextextended(p_operation_id::text, 0)) THEN
        RETURN QUERY SELECT 'in_progress', 0, 0;
        RETURN;
    END IF;
    SELECT * INTO account FROM lock_account(p_user_id);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    awarded := least(awarded, 2147483647 - account.balance);
    UPDATE user_tokens t
    SET balance = t.balance + awarded, last_bonus_date = today,
        updated_at = greatest(clock_timestamp() AT TIME ZONE 'utc',
                              t.updated_at + interval '1 microsecond')
    WHERE t.user_id = p_user_id AND (t.last_bonus_date IS NULL OR t.last_bonus_date < today)
      AND NOT EXISTS (SELECT 1 FROM token_transactions e
                      WHERE e.user_id = p_user_id AND e.id = p_operation_id)
    RETURNING t.balance, t.updated_at INTO total, stamp;
    IF FOUND THEN
        INSERT INTO token_transactions (user_id, id, amount, type, description, balance_after,
                                        held_after, request_hash, created_at)
        VALUES (p_user_id, p_operation_id, awarded, 'bonus', 'Ежедневный бонус', total,
                account.held, p_request_hash, stamp);
        RETURN QUERY SELECT 'done', awarded, total - account.held;
        RETURN;
    END IF;
    SELECT e.amount, e.balance_after - e.held_after AS answer, e.request_hash INTO prior
    FROM token_transactions e WHERE e.user_id = p_user_id AND e.id = p_operation_id;
    IF FOUND THEN
        RETURN QUERY SELECT CASE WHEN prior.request_hash IS NOT DISTINCT FROM p_request_hash
                                 THEN 'replayed' ELSE 'reused' END, prior.amount, prior.answer;
    ELSE
        RETURN QUERY SELECT 'claimed', 0, account.balance - account.held;
    END IF;
END
$$;

-- Counts the user's actions of the last 60 seconds and records one more if the limit allows it, in
-- one statement under the lock of the user's own row, so that no two requests pass on one count.
-- p_by_address: generations from the address count as well, whoever made them, because a new device
-- id costs nothing; requests of one address then wait for one another.
-- outcome: done, limited, replayed (p_usage_id is there with the same request hash), reused (with
-- another), in_progress (the request of that id is not through). No row: no such user, or a closed
-- account. reset_at: when the oldest counted action leaves the window.
CREATE OR REPLACE FUNCTION record_usage(p_user_id uuid, p_usage_id uuid, p_action text,
                                        p_ip_address text, p_by_address boolean,
                                        p_request_hash bigint)
RETURNS TABLE (outcome text, used int, usage_limit int, reset_at timestamp)
LANGUAGE plpgsql AS $$
DECLARE
    window_length CONSTANT interval := interval '60 seconds';
    by_address boolean := p_by_address AND p_action = 'generation' AND p_ip_address <> '';
    present timestamp;
    oldest timestamp;
    oldest_of_address timestamp;
    counted int;
    counted_of_address int;
    prior record;
    allowed_max int := coalesce((SELECT s.value FROM app_settings s
                                 WHERE s.name = p_action || 's_per_minute'),
                                CASE p_action WHEN 'download' THEN 60 ELSE 10 END);
BEGIN
    IF p_request_hash IS NOT NULL
       AND NOT pg_try_advisory_xact_lock(hashtextextended(p_usage_id::text, 0)) THEN
        RETURN QUERY SELECT 'in_progress', 0, allowed_max, clock_timestamp() AT TIME ZONE 'utc';
        RETURN;
    END IF;
    PERFORM 1 FROM users u
    WHERE u.id = p_user_id AND u.merged_into IS NULL AND u.erased_at IS NULL
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT l.request_hash, l.answer_used, l.answer_limit, l.answer_reset_at INTO prior
    FROM usage_logs l WHERE l.user_id = p_user_id AND l.id = p_usage_id;
    IF FOUND THEN
        RETURN QUERY SELECT CASE WHEN prior.request_hash IS NOT DISTINCT FROM p_request_hash
                                 THEN 'replayed' ELSE 'reused' END,
                            prior.answer_used, prior.answer_limit, prior.answer_reset_at;
        RETURN;
    END IF;
    IF by_address THEN
        PERFORM pg_advisory_xact_lock(hashtextextended(p_ip_address, 0));
    END IF;
    present := clock_timestamp() AT TIME ZONE 'utc';
    SELECT count(*)::int, min(l.created_at) INTO counted, oldest
    FROM usage_logs l
    WHERE l.user_id = p_user_id AND l.action = p_action AND l.created_at > present - window_length;
    IF by_address THEN
        SELECT count(*)::int, min(l.created_at) INTO counted_of_address, oldest_of_address
        FROM usage_logs l
        WHERE l.ip_address = p_ip_address AND l.action = 'generation'
          AND l.created_at > present - window_length;
        IF counted_of_address > counted THEN
            counted := counted_of_address;
            oldest := oldest_of_address;
        END IF;
    END IF;
    oldest := coalesce(oldest, present) + window_length;
    IF counted >= allowed_max THEN
        RETURN QUERY SELECT 'limited', counted, allowed_max, oldest;
    ELSE
        INSERT INTO usage_logs (user_id, id, action, ip_address, created_at, request_hash,
                                answer_used, answer_limit, answer_reset_at)
        VALUES (p_user_id, p_usage_id, p_action, p_ip_address, present, p_request_hash,
                counted + 1, allowed_max, oldest);
        RETURN QUERY SELECT 'done', counted + 1, allowed_max, oldest;
    END IF;
END
$$;

-- Stores a finished generation in the history, counted against the same limit as generating one.
CREATE OR REPLACE FUNCTION record_generation(p_user_id uuid, p_generation_id uuid,
                                             p_image_url text, p_prompt_used text, p_trend text,
                                             p_quality text, p_ip_address text,
                                             p_by_address boolean, p_request_hash bigint)
RETURNS TABLE (outcome text, used int, usage_limit int, reset_at timestamp,
               created_at timestamp)
LANGUAGE plpgsql AS $$
DECLARE
    usage record;
    stored timestamp;
BEGIN
    SELECT * INTO usage
    FROM record_usage(p_user_id, p_generation_id, 'generation', p_ip_address, p_by_address,
                      p_request_hash);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- The time of both rows, so that it is known when the generation was removed meanwhile.
    SELECT l.created_at INTO stored FROM usage_logs l
    WHERE l.user_id = p_user_id AND l.id = p_generation_id;
    IF usage.outcome = 'done' THEN
        INSERT INTO generations (user_id, id, image_url, prompt_used, trend, quality, status,
                                 created_at, updated_at)
        VALUES (p_user_id, p_generation_id, p_image_url, p_prompt_used, p_trend, p_quality,
                'completed', stored, stored);
    END IF;
    RETURN QUERY SELECT usage.outcome, usage.used, usage.usage_limit, usage.reset_at, stored;
END
$$;

-- Bonuses both accounts of one person got for the same thing: the welcome, and each day's bonus.
-- The welcome is the entry with the user's own id; in an adopted ledger the first bonus, which the
-- original's trigger wrote in the transaction that made the account.
CREATE OR REPLACE FUNCTION doubled_bonus(p_user_id uuid, p_device_user_id uuid) RETURNS int
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (
        WITH bonus AS (
            SELECT u.id = p_device_user_id AS of_device, e.amount, e.created_at::date AS day,
                   e.id = coalesce(
                       (SELECT w.id FROM token_transactions w
                        WHERE w.user_id = u.id AND w.id = u.id),
                       (SELECT w.id FROM token_transactions w
                        WHERE w.user_id = u.id AND w.type = 'bonus'
                          AND w.created_at <= u.created_at + interval '1 second'
                        ORDER BY w.created_at, w.id LIMIT 1)) IS TRUE AS welcome
            FROM users u
            JOIN token_transactions e ON e.user_id = u.id
            WHERE (u.id IN (p_user_id, p_device_user_id) OR u.merged_into = p_user_id)
              AND e.type = 'bonus' AND e.amount > 0
        ), once AS (
            SELECT sum(amount) AS amount, welcome, CASE WHEN NOT welcome THEN day END AS day
            FROM bonus
            GROUP BY welcome, CASE WHEN NOT welcome THEN day END, of_device
        ), twice AS (
            SELECT min(amount) AS amount FROM once GROUP BY welcome, day HAVING count(*) = 2
        )
        SELECT coalesce(sum(t.amount), 0)::int FROM twice t
    );
END
$$;

-- Moves everything of a device's account to a Clerk account, at once and once. The balance goes
-- over as two ledger entries, a bonus both got is taken off by a third; entries themselves never
-- move.
-- outcome: linked, already_linked (to this account), linked_elsewhere (or no device's account), or
-- no row: one of the two does not exist.
CREATE OR REPLACE FUNCTION link_device(p_user_id uuid, p_device_user_id uuid,
                                       p_operation_id uuid, p_correction_id uuid)
RETURNS TABLE (outcome text, moved_tokens int)
LANGUAGE plpgsql AS $$
DECLARE
    present timestamp;
    account users%ROWTYPE;
    device users%ROWTYPE;
    theirs user_tokens%ROWTYPE;
    ours user_tokens%ROWTYPE;
    doubled int;
BEGIN
    -- In key order, so that two links of the same pair wait instead of deadlocking. NO KEY: a
    -- movement that changes a balance twice checks its foreign key, having locked the balance.
    PERFORM 1 FROM users u WHERE u.id IN (p_user_id, p_device_user_id)
    ORDER BY u.id FOR NO KEY UPDATE;
    SELECT * INTO account FROM users u WHERE u.id = p_user_id;
    SELECT * INTO device FROM users u WHERE u.id = p_device_user_id;
    IF account.id IS NULL OR device.id IS NULL OR account.merged_into IS NOT NULL
       OR account.erased_at IS NOT NULL THEN
        RETURN;
    END IF;
    IF p_user_id = p_device_user_id OR device.merged_into = p_user_id THEN
        RETURN QUERY SELECT 'already_linked', 0;
        RETURN;
    END IF;
    IF device.merged_into IS NOT NULL OR device.clerk_id IS NOT NULL
       OR device.erased_at IS NOT NULL THEN
        RETURN QUERY SELECT 'linked_elsewhere', 0;
        RETURN;
    END IF;

    -- In key order as well; what has expired is released, so that it counts for the correction.
    PERFORM lock_account(least(p_user_id, p_device_user_id));
    PERFORM lock_account(greatest(p_user_id, p_device_user_id));
    SELECT * INTO ours FROM user_tokens t WHERE t.user_id = p_user_id;
    SELECT * INTO theirs FROM user_tokens t WHERE t.user_id = p_device_user_id;
    present := greatest(clock_timestamp() AT TIME ZONE 'utc',
                        ours.updated_at + interval '1 microsecond',
                        theirs.updated_at + interval '1 microsecond');
    doubled := least(doubled_bonus(p_user_id, p_device_user_id),
                     ours.balance - ours.held + theirs.balance - theirs.held);

    -- A microsecond apart, so that the order of entries is the order of balances, and so that a
    -- cursor of time and id tells the two entries of one transfer apart.
    IF theirs.balance > 0 THEN
        INSERT INTO token_transactions
            (user_id, id, amount, type, description, balance_after, held_after,
             created_at)
        VALUES (p_device_user_id, p_operation_id, -theirs.balance, 'refund',
                'Перенос на аккаунт', 0, 0, present),
               (p_user_id, p_operation_id, theirs.balance, 'refund', 'Перенос с устройства',
                ours.balance + theirs.balance, ours.held + theirs.held,
                present + interval '1 microsecond');
    END IF;
    IF doubled > 0 THEN
        INSERT INTO token_transactions
            (user_id, id, amount, type, description, balance_after, held_after, created_at)
        VALUES (p_user_id, p_correction_id, -doubled, 'bonus', 'Бонус уже был начислен',
                ours.balance + theirs.balance - doubled, ours.held + theirs.held,
                present + interval '2 microseconds');
    END IF;
    UPDATE user_tokens t
    SET balance = 0, held = 0, next_hold_expiry = NULL, closed_at = present,
        updated_at = present
    WHERE t.user_id = p_device_user_id;
    UPDATE user_tokens t
    SET balance = ours.balance + theirs.balance - doubled, held = ours.held + theirs.held,
        next_hold_expiry = least(ours.next_hold_expiry, theirs.next_hold_expiry),
        last_bonus_date = greatest(ours.last_bonus_date, theirs.last_bonus_date),
        updated_at = present + interval '2 microseconds'
    WHERE t.user_id = p_user_id;

    WITH moved AS (DELETE FROM token_holds h WHERE h.user_id = p_device_user_id RETURNING h.*)
    INSERT INTO token_holds (user_id, id, amount, status, description, expires_at, created_at,
                             settled_at, settle_id, settle_hash, request_hash, answer_balance,
                             answer_held, linked_from)
    SELECT p_user_id, m.id, m.amount, m.status, m.description, m.expires_at, m.created_at,
           m.settled_at, m.settle_id, m.settle_hash, m.request_hash, m.answer_balance,
           m.answer_held, p_device_user_id
    FROM moved m;
    WITH moved AS (DELETE FROM generations g WHERE g.user_id = p_device_user_id RETURNING g.*)
    INSERT INTO generations (user_id, id, image_url, prompt_used, trend, quality, created_at,
                             status, error_message, updated_at)
    SELECT p_user_id, m.id, m.image_url, m.prompt_used, m.trend, m.quality, m.created_at,
           m.status, m.error_message, m.updated_at
    FROM moved m;
    WITH moved AS (DELETE FROM usage_logs l WHERE l.user_id = p_device_user_id RETURNING l.*)
    INSERT INTO usage_logs (user_id, id, action, ip_address, created_at, request_hash,
                            answer_used, answer_limit, answer_reset_at)
    SELECT p_user_id, m.id, m.action, m.ip_address, m.created_at, m.request_hash,
           m.answer_used, m.answer_limit, m.answer_reset_at
    FROM moved m;
    WITH moved AS (DELETE FROM payments p WHERE p.user_id = p_device_user_id RETURNING p.*)
    INSERT INTO payments (user_id, id, yookassa_payment_id, amount, currency, status,
                          token_package, tokens_amount, created_at, purpose, plan,
                          subscription_id, refunded_amount, confirmation_url,
                          cancellation_reason, request_body, request_hash, repeated,
                          next_check_at, succeeded_at)
    SELECT p_user_id, m.id, m.yookassa_payment_id, m.amount, m.currency, m.status,
           m.token_package, m.tokens_amount, m.created_at, m.purpose, m.plan,
           m.subscription_id, m.refunded_amount, m.confirmation_url,
           m.cancellation_reason, m.request_body, m.request_hash, m.repeated,
           m.next_check_at, m.succeeded_at
    FROM moved m;
    WITH moved AS (DELETE FROM payment_refunds r WHERE r.user_id = p_device_user_id RETURNING r.*)
    INSERT INTO payment_refunds (user_id, id, payment_id, yookassa_refund_id,
                                 provider_payment_id, amount, currency, status, tokens_taken,
                                 tokens_owed, request_body, request_hash, repeated,
                                 next_check_at, created_at)
    SELECT p_user_id, m.id, m.payment_id, m.yookassa_refund_id,
           m.provider_payment_id, m.amount, m.currency, m.status, m.tokens_taken,
           m.tokens_owed, m.request_body, m.request_hash, m.repeated,
           m.next_check_at, m.created_at
    FROM moved m;
    -- One active subscription a user: the account's own comes first, if it is in force.
    UPDATE subscriptions s
    SET status = 'expired', payment_method_id = NULL, next_check_at = NULL, updated_at = present
    WHERE s.user_id = p_user_id AND s.status = 'active'
      AND (s.plan = 'free' OR s.current_period_end <= present)
      AND EXISTS (SELECT 1 FROM subscriptions d
                  WHERE d.user_id = p_device_user_id AND d.status = 'active' AND d.plan <> 'free'
                    AND coalesce(d.current_period_end > present, true));
    PERFORM payment_differs(
        p_user_id, paid.id, coalesce(paid.yookassa_payment_id, d.id::text), 'subscription_closed',
        format('linked: %s until %s gives way to %s', d.plan,
               coalesce(d.current_period_end::text, 'it is cancelled'), s.plan))
    FROM subscriptions d
    JOIN subscriptions s ON s.user_id = p_user_id AND s.status = 'active'
    LEFT JOIN LATERAL (SELECT p.id, p.yookassa_payment_id FROM payments p
                       WHERE p.user_id = p_user_id AND p.subscription_id = d.id
                         AND p.status = 'succeeded'
                       ORDER BY p.created_at DESC LIMIT 1) paid ON true
    WHERE d.user_id = p_device_user_id AND d.status = 'active' AND d.plan <> 'free'
      AND coalesce(d.current_period_end > present, true);
    WITH moved AS (DELETE FROM subscriptions s WHERE s.user_id = p_device_user_id RETURNING s.*)
    INSERT INTO subscriptions (user_id, id, plan, status, current_period_start,
                               current_period_end, yookassa_subscription_id, created_at,
                               updated_at, payment_method_id, cancel_at_period_end,
                               renewal_attempts, period_anchor, period_months, next_check_at)
    SELECT p_user_id, m.id, m.plan,
           CASE WHEN m.status = 'active' AND other.there THEN 'cancelled' ELSE m.status END,
           m.current_period_start, m.current_period_end, m.yookassa_subscription_id,
           m.created_at, m.updated_at,
           CASE WHEN NOT other.there THEN m.payment_method_id END, m.cancel_at_period_end,
           m.renewal_attempts, m.period_anchor, m.period_months,
           CASE WHEN NOT other.there THEN m.next_check_at END
    FROM moved m
    CROSS JOIN (SELECT EXISTS (SELECT 1 FROM subscriptions s
                               WHERE s.user_id = p_user_id AND s.status = 'active')) other (there);

    UPDATE users u SET merged_into = p_user_id, updated_at = present
    WHERE u.id = p_device_user_id OR u.merged_into = p_device_user_id;
    UPDATE user_identities i SET user_id = p_user_id WHERE i.user_id = p_device_user_id;
    UPDATE payment_references i SET user_id = p_user_id WHERE i.user_id = p_device_user_id;
    RETURN QUERY SELECT 'linked', theirs.balance;
END
$$;

-- Erases the person and keeps the books: identities, e-mail, images, prompts and addresses go, of
-- the account and of every device linked to it; balances, ledger entries, payments and subscription
-- periods stay under ids that lead to nobody.
-- erased: false without such an account, or when it was linked to another one meanwhile: the caller
-- looks its identity up again.
CREATE OR REPLACE FUNCTION erase_user(p_user_id uuid) RETURNS TABLE (erased boolean)
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
    SET clerk_id = NULL, device_id = NULL, email = NULL, updated_at = present,
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
    DELETE FROM user_identities i WHERE i.user_id = p_user_id;
    RETURN NEXT;
END
$$;

-- ---------------------------------------------------------------------------------------------
-- Many writes at once
-- ---------------------------------------------------------------------------------------------

-- Writes of many requests in one statement and one commit. Each function takes arrays of one
-- length, an element a request, and answers each request by its place (1 for the first) as the
-- function of the single request answers it. Rows are locked in the order of their users, so that
-- two flights never wait for each other in a circle. A request hash of 0 means none.
-- Who waits for a row longer than lock_timeout, a tenth of the handlers' DB_TIMEOUT_MS, is
-- refused: then the requests are run one by one, so that a row somebody holds stops nobody else's.

-- Many movements (ledger_post), independent of one another. Those of one user are done in the order
-- they have here, summed up: one new balance for each user, one entry for each movement.
-- Repeated keys are rare, so nothing looks for them at first: an entry that is there already, or a
-- row that somebody has for a while, undoes the set, and the second attempt knows what to leave out.
-- Whatever is not simple goes through ledger_post itself, movement by movement, all of its user's:
-- a key that was used before, an account that is closed, holds that expired, a balance that does
-- not allow every movement. Such a user's row may come before one that is locked already; where
-- somebody else has it, nobody waits and the answer is 'alone': the caller sends it by itself.
-- A plan made while the tables were small stays when they are large: hence no scans of whole ones.
CREATE OR REPLACE FUNCTION ledger_post_flight(p_user_ids uuid[], p_ids uuid[], p_amounts int[],
                                              p_types text[], p_descriptions text[],
                                              p_request_hashes bigint[])
RETURNS TABLE (place int, outcome text, balance int)
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET lock_timeout = '500ms'
AS $$
DECLARE
    present timestamp := clock_timestamp() AT TIME ZONE 'utc';
    keyed boolean := EXISTS (SELECT 1 FROM unnest(p_request_hashes) AS h (request_hash)
                             WHERE h.request_hash <> 0);
    looked boolean := false; -- whether the next two are known
    busy int[] := '{}';      -- places of movements whose key somebody else is using
    apart uuid[] := '{}';    -- users whose movements are not simple, as far as keys tell
    places int[];            -- of the movements that were, and what each entry says
    balances int[];
    helds int[];
    stamps timestamp[];
    highest uuid;            -- of the users whose row is locked
    owner uuid;
    ready boolean;
    movement record;
    answer record;
BEGIN
    IF keyed THEN
        PERFORM set_config('lock_timeout', '100ms', true); -- it may be a key that is in use
    END IF;
    LOOP
        BEGIN
            -- low, high: the least and the largest the balance changes by on the way to the total.
            -- An entry is a microsecond younger than the one before it, and the last one has the
            -- balance row's time.
            WITH moved AS (
                UPDATE user_tokens t
                SET balance = t.balance + s.total::int,
                    updated_at = greatest(present,
                                          t.updated_at + s.times * interval '1 microsecond')
                FROM (SELECT w.user_id, count(*) AS times, sum(w.amount) AS total,
                             min(w.upto) AS low, max(w.upto) AS high, array_agg(w.n) AS places,
                             array_agg(w.upto) AS uptos
                      FROM (SELECT o.user_id, o.amount, o.n::int,
                                   sum(o.amount) OVER (PARTITION BY o.user_id ORDER BY o.n) AS upto
                            FROM unnest(p_user_ids, p_amounts)
                                 WITH ORDINALITY AS o (user_id, amount, n)
                            WHERE o.user_id <> ALL (apart) AND o.n <> ALL (busy)) w
                      GROUP BY w.user_id
                      ORDER BY w.user_id) s
                WHERE t.user_id = s.user_id AND t.closed_at IS NULL
                  AND t.balance - t.held + s.low >= 0
                  AND t.balance + s.high <= 2147483647
                  AND (t.next_hold_expiry IS NULL OR t.next_hold_expiry > present)
                RETURNING t.balance - s.total AS before, t.held, s.places, s.uptos,
                          t.updated_at - s.times * interval '1 microsecond' AS since
            )
            SELECT array_agg(r.place), array_agg((m.before + r.upto)::int), array_agg(m.held),
                   array_agg(m.since + r.turn * interval '1 microsecond')
            INTO places, balances, helds, stamps
            FROM moved m, unnest(m.places, m.uptos) WITH ORDINALITY AS r (place, upto, turn);

            -- A capture writes an entry of the hold's id, so a hold's key is no movement's. With
            -- the users' rows locked, nobody makes another hold.
            IF keyed AND EXISTS (
                SELECT 1 FROM unnest(places) AS r (place)
                WHERE p_request_hashes[r.place] <> 0
                  AND (SELECT true FROM token_holds h
                       WHERE h.user_id = p_user_ids[r.place] AND h.id = p_ids[r.place])) THEN
                RAISE unique_violation;
            END IF;
            INSERT INTO token_transactions (user_id, id, amount, type, description, balance_after,
                                            held_after, request_hash, created_at)
            SELECT p_user_ids[r.place], p_ids[r.place], p_amounts[r.place], p_types[r.place],
                   p_descriptions[r.place], r.balance, r.held,
                   nullif(p_request_hashes[r.place], 0), r.stamp
            FROM unnest(places, balances, helds, stamps) AS r (place, balance, held, stamp);
            EXIT;
        EXCEPTION WHEN unique_violation OR lock_not_available THEN
            IF looked OR NOT keyed THEN
                RAISE;
            END IF;
        END;

        looked := true;
        PERFORM set_config('lock_timeout', '500ms', true);
        SELECT coalesce(array_agg(o.n), '{}') INTO busy
        FROM unnest(p_ids, p_request_hashes) WITH ORDINALITY AS o (id, request_hash, n)
        WHERE o.request_hash <> 0
          AND NOT pg_try_advisory_xact_lock(hashtextextended(o.id::text, 0));
        -- Another statement, because it sees what was committed before the locks were had.
        SELECT coalesce(array_agg(o.user_id), '{}') INTO apart
        FROM (SELECT k.user_id, k.id, max(k.request_hash) AS request_hash, count(*) AS times
              FROM unnest(p_user_ids, p_ids, p_request_hashes) AS k (user_id, id, request_hash)
              GROUP BY k.user_id, k.id) o
        WHERE o.request_hash <> 0
          AND (o.times > 1
               OR (SELECT true FROM token_transactions e
                   WHERE e.user_id = o.user_id AND e.id = o.id)
               OR (SELECT true FROM token_holds h
                   WHERE h.user_id = o.user_id AND h.id = o.id));
    END LOOP;

    RETURN QUERY SELECT r.place, 'done', r.balance - r.held
                 FROM unnest(places, balances, helds) AS r (place, balance, held);
    RETURN QUERY SELECT r.place, 'in_progress', 0 FROM unnest(busy) AS r (place);
    IF cardinality(places) = cardinality(p_ids) THEN
        RETURN;
    END IF;

    -- Also users whom the update left out: it may have locked the row before it saw a reason to.
    SELECT o.user_id INTO highest FROM unnest(p_user_ids) AS o (user_id)
    WHERE o.user_id <> ALL (apart) ORDER BY 1 DESC LIMIT 1;
    FOR movement IN
        SELECT p_user_ids[o.n] AS user_id, o.n
        FROM (SELECT generate_subscripts(p_ids, 1)
              EXCEPT SELECT unnest(places || busy)) AS o (n)
        ORDER BY 1, 2
    LOOP
        IF movement.user_id IS DISTINCT FROM owner THEN
            owner := movement.user_id;
            IF highest IS NULL OR owner >= highest THEN
                PERFORM 1 FROM user_tokens t WHERE t.user_id = owner FOR UPDATE;
                highest := owner;
                ready := true;
            ELSE
                PERFORM 1 FROM user_tokens t WHERE t.user_id = owner FOR UPDATE SKIP LOCKED;
                ready := FOUND
                    OR NOT EXISTS (SELECT 1 FROM user_tokens t WHERE t.user_id = owner);
            END IF;
        END IF;
        place := movement.n;
        IF ready THEN
            SELECT p.outcome, p.balance INTO answer
            FROM ledger_post(owner, p_ids[place], p_amounts[place], p_types[place],
                             p_descriptions[place], nullif(p_request_hashes[place], 0)) p;
            outcome := answer.outcome;
            balance := coalesce(answer.balance, 0);
        ELSE
            outcome := 'alone';
            balance := 0;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;

-- Many captures (hold_capture). An amount of 0 means all of the hold.
CREATE OR REPLACE FUNCTION hold_capture_flight(p_user_ids uuid[], p_hold_ids uuid[],
                                               p_amounts int[], p_settle_ids uuid[],
                                               p_request_hashes bigint[])
RETURNS TABLE (place int, outcome text, balance int)
LANGUAGE plpgsql SET lock_timeout = '500ms' AS $$
DECLARE
    answer record;
BEGIN
    FOR place IN
        SELECT o.n::int FROM unnest(p_user_ids) WITH ORDINALITY AS o (user_id, n)
        ORDER BY o.user_id, o.n
    LOOP
        SELECT c.outcome, c.balance INTO answer
        FROM hold_capture(p_user_ids[place], p_hold_ids[place], nullif(p_amounts[place], 0),
                          p_settle_ids[place], nullif(p_request_hashes[place], 0)) c;
        outcome := answer.outcome;
        balance := coalesce(answer.balance, 0);
        RETURN NEXT;
    END LOOP;
END
$$;

-- Many claims of the daily bonus (claim_daily_bonus).
CREATE OR REPLACE FUNCTION claim_daily_bonus_flight(p_user_ids uuid[], p_operation_ids uuid[],
                                                    p_request_hashes bigint[])
RETURNS TABLE (place int, outcome text, tokens_awarded int, balance int)
LANGUAGE plpgsql SET lock_timeout = '500ms' AS $$
DECLARE
    answer record;
BEGIN
    FOR place IN
        SELECT o.n::int FROM unnest(p_user_ids) WITH ORDINALITY AS o (user_id, n)
        ORDER BY o.user_id, o.n
    LOOP
        SELECT c.outcome, c.tokens_awarded, c.balance INTO answer
        FROM claim_daily_bonus(p_user_ids[place], p_operation_ids[place],
                               nullif(p_request_hashes[place], 0)) c;
        outcome := answer.outcome;
        tokens_awarded := coalesce(answer.tokens_awarded, 0);
        balance := coalesce(answer.balance, 0);
        RETURN NEXT;
    END LOOP;
END
$$;

-- Many records of usage (record_usage), none of them counted by address: whoever waits for the lock
-- of an address would have users locked that others wait for.
CREATE OR REPLACE FUNCTION record_usage_flight(p_user_ids uuid[], p_usage_ids uuid[],
                                               p_actions text[], p_ip_addresses text[],
                                               p_request_hashes bigint[])
RETURNS TABLE (place int, outcome text, used int, usage_limit int, reset_at timestamp)
LANGUAGE plpgsql SET lock_timeout = '500ms' AS $$
DECLARE
    answer record;
BEGIN
    FOR place IN
        SELECT o.n::int FROM unnest(p_user_ids) WITH ORDINALITY AS o (user_id, n)
        ORDER BY o.user_id, o.n
    LOOP
        SELECT u.outcome, u.used, u.usage_limit, u.reset_at INTO answer
        FROM record_usage(p_user_ids[place], p_usage_ids[place], p_actions[place],
                          p_ip_addresses[place], false, nullif(p_request_hashes[place], 0)) u;
        outcome := answer.outcome;
        used := coalesce(answer.used, 0);
        usage_limit := coalesce(answer.usage_limit, 0);
        reset_at := coalesce(answer.reset_at, timestamp 'epoch');
        RETURN NEXT;
    END LOOP;
END
$$;

-- ---------------------------------------------------------------------------------------------
-- What payments, refunds and subscriptions do
-- ---------------------------------------------------------------------------------------------

-- Locks are taken in the order of a link: the account, its balance (also a closed one), payments,
-- refunds, subscriptions.

-- How long until a payment or refund that was opened at p_created_at is looked at again.
-- p_known: the provider has answered; else its creation is repeated, which is to be done rarely.
CREATE OR REPLACE FUNCTION payment_check_after(p_created_at timestamp, p_known boolean)
RETURNS interval
LANGUAGE plpgsql STABLE AS $$
DECLARE
    age interval := (clock_timestamp() AT TIME ZONE 'utc') - p_created_at;
    poll interval := make_interval(secs => greatest(1, coalesce(
        (SELECT s.value FROM app_settings s WHERE s.name = 'payments_poll_seconds'), 15)));
BEGIN
    RETURN CASE WHEN age < interval '10 minutes' AND p_known THEN poll
                WHEN age < interval '10 minutes' THEN 4 * poll
                WHEN age < interval '1 hour' THEN interval '1 minute'
                WHEN age < interval '1 day' THEN interval '10 minutes'
                ELSE interval '1 hour' END;
END
$$;

-- Writes a difference down, or that it is still there.
CREATE OR REPLACE FUNCTION payment_differs(p_user_id uuid, p_payment_id uuid, p_provider_id text,
                                           p_kind text, p_details text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    present timestamp := clock_timestamp() AT TIME ZONE 'utc';
BEGIN
    INSERT INTO payment_differences AS d (provider_id, kind, user_id, payment_id, details,
                                          first_seen, last_seen)
    VALUES (p_provider_id, p_kind, p_user_id, p_payment_id, p_details, present, present)
    ON CONFLICT (provider_id, kind) DO UPDATE
    SET last_seen = excluded.last_seen, details = excluded.details, resolved_at = NULL;
END
$$;

-- What a look that went well has settled. What was not given or not taken stays.
CREATE OR REPLACE FUNCTION payment_agrees(p_provider_id text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE payment_differences d SET resolved_at = clock_timestamp() AT TIME ZONE 'utc'
    WHERE d.provider_id = p_provider_id AND d.resolved_at IS NULL
      AND d.kind NOT IN ('account_closed', 'subscription_closed', 'tokens_owed');
END
$$;

-- Writes a payment before the provider is asked, and claims it for p_lease_seconds. One that is
-- there and unanswered is claimed again when nobody holds it, with the body of the first time.
-- outcome: done, replayed (the provider has answered, or will not be asked any more), reused (the
-- key came with another request), in_progress. No row: no such open account, or a renewal of what
-- is not to be renewed any more.
CREATE OR REPLACE FUNCTION payment_open(p_user_id uuid, p_id uuid, p_purpose text,
                                        p_token_package text, p_plan text, p_amount text,
                                        p_currency text, p_tokens_amount int,
                                        p_subscription_id uuid, p_request_body text,
                                        p_request_hash bigint, p_lease_seconds int)
RETURNS TABLE (outcome text, payment payments)
LANGUAGE plpgsql AS $$
DECLARE
    present timestamp;
    lease interval := make_interval(secs => p_lease_seconds);
BEGIN
    PERFORM 1 FROM user_tokens t WHERE t.user_id = p_user_id AND t.closed_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF p_purpose = 'renewal' AND NOT EXISTS (
           SELECT 1 FROM subscriptions s
           WHERE s.user_id = p_user_id AND s.id = p_subscription_id AND s.status = 'active'
             AND NOT s.cancel_at_period_end) THEN
        RETURN;
    END IF;
    present := clock_timestamp() AT TIME ZONE 'utc';
    SELECT * INTO payment FROM payments p WHERE p.user_id = p_user_id AND p.id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO payments (user_id, id, purpose, token_package, plan, amount, currency, status,
                              tokens_amount, subscription_id, request_body, request_hash,
                              created_at, next_check_at)
        VALUES (p_user_id, p_id, p_purpose, p_token_package, p_plan, p_amount::numeric,
                p_currency, 'pending', p_tokens_amount, p_subscription_id, p_request_body,
                p_request_hash, present, present + lease)
        RETURNING * INTO payment;
        outcome := 'done';
    ELSIF payment.request_hash IS DISTINCT FROM p_request_hash THEN
        outcome := 'reused';
    ELSIF payment.yookassa_payment_id IS NOT NULL OR payment.status <> 'pending' THEN
        outcome := 'replayed';
    ELSIF p_request_hash IS NULL AND p_purpose <> 'renewal' THEN
        -- An id nobody else can have: this very call, whose answer was lost.
        outcome := 'done';
    ELSIF payment.next_check_at > present OR payment.request_body IS NULL
          OR payment.created_at < present - interval '23 hours' THEN
        outcome := 'in_progress';
    ELSE
        UPDATE payments p SET next_check_at = present + lease, repeated = true
        WHERE p.user_id = p_user_id AND p.id = p_id
        RETURNING * INTO payment;
        outcome := 'done';
    END IF;
    RETURN NEXT;
END
$$;

-- The provider refused for good. Without an attempt before that may have happened, the payment is
-- removed and its key is free again; else it stays, to be asked for later.
CREATE OR REPLACE FUNCTION payment_refused(p_user_id uuid, p_id uuid)
RETURNS TABLE (removed boolean)
LANGUAGE plpgsql AS $$
DECLARE
    asked payments%ROWTYPE;
BEGIN
    SELECT * INTO asked FROM payments p WHERE p.user_id = p_user_id AND p.id = p_id FOR UPDATE;
    removed := NOT FOUND;
    IF asked.status = 'pending' AND asked.yookassa_payment_id IS NULL THEN
        IF asked.repeated THEN
            UPDATE payments p
            SET next_check_at = (clock_timestamp() AT TIME ZONE 'utc')
                                + payment_check_after(p.created_at, false)
            WHERE p.user_id = p_user_id AND p.id = p_id;
        ELSE
            DELETE FROM payments p WHERE p.user_id = p_user_id AND p.id = p_id;
            removed := true;
        END IF;
    END IF;
    RETURN NEXT;
END
$$;

-- Posts the ledger entry of a payment or refund, p_operation_id. The caller has locked the account
-- and seen that the balance allows it. The entry's id is made of the operation's and not the same,
-- for a client may have sent its Idempotency-Key with another movement as well.
CREATE OR REPLACE FUNCTION payment_entry(p_user_id uuid, p_entry_id uuid, p_operation_id uuid,
                                         p_amount int, p_type text, p_description text)
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    total int;
    held_now int;
    stamp timestamp;
BEGIN
    UPDATE user_tokens t
    SET balance = t.balance + p_amount,
        updated_at = greatest(clock_timestamp() AT TIME ZONE 'utc',
                              t.updated_at + interval '1 microsecond')
    WHERE t.user_id = p_user_id
    RETURNING t.balance, t.held, t.updated_at INTO total, held_now, stamp;
    INSERT INTO token_transactions (user_id, id, amount, type, description, balance_after,
                                    held_after, operation_id, created_at)
    VALUES (p_user_id, p_entry_id, p_amount, p_type, p_description, total, held_now,
            p_operation_id, stamp);
END
$$;

-- Credits a payment's tokens. Returns NULL, or the difference because of which it did not.
CREATE OR REPLACE FUNCTION payment_credit(p_user_id uuid, p_id uuid, p_tokens int) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    total int;
BEGIN
    SELECT a.balance INTO total FROM lock_account(p_user_id) a;
    IF NOT FOUND THEN
        RETURN 'account_closed';
    ELSIF coalesce(p_tokens, 0) <= 0 THEN
        RETURN 'unknown_package';
    ELSIF total > 2147483647 - p_tokens THEN
        RETURN 'balance_limit';
    END IF;
    PERFORM payment_entry(p_user_id, md5('payment ' || p_id)::uuid, p_id, p_tokens, 'purchase',
                          'Покупка токенов');
    RETURN NULL;
END
$$;

-- Gives the month that a payment of p_purpose paid for, to subscription p_id. Returns NULL, or the
-- difference because of which it did not.
-- A subscription to another plan ends where the new one begins; a month of the same plan is added
-- to the period. After a gap without service the period begins now.
CREATE OR REPLACE FUNCTION subscription_paid(p_user_id uuid, p_id uuid, p_purpose text,
                                             p_plan text, p_payment_method_id text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    present timestamp := clock_timestamp() AT TIME ZONE 'utc';
    target subscriptions%ROWTYPE;
    grace interval;
BEGIN
    PERFORM 1 FROM lock_account(p_user_id);
    IF NOT FOUND THEN
        RETURN 'account_closed';
    END IF;
    SELECT * INTO target FROM subscriptions s
    WHERE s.user_id = p_user_id AND s.status = 'active' FOR UPDATE;
    IF p_purpose = 'renewal' AND target.id <> p_id THEN
        RETURN 'subscription_closed';
    ELSIF p_purpose = 'renewal' AND target.id IS NULL THEN
        -- It ended while the payment was under way.
        SELECT * INTO target FROM subscriptions s
        WHERE s.user_id = p_user_id AND s.id = p_id FOR UPDATE;
        IF NOT FOUND THEN
            RETURN 'subscription_closed';
        END IF;
    ELSIF p_plan IS NULL THEN
        RETURN 'unknown_package';
    ELSIF p_purpose = 'subscription' AND target.plan IS DISTINCT FROM p_plan THEN
        UPDATE subscriptions s
        SET status = 'cancelled', current_period_end = least(s.current_period_end, present),
            payment_method_id = NULL, next_check_at = NULL, updated_at = present
        WHERE s.user_id = p_user_id AND s.id = target.id;
        INSERT INTO subscriptions (user_id, id, plan, status, current_period_start,
                                   current_period_end, payment_method_id, period_anchor,
                                   period_months, next_check_at, created_at, updated_at)
        VALUES (p_user_id, p_id, p_plan, 'active', present, present + interval '1 month',
                p_payment_method_id, present, 1, present + interval '1 month', present, present);
        RETURN NULL;
    END IF;
    grace := CASE WHEN target.payment_method_id IS NULL OR target.cancel_at_period_end
                  THEN interval '0' ELSE interval '8 days' END;
    IF target.status <> 'active' OR target.current_period_end < present - grace THEN
        target.period_anchor := present;
        target.period_months := 0;
        target.current_period_end := present;
    ELSIF target.period_anchor IS NULL THEN
        target.period_anchor := coalesce(target.current_period_end, present);
    END IF;
    UPDATE subscriptions s
    SET status = 'active', renewal_attempts = 0, updated_at = present,
        payment_method_id = coalesce(p_payment_method_id, s.payment_method_id),
        cancel_at_period_end = s.cancel_at_period_end AND p_purpose = 'renewal',
        current_period_start = CASE WHEN target.current_period_end > present
                                    THEN s.current_period_start
                                    ELSE target.current_period_end END,
        period_anchor = target.period_anchor, period_months = target.period_months + 1,
        current_period_end = target.period_anchor
                             + make_interval(months => target.period_months + 1),
        next_check_at = target.period_anchor + make_interval(months => target.period_months + 1)
    WHERE s.user_id = p_user_id AND s.id = target.id;
    RETURN NULL;
END
$$;

-- A renewal that was opened at p_opened_at has failed. It is tried again on the days 1, 3 and 7
-- after the period's end; then the subscription expires, and at once when the person has taken the
-- permission back. A renewal of an earlier period says nothing of this one.
CREATE OR REPLACE FUNCTION subscription_unpaid(p_user_id uuid, p_id uuid, p_opened_at timestamp,
                                               p_reason text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    present timestamp := clock_timestamp() AT TIME ZONE 'utc';
    revoked boolean := p_reason IS NOT DISTINCT FROM 'permission_revoked';
BEGIN
    UPDATE subscriptions s
    SET renewal_attempts = s.renewal_attempts + 1,
        payment_method_id = CASE WHEN NOT revoked AND s.renewal_attempts < 3
                                 THEN s.payment_method_id END,
        status = CASE WHEN revoked OR s.renewal_attempts >= 3 THEN 'expired' ELSE s.status END,
        next_check_at = CASE WHEN NOT revoked THEN s.current_period_end + make_interval(
                                 days => (ARRAY[1, 3, 7])[s.renewal_attempts + 1]) END,
        updated_at = present
    WHERE s.user_id = p_user_id AND s.id = p_id AND s.status = 'active'
      AND s.current_period_end <= p_opened_at;
END
$$;

-- The provider will never make a renewal as it was asked for, its saved method being gone as a rule:
-- that is a failed attempt like one that was declined. After an attempt that may have happened it
-- stays, as in payment_refused.
CREATE OR REPLACE FUNCTION renewal_refused(p_user_id uuid, p_id uuid)
RETURNS TABLE (failed boolean)
LANGUAGE plpgsql AS $$
DECLARE
    asked payments%ROWTYPE;
BEGIN
    SELECT * INTO asked FROM payments p
    WHERE p.user_id = p_user_id AND p.id = p_id AND p.purpose = 'renewal' FOR UPDATE;
    failed := FOUND AND asked.status = 'pending' AND asked.yookassa_payment_id IS NULL
              AND NOT asked.repeated;
    IF failed THEN
        UPDATE payments p
        SET status = 'canceled', cancellation_reason = 'refused', next_check_at = NULL,
            request_body = NULL
        WHERE p.user_id = p_user_id AND p.id = p_id;
        PERFORM subscription_unpaid(p_user_id, asked.subscription_id, asked.created_at, NULL);
    END IF;
    RETURN NEXT;
END
$$;

-- What the provider says of a payment: its status, and with it tokens or a period, in one.
-- p_test_accepted: whether payments of a test shop count. p_payment_method_id: NULL unless saved.
-- outcome: applied (the status went on), unchanged (it was there already, or further), conflict
-- (nothing changed), uncredited (paid, and nothing given for it). kind: of the difference, which is
-- written down, with the last two. No row: no such payment of this user.
CREATE OR REPLACE FUNCTION payment_apply(p_user_id uuid, p_id uuid, p_provider_id text,
                                         p_status text, p_amount text, p_currency text,
                                         p_test boolean, p_test_accepted boolean,
                                         p_confirmation_url text, p_payment_method_id text,
                                         p_cancellation_reason text)
RETURNS TABLE (outcome text, kind text)
LANGUAGE plpgsql AS $$
DECLARE
    paid payments%ROWTYPE;
    holder payment_references%ROWTYPE;
    ours text;
    following text;
    tokens int;
    is_open boolean;
BEGIN
    PERFORM 1 FROM user_tokens t WHERE t.user_id = p_user_id FOR UPDATE;
    SELECT * INTO paid FROM payments p WHERE p.user_id = p_user_id AND p.id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- Given up because the provider did not show it in time; it may still.
    ours := CASE WHEN paid.status = 'canceled' AND paid.yookassa_payment_id IS NULL
                 THEN 'pending' ELSE paid.status END;
    is_open := ours IN ('pending', 'waiting_for_capture');
    kind := CASE WHEN paid.yookassa_payment_id <> p_provider_id THEN 'other_provider_id'
                 WHEN paid.amount <> p_amount::numeric THEN 'other_amount'
                 WHEN paid.currency <> p_currency THEN 'other_currency'
                 WHEN is_open AND p_test AND NOT p_test_accepted THEN 'test_payment'
                 WHEN p_status = 'canceled' AND ours IN ('succeeded', 'refunded')
                   OR p_status = 'succeeded' AND NOT is_open
                      AND ours NOT IN ('succeeded', 'refunded') THEN 'way_back' END;
    IF kind IS NULL AND is_open AND paid.yookassa_payment_id IS NULL THEN
        INSERT INTO payment_references AS r (provider_id, user_id, payment_id)
        VALUES (p_provider_id, p_user_id, p_id)
        ON CONFLICT (provider_id) DO UPDATE SET provider_id = excluded.provider_id
        RETURNING * INTO holder;
        IF (holder.user_id, holder.payment_id) <> (p_user_id, p_id) THEN
            kind := 'other_provider_id';
        END IF;
    END IF;
    IF kind IS NOT NULL THEN
        PERFORM payment_differs(
            p_user_id, p_id, p_provider_id, kind,
            format('here %s %s %s, %s; there %s %s %s%s', paid.status, paid.amount,
                   paid.currency, coalesce(paid.yookassa_payment_id, 'no provider id'), p_status,
                   p_amount, p_currency, CASE WHEN p_test THEN ', test' ELSE '' END));
        outcome := 'conflict';
        RETURN NEXT;
        RETURN;
    END IF;

    following := CASE WHEN is_open AND p_status <> 'pending' THEN p_status ELSE ours END;
    IF is_open AND p_status = 'succeeded' THEN
        IF paid.purpose = 'tokens' THEN
            tokens := coalesce(paid.tokens_amount, (SELECT k.tokens FROM token_packages k
                                                    WHERE k.package = paid.token_package));
            kind := payment_credit(p_user_id, p_id, tokens);
        ELSE
            kind := subscription_paid(
                p_user_id, coalesce(paid.subscription_id, p_id), paid.purpose, paid.plan,
                CASE paid.purpose WHEN 'subscription' THEN p_payment_method_id END);
        END IF;
        -- These an operator or the person can put right; it is tried again until then.
        IF kind IN ('balance_limit', 'unknown_package') THEN
            following := ours;
        END IF;
    ELSIF following = 'canceled' AND is_open AND paid.status <> 'canceled'
          AND paid.purpose = 'renewal' THEN
        -- One that was given up has been counted then.
        PERFORM subscription_unpaid(p_user_id, paid.subscription_id, paid.created_at,
                                    p_cancellation_reason);
    END IF;
    IF kind IS NULL THEN
        PERFORM payment_agrees(p_provider_id);
    ELSE
        PERFORM payment_differs(p_user_id, p_id, p_provider_id, kind,
                                format('paid %s %s for %s', paid.amount, paid.currency,
                                       coalesce(paid.plan, tokens || ' tokens', 'nothing known')));
    END IF;

    outcome := CASE WHEN kind IS NOT NULL THEN 'uncredited'
                    WHEN following <> paid.status THEN 'applied' ELSE 'unchanged' END;
    IF is_open THEN
        UPDATE payments p
        SET yookassa_payment_id = p_provider_id, status = following, request_body = NULL,
            confirmation_url = coalesce(p_confirmation_url, p.confirmation_url),
            cancellation_reason = CASE following WHEN 'canceled' THEN p_cancellation_reason END,
            tokens_amount = coalesce(p.tokens_amount, tokens),
            next_check_at = CASE WHEN following IN ('pending', 'waiting_for_capture')
                                 THEN (clock_timestamp() AT TIME ZONE 'utc')
                                      + payment_check_after(p.created_at, true) END,
            succeeded_at = CASE following WHEN 'succeeded'
                                          THEN clock_timestamp() AT TIME ZONE 'utc' END
        WHERE p.user_id = p_user_id AND p.id = p_id;
    END IF;
    RETURN NEXT;
END
$$;

-- Claims up to p_limit payments that are due for a look, the oldest first; some more are looked at,
-- for others may be claiming the same ones now. The next look follows
-- the schedule should nobody say otherwise. The provider honours the key of a creation for a day:
-- from 23 hours on one without an answer is not returned, and after two days it is given up, if the
-- provider's list was read to its end for a time when it would have been in it. Nor is one returned
-- that would renew a subscription that has ended or was cancelled.
CREATE OR REPLACE FUNCTION payments_claim_due(p_limit int, p_lease_seconds int)
RETURNS SETOF payments
LANGUAGE plpgsql AS $$
DECLARE
    present timestamp := clock_timestamp() AT TIME ZONE 'utc';
    due record;
    claim payments%ROWTYPE;
    claimed int := 0;
BEGIN
    FOR due IN
        SELECT p.user_id, p.id FROM payments p WHERE p.next_check_at <= present
        ORDER BY p.next_check_at LIMIT p_limit + 100
    LOOP
        EXIT WHEN claimed = p_limit;
        SELECT * INTO claim FROM payments p
        WHERE p.user_id = due.user_id AND p.id = due.id AND p.next_check_at <= present
        FOR UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        IF claim.yookassa_payment_id IS NOT NULL
           OR claim.request_body IS NOT NULL
              AND claim.created_at > present - interval '23 hours'
              AND (claim.purpose <> 'renewal' OR EXISTS (
                       SELECT 1 FROM subscriptions s
                       WHERE s.user_id = claim.user_id AND s.id = claim.subscription_id
                         AND s.status = 'active' AND NOT s.cancel_at_period_end)) THEN
            UPDATE payments p
            SET next_check_at = present + greatest(
                    make_interval(secs => p_lease_seconds),
                    payment_check_after(p.created_at, p.yookassa_payment_id IS NOT NULL)),
                repeated = p.repeated OR p.yookassa_payment_id IS NULL
            WHERE p.user_id = due.user_id AND p.id = due.id
            RETURNING * INTO claim;
            claimed := claimed + 1;
            RETURN NEXT claim;
        ELSIF claim.created_at > present - interval '48 hours' OR NOT EXISTS (
                  SELECT 1 FROM payment_windows w
                  WHERE w.name = 'payments'
                    AND w.since > claim.created_at + interval '24 hours') THEN
            UPDATE payments p
            SET next_check_at = greatest(p.created_at + interval '48 hours',
                                         present + interval '10 minutes'),
                request_body = NULL
            WHERE p.user_id = due.user_id AND p.id = due.id;
        ELSE
            UPDATE payments p
            SET status = 'canceled', cancellation_reason = 'never_created', next_check_at = NULL,
                request_body = NULL
            WHERE p.user_id = due.user_id AND p.id = due.id;
            IF claim.purpose = 'renewal' THEN
                PERFORM subscription_unpaid(due.user_id, claim.subscription_id,
                                            claim.created_at, NULL);
            END IF;
        END IF;
    END LOOP;
END
$$;

-- As payment_open. outcome also: not_paid (or no such payment), too_much (refunds, pending ones
-- included, would pass the payment's amount); refund is then what it would have been.
CREATE OR REPLACE FUNCTION refund_open(p_user_id uuid, p_id uuid, p_payment_id uuid,
                                       p_amount text, p_request_body text, p_request_hash bigint,
                                       p_lease_seconds int)
RETURNS TABLE (outcome text, refund payment_refunds)
LANGUAGE plpgsql AS $$
DECLARE
    present timestamp;
    lease interval := make_interval(secs => p_lease_seconds);
    paid payments%ROWTYPE;
BEGIN
    SELECT * INTO paid FROM payments p
    WHERE p.user_id = p_user_id AND p.id = p_payment_id FOR UPDATE;
    present := clock_timestamp() AT TIME ZONE 'utc';
    SELECT * INTO refund FROM payment_refunds r
    WHERE r.user_id = p_user_id AND r.id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        refund.user_id := p_user_id;
        refund.id := p_id;
        refund.payment_id := p_payment_id;
        refund.provider_payment_id := coalesce(paid.yookassa_payment_id, '');
        refund.amount := p_amount;
        refund.currency := coalesce(paid.currency, '');
        refund.status := 'pending';
        refund.tokens_taken := 0;
        refund.tokens_owed := 0;
        refund.request_body := p_request_body;
        refund.request_hash := p_request_hash;
        refund.repeated := false;
        refund.next_check_at := present + lease;
        refund.created_at := present;
        IF paid.status NOT IN ('succeeded', 'refunded') OR paid.yookassa_payment_id IS NULL THEN
            outcome := 'not_paid';
        ELSIF refund.amount + coalesce((SELECT sum(r.amount) FROM payment_refunds r
                                        WHERE r.user_id = p_user_id
                                          AND r.payment_id = p_payment_id
                                          AND r.status <> 'canceled'), 0) > paid.amount THEN
            outcome := 'too_much';
        ELSE
            INSERT INTO payment_refunds (user_id, id, payment_id, provider_payment_id, amount,
                                         currency, request_body, request_hash, next_check_at,
                                         created_at)
            VALUES (p_user_id, p_id, p_payment_id, refund.provider_payment_id, refund.amount,
                    refund.currency, p_request_body, p_request_hash, refund.next_check_at,
                    present);
            outcome := 'done';
        END IF;
    ELSIF refund.payment_id <> p_payment_id
          OR refund.request_hash IS DISTINCT FROM p_request_hash THEN
        outcome := 'reused';
    ELSIF refund.yookassa_refund_id IS NOT NULL OR refund.status <> 'pending' THEN
        outcome := 'replayed';
    ELSIF p_request_hash IS NULL THEN
        outcome := 'done'; -- this very call, whose answer was lost
    ELSIF refund.next_check_at > present OR refund.request_body IS NULL
          OR refund.created_at < present - interval '23 hours' THEN
        outcome := 'in_progress';
    ELSE
        UPDATE payment_refunds r SET next_check_at = present + lease, repeated = true
        WHERE r.user_id = p_user_id AND r.id = p_id
        RETURNING * INTO refund;
        outcome := 'done';
    END IF;
    RETURN NEXT;
END
$$;

-- As payment_refused.
CREATE OR REPLACE FUNCTION refund_refused(p_user_id uuid, p_id uuid)
RETURNS TABLE (removed boolean)
LANGUAGE plpgsql AS $$
DECLARE
    asked payment_refunds%ROWTYPE;
BEGIN
    SELECT * INTO asked FROM payment_refunds r
    WHERE r.user_id = p_user_id AND r.id = p_id FOR UPDATE;
    removed := NOT FOUND;
    IF asked.status = 'pending' AND asked.yookassa_refund_id IS NULL THEN
        IF asked.repeated THEN
            UPDATE payment_refunds r
            SET next_check_at = (clock_timestamp() AT TIME ZONE 'utc')
                                + payment_check_after(r.created_at, false)
            WHERE r.user_id = p_user_id AND r.id = p_id;
        ELSE
            DELETE FROM payment_refunds r WHERE r.user_id = p_user_id AND r.id = p_id;
            removed := true;
        END IF;
    END IF;
    RETURN NEXT;
END
$$;

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
    taken := least(due, coalesce((SELECT a.balance - a.held FROM lock_account(p_user_id) a), 0));
    owed := due - taken;
    IF taken > 0 THEN
        PERFORM payment_entry(p_user_id, md5('refund ' || p_id)::uuid, p_id, -taken, 'refund',
                              'Возврат платежа');
    END IF;
    RETURN NEXT;
END
$$;

-- What the provider says of a refund: its status, the tokens it takes back, and the payment's
-- refunded amount and status, in one. A refund that is not known, made in the provider's own pages,
-- is written down under p_id; also when its payment could not be credited yet: it is booked after
-- that.
-- Outcomes as payment_apply; uncredited: not all tokens could be taken. No row: no such payment of
-- this user.
CREATE OR REPLACE FUNCTION refund_apply(p_user_id uuid, p_id uuid, p_payment_id uuid,
                                        p_provider_id text, p_provider_payment_id text,
                                        p_status text, p_amount text, p_currency text)
RETURNS TABLE (outcome text, kind text)
LANGUAGE plpgsql AS $$
DECLARE
    paid payments%ROWTYPE;
    refund payment_refunds%ROWTYPE;
    known boolean;
    was text;
    total numeric;
BEGIN
    PERFORM 1 FROM user_tokens t WHERE t.user_id = p_user_id FOR UPDATE;
    SELECT * INTO paid FROM payments p
    WHERE p.user_id = p_user_id AND p.id = p_payment_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO refund FROM payment_refunds r
    WHERE r.user_id = p_user_id AND r.payment_id = p_payment_id
      AND (r.yookassa_refund_id = p_provider_id OR r.id = p_id)
    ORDER BY r.yookassa_refund_id = p_provider_id DESC NULLS LAST LIMIT 1 FOR UPDATE;
    known := FOUND;
    was := CASE WHEN NOT known OR refund.status = 'canceled' AND refund.yookassa_refund_id IS NULL
                THEN 'pending' ELSE refund.status END;
    kind := CASE WHEN paid.yookassa_payment_id IS DISTINCT FROM p_provider_payment_id
                   OR refund.yookassa_refund_id <> p_provider_id THEN 'other_provider_id'
                 WHEN refund.amount <> p_amount::numeric THEN 'other_amount'
                 WHEN paid.currency <> p_currency THEN 'other_currency'
                 WHEN was <> 'pending' AND p_status NOT IN ('pending', was)
                   OR p_status = 'succeeded' AND paid.status NOT IN ('succeeded', 'refunded')
                 THEN 'way_back' END;
    IF kind IS NOT NULL THEN
        PERFORM payment_differs(
            p_user_id, p_payment_id, p_provider_id, kind,
            format('refund here %s %s, of a payment %s %s, %s; there %s %s %s of %s',
                   coalesce(refund.status, 'unknown'), refund.amount, paid.status, paid.amount,
                   paid.yookassa_payment_id, p_status, p_amount, p_currency,
                   p_provider_payment_id));
        IF kind = 'way_back' AND paid.status IN ('pending', 'waiting_for_capture') THEN
            INSERT INTO payment_refunds (user_id, id, payment_id, yookassa_refund_id,
                                         provider_payment_id, amount, currency, next_check_at)
            VALUES (p_user_id, p_id, p_payment_id, p_provider_id, p_provider_payment_id,
                    p_amount::numeric, p_currency,
                    (clock_timestamp() AT TIME ZONE 'utc') + interval '10 minutes')
            ON CONFLICT (user_id, id) DO NOTHING;
        END IF;
        outcome := 'conflict';
        RETURN NEXT;
        RETURN;
    END IF;
    IF NOT known THEN
        INSERT INTO payment_refunds (user_id, id, payment_id, provider_payment_id, amount,
                                     currency)
        VALUES (p_user_id, p_id, p_payment_id, p_provider_payment_id, p_amount::numeric,
                p_currency)
        RETURNING * INTO refund;
    END IF;
    outcome := CASE WHEN p_status <> 'pending' AND was = 'pending'
                      OR was <> refund.status OR NOT known THEN 'applied' ELSE 'unchanged' END;
    PERFORM payment_agrees(p_provider_id);
    IF was = 'pending' THEN
        IF p_status = 'succeeded' THEN
            SELECT p_amount::numeric + coalesce(sum(r.amount), 0) INTO total
            FROM payment_refunds r
            WHERE r.user_id = p_user_id AND r.payment_id = p_payment_id
              AND r.status = 'succeeded';
            SELECT d.taken, d.owed INTO refund.tokens_taken, refund.tokens_owed
            FROM refund_debit(p_user_id, refund.id, paid, total) d;
            UPDATE payments p
            SET refunded_amount = total,
                status = CASE WHEN total >= p.amount THEN 'refunded' ELSE p.status END
            WHERE p.user_id = p_user_id AND p.id = p_payment_id;
            IF refund.tokens_owed > 0 THEN
                kind := 'tokens_owed';
                outcome := 'uncredited';
                PERFORM payment_differs(p_user_id, p_payment_id, p_provider_id, kind,
                                        format('refund of %s %s: %s tokens taken, %s owed',
                                               p_amount, p_currency, refund.tokens_taken,
                                               refund.tokens_owed));
            END IF;
        END IF;
        UPDATE payment_refunds r
        SET yookassa_refund_id = p_provider_id, status = p_status, request_body = NULL,
            tokens_taken = refund.tokens_taken, tokens_owed = refund.tokens_owed,
            next_check_at = CASE p_status WHEN 'pending'
                            THEN (clock_timestamp() AT TIME ZONE 'utc')
                                 + payment_check_after(r.created_at, true) END
        WHERE r.user_id = p_user_id AND r.id = refund.id;
    END IF;
    RETURN NEXT;
END
$$;

-- As payments_claim_due.
CREATE OR REPLACE FUNCTION refunds_claim_due(p_limit int, p_lease_seconds int)
RETURNS SETOF payment_refunds
LANGUAGE plpgsql AS $$
DECLARE
    present timestamp := clock_timestamp() AT TIME ZONE 'utc';
    due record;
    claim payment_refunds%ROWTYPE;
    claimed int := 0;
BEGIN
    FOR due IN
        SELECT r.user_id, r.id FROM payment_refunds r WHERE r.next_check_at <= present
        ORDER BY r.next_check_at LIMIT p_limit + 100
    LOOP
        EXIT WHEN claimed = p_limit;
        SELECT * INTO claim FROM payment_refunds r
        WHERE r.user_id = due.user_id AND r.id = due.id AND r.next_check_at <= present
        FOR UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        IF claim.yookassa_refund_id IS NOT NULL
           OR claim.created_at > present - interval '23 hours' THEN
            UPDATE payment_refunds r
            SET next_check_at = present + greatest(
                    make_interval(secs => p_lease_seconds),
                    payment_check_after(r.created_at, r.yookassa_refund_id IS NOT NULL)),
                repeated = r.repeated OR r.yookassa_refund_id IS NULL
            WHERE r.user_id = due.user_id AND r.id = due.id
            RETURNING * INTO claim;
            claimed := claimed + 1;
            RETURN NEXT claim;
        ELSIF claim.created_at > present - interval '48 hours' OR NOT EXISTS (
                  SELECT 1 FROM payment_windows w
                  WHERE w.name = 'refunds'
                    AND w.since > claim.created_at + interval '24 hours') THEN
            UPDATE payment_refunds r
            SET next_check_at = greatest(r.created_at + interval '48 hours',
                                         present + interval '10 minutes'),
                request_body = NULL
            WHERE r.user_id = due.user_id AND r.id = due.id;
        ELSE
            UPDATE payment_refunds r
            SET status = 'canceled', next_check_at = NULL, request_body = NULL
            WHERE r.user_id = due.user_id AND r.id = due.id;
        END IF;
    END LOOP;
END
$$;

-- Claims up to p_limit active subscriptions whose renewal is due. Those that are not renewed end
-- here: cancelled, where the person wanted it, else expired (no saved method, attempts used up, or
-- so late that the service has stopped for want of an attempt).
CREATE OR REPLACE FUNCTION subscriptions_claim_due(p_limit int, p_lease_seconds int)
RETURNS SETOF subscriptions
LANGUAGE plpgsql AS $$
DECLARE
    present timestamp := clock_timestamp() AT TIME ZONE 'utc';
    due record;
    claim subscriptions%ROWTYPE;
    claimed int := 0;
    ended text;
BEGIN
    FOR due IN
        SELECT s.user_id, s.id FROM subscriptions s WHERE s.next_check_at <= present
        ORDER BY s.next_check_at LIMIT p_limit + 100
    LOOP
        EXIT WHEN claimed = p_limit;
        SELECT * INTO claim FROM subscriptions s
        WHERE s.user_id = due.user_id AND s.id = due.id AND s.next_check_at <= present
        FOR UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        ended := CASE WHEN claim.status <> 'active' THEN claim.status
                      WHEN claim.cancel_at_period_end THEN 'cancelled'
                      WHEN claim.payment_method_id IS NULL OR claim.renewal_attempts > 3
                        OR claim.current_period_end < present - interval '8 days'
                      THEN 'expired' END;
        UPDATE subscriptions s
        SET status = coalesce(ended, s.status), updated_at = present,
            payment_method_id = CASE WHEN ended IS NULL THEN s.payment_method_id END,
            next_check_at = CASE WHEN ended IS NULL THEN present + greatest(
                                     make_interval(secs => p_lease_seconds),
                                     payment_check_after(s.current_period_end, true)) END
        WHERE s.user_id = due.user_id AND s.id = due.id
        RETURNING * INTO claim;
        IF ended IS NULL THEN
            claimed := claimed + 1;
            RETURN NEXT claim;
        END IF;
    END LOOP;
END
$$;

COMMIT;
