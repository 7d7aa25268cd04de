-- The tables of the DreamLens database, as the migrations make them. scripts/print-schema prints
-- them from a database that was just bootstrapped, and a test compares them. Never edit this file:
-- change sql/migrations, which also say what each column is for. Functions are in sql/functions.

CREATE TABLE address_uses (
    network inet NOT NULL,
    action text NOT NULL,
    used_at timestamp NOT NULL,
    CONSTRAINT address_uses_pkey PRIMARY KEY (network, action, used_at),
    CONSTRAINT address_uses_action_check CHECK (action = ANY (ARRAY['welcome'::text, 'generation'::text]))
);
CREATE INDEX address_uses_used_at_idx ON address_uses USING btree (used_at);

CREATE TABLE app_settings (
    name text NOT NULL,
    value integer NOT NULL,
    description text NOT NULL,
    CONSTRAINT app_settings_pkey PRIMARY KEY (name)
);

CREATE TABLE erased_identities (
    digest text NOT NULL,
    erased_at timestamp NOT NULL,
    last_bonus_date date,
    last_used_at timestamp,
    CONSTRAINT erased_identities_pkey PRIMARY KEY (digest)
);
CREATE INDEX erased_identities_erased_at_idx ON erased_identities USING btree (erased_at);
CREATE INDEX erased_identities_recent_idx ON erased_identities USING btree (erased_at) WHERE ((last_bonus_date IS NOT NULL) OR (last_used_at IS NOT NULL));

CREATE TABLE generations (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    image_url text,
    prompt_used text,
    trend varchar(50),
    quality varchar(10),
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'::text),
    status varchar(20) NOT NULL DEFAULT 'completed'::varchar,
    error_message text,
    updated_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'::text),
    CONSTRAINT generations_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT generations_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE RESTRICT
);
CREATE INDEX generations_history_idx ON generations USING btree (user_id, created_at DESC, id DESC);

CREATE TABLE payment_differences (
    provider_id text NOT NULL,
    kind text NOT NULL,
    user_id uuid,
    payment_id uuid,
    details text NOT NULL,
    first_seen timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'::text),
    last_seen timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'::text),
    resolved_at timestamp,
    CONSTRAINT payment_differences_pkey PRIMARY KEY (provider_id, kind)
);

CREATE TABLE payment_references (
    provider_id text NOT NULL,
    user_id uuid NOT NULL,
    payment_id uuid NOT NULL,
    CONSTRAINT payment_references_pkey PRIMARY KEY (provider_id)
);
CREATE INDEX payment_references_user_id_idx ON payment_references USING btree (user_id);

CREATE TABLE payment_refunds (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    payment_id uuid NOT NULL,
    yookassa_refund_id text,
    provider_payment_id text NOT NULL,
    amount numeric(10,2) NOT NULL,
    currency text NOT NULL,
    status text NOT NULL DEFAULT 'pending'::text,
    tokens_taken integer NOT NULL DEFAULT 0,
    tokens_owed integer NOT NULL DEFAULT 0,
    request_body text,
    request_hash bigint,
    repeated boolean NOT NULL DEFAULT false,
    next_check_at timestamp,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'::text),
    CONSTRAINT payment_refunds_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT payment_refunds_amount_check CHECK (amount > 0::numeric),
    CONSTRAINT payment_refunds_status_check CHECK (status = ANY (ARRAY['pending'::text, 'succeeded'::text, 'canceled'::text]))
);
CREATE INDEX payment_refunds_next_check_idx ON payment_refunds USING btree (next_check_at) WHERE (next_check_at IS NOT NULL);
CREATE INDEX payment_refunds_payment_idx ON payment_refunds USING btree (user_id, payment_id);

CREATE TABLE payment_windows (
    name text NOT NULL,
    since timestamp NOT NULL,
    listed_at timestamp,
    claimed_until timestamp,
    CONSTRAINT payment_windows_pkey PRIMARY KEY (name)
);

CREATE TABLE payments (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    yookassa_payment_id varchar(255),
    amount numeric(10,2) NOT NULL,
    currency varchar(3) NOT NULL DEFAULT 'RUB'::varchar,
    status varchar(50) NOT NULL,
    token_package varchar(50),
    tokens_amount integer,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'::text),
    purpose text NOT NULL DEFAULT 'tokens'::text,
    plan text,
    subscription_id uuid,
    refunded_amount numeric(10,2) NOT NULL DEFAULT 0,
    confirmation_url text,
    cancellation_reason text,
    request_body text,
    request_hash bigint,
    repeated boolean NOT NULL DEFAULT false,
    next_check_at timestamp,
    succeeded_at timestamp,
    renews boolean NOT NULL DEFAULT true,
    credit_days integer NOT NULL DEFAULT 0,
    CONSTRAINT payments_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT payments_purpose_check CHECK (purpose = ANY (ARRAY['tokens'::text, 'subscription'::text, 'renewal'::text])),
    CONSTRAINT payments_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE RESTRICT,
    CONSTRAINT payments_yookassa_payment_id_key UNIQUE (yookassa_payment_id)
);
CREATE INDEX payments_history_idx ON payments USING btree (user_id, created_at DESC, id DESC);
CREATE INDEX payments_next_check_idx ON payments USING btree (next_check_at) WHERE (next_check_at IS NOT NULL);

CREATE TABLE plans (
    plan text NOT NULL,
    daily_generations integer,
    history_max integer,
    quality text NOT NULL,
    price numeric(10,2) NOT NULL,
    currency text NOT NULL DEFAULT 'RUB'::text,
    CONSTRAINT plans_pkey PRIMARY KEY (plan),
    CONSTRAINT plans_quality_check CHECK (quality = ANY (ARRAY['1K'::text, '2K'::text, '4K'::text]))
);

CREATE TABLE schema_functions (
    name text NOT NULL,
    declaration text NOT NULL,
    digest text NOT NULL,
    applied_at timestamp NOT NULL DEFAULT (clock_timestamp() AT TIME ZONE 'utc'::text),
    retired_at timestamp,
    CONSTRAINT schema_functions_pkey PRIMARY KEY (name)
);

CREATE TABLE schema_migrations (
    version integer NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    objects text[],
    applied_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'::text),
    CONSTRAINT schema_migrations_pkey PRIMARY KEY (version)
);

CREATE TABLE service_keys (
    name text NOT NULL,
    key_hash text NOT NULL,
    scopes text NOT NULL,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'::text),
    revoked_at timestamp,
    CONSTRAINT service_keys_pkey PRIMARY KEY (name),
    CONSTRAINT service_keys_key_hash_key UNIQUE (key_hash)
);

CREATE TABLE subscriptions (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    plan varchar(20) NOT NULL,
    status varchar(20) NOT NULL,
    current_period_start timestamp,
    current_period_end timestamp,
    yookassa_subscription_id varchar(255),
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'::text),
    updated_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'::text),
    payment_method_id text,
    cancel_at_period_end boolean NOT NULL DEFAULT false,
    renewal_attempts integer NOT NULL DEFAULT 0,
    period_anchor timestamp,
    period_months integer NOT NULL DEFAULT 0,
    next_check_at timestamp,
    grace_until timestamp,
    paid_amount numeric(10,2) NOT NULL DEFAULT 0,
    CONSTRAINT subscriptions_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT subscriptions_status_check CHECK (status::text = ANY (ARRAY['active'::varchar, 'cancelled'::varchar, 'expired'::varchar]::text[])),
    CONSTRAINT subscriptions_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE RESTRICT
);
CREATE INDEX subscriptions_history_idx ON subscriptions USING btree (user_id, created_at DESC, id DESC);
CREATE INDEX subscriptions_next_check_idx ON subscriptions USING btree (next_check_at) WHERE (next_check_at IS NOT NULL);
CREATE UNIQUE INDEX subscriptions_one_active_idx ON subscriptions USING btree (user_id) WHERE ((status)::text = 'active'::text);

CREATE TABLE token_holds (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    amount integer NOT NULL,
    status text NOT NULL DEFAULT 'pending'::text,
    description text,
    expires_at timestamp NOT NULL,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'::text),
    settled_at timestamp,
    settle_id uuid,
    settle_hash bigint,
    request_hash bigint,
    answer_balance integer NOT NULL,
    answer_held integer NOT NULL,
    linked_from uuid,
    CONSTRAINT token_holds_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT token_holds_amount_check CHECK (amount > 0),
    CONSTRAINT token_holds_settled_check CHECK ((status = 'pending'::text) = (settled_at IS NULL)),
    CONSTRAINT token_holds_status_check CHECK (status = ANY (ARRAY['pending'::text, 'captured'::text, 'released'::text]))
);
CREATE INDEX token_holds_expiry_idx ON token_holds USING btree (expires_at) WHERE (status = 'pending'::text);
CREATE INDEX token_holds_list_idx ON token_holds USING btree (user_id, created_at DESC, id DESC);
CREATE INDEX token_holds_pending_idx ON token_holds USING btree (user_id, expires_at) WHERE (status = 'pending'::text);

CREATE TABLE token_packages (
    package text NOT NULL,
    tokens integer NOT NULL,
    price numeric(10,2) NOT NULL,
    currency text NOT NULL DEFAULT 'RUB'::text,
    CONSTRAINT token_packages_pkey PRIMARY KEY (package),
    CONSTRAINT token_packages_tokens_check CHECK (tokens > 0)
);

CREATE TABLE token_transactions (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    amount integer NOT NULL,
    type varchar(20) NOT NULL,
    description text,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'::text),
    balance_after integer NOT NULL,
    held_after integer NOT NULL DEFAULT 0,
    request_hash bigint,
    operation_id uuid,
    reverses uuid,
    CONSTRAINT token_transactions_pkey PRIMARY KEY (id, user_id),
    CONSTRAINT token_transactions_type_check CHECK (type::text = ANY (ARRAY['purchase'::varchar, 'bonus'::varchar, 'generation'::varchar, 'refund'::varchar]::text[]))
);
CREATE INDEX token_transactions_history_idx ON token_transactions USING btree (user_id, created_at DESC, id DESC);
CREATE TRIGGER trigger_token_transactions_append_only BEFORE DELETE OR UPDATE ON token_transactions FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER trigger_token_transactions_no_truncate BEFORE TRUNCATE ON token_transactions FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();

CREATE TABLE usage_logs (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    action varchar(20) NOT NULL,
    ip_address varchar(45),
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'::text),
    request_hash bigint,
    answer_used integer,
    answer_limit integer,
    answer_reset_at timestamp,
    CONSTRAINT usage_logs_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT usage_logs_action_check CHECK (action::text = ANY (ARRAY['generation'::varchar, 'download'::varchar]::text[]))
);
CREATE INDEX usage_logs_window_idx ON usage_logs USING btree (user_id, action, created_at);

CREATE TABLE user_identities (
    identity text NOT NULL,
    user_id uuid NOT NULL,
    CONSTRAINT user_identities_pkey PRIMARY KEY (identity)
);
CREATE INDEX user_identities_user_id_idx ON user_identities USING btree (user_id);

CREATE TABLE user_tokens (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    balance integer NOT NULL DEFAULT 0,
    last_bonus_date date,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'::text),
    updated_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'::text),
    held integer NOT NULL DEFAULT 0,
    closed_at timestamp,
    next_hold_expiry timestamp,
    CONSTRAINT user_tokens_pkey PRIMARY KEY (user_id),
    CONSTRAINT user_tokens_balance_check CHECK (balance >= 0),
    CONSTRAINT user_tokens_held_check CHECK (held >= 0 AND held <= balance),
    CONSTRAINT user_tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE RESTRICT
);

CREATE TABLE user_uploads (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    url text NOT NULL,
    file_path text,
    quality_score integer,
    mime_type varchar(100),
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'::text),
    CONSTRAINT user_uploads_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT user_uploads_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE RESTRICT
);

CREATE TABLE users (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    clerk_id varchar(255),
    device_id varchar(255),
    email varchar(255),
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'::text),
    updated_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'::text),
    erased_at timestamp,
    merged_into uuid,
    telegram_id varchar(255),
    first_name varchar(255),
    last_name varchar(255),
    username varchar(255),
    photo_url text,
    language_code varchar(10),
    vk_id varchar(255),
    yandex_id varchar(255),
    password_hash text,
    welcome boolean NOT NULL DEFAULT true,
    used_before timestamp,
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_clerk_id_key UNIQUE (clerk_id),
    CONSTRAINT users_device_id_key UNIQUE (device_id),
    CONSTRAINT users_identity_check CHECK (num_nonnulls(clerk_id, device_id, telegram_id, vk_id, yandex_id, erased_at, merged_into) > 0)
);
CREATE INDEX users_merged_into_idx ON users USING btree (merged_into) WHERE (merged_into IS NOT NULL);
CREATE UNIQUE INDEX users_telegram_id_key ON users USING btree (telegram_id);
CREATE TRIGGER trigger_initialize_new_user AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION initialize_new_user();
