-- Every table but the reference tables. First the seven of the original backend with the columns
-- they have there, then what this backend adds to them, then the tables of its own.
-- Every migration can be applied again, to an adopted database and to one that lost something: it
-- makes what is not there. New tables have the keys of the end state; the third and the fourth
-- migration give them to adopted ones.

CREATE TABLE IF NOT EXISTS users (
    id uuid CONSTRAINT users_pkey PRIMARY KEY DEFAULT gen_random_uuid(),
    clerk_id varchar(255) CONSTRAINT users_clerk_id_key UNIQUE,
    device_id varchar(255) CONSTRAINT users_device_id_key UNIQUE,
    email varchar(255),
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    updated_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc')
);

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
    CONSTRAINT subscriptions_pkey PRIMARY KEY (user_id, id)
);

CREATE TABLE IF NOT EXISTS generations (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    image_url text,
    prompt_used text,
    trend varchar(50),
    quality varchar(10),
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    CONSTRAINT generations_pkey PRIMARY KEY (user_id, id)
);

CREATE TABLE IF NOT EXISTS usage_logs (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    action varchar(20) NOT NULL,
    ip_address varchar(45),
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    CONSTRAINT usage_logs_pkey PRIMARY KEY (user_id, id)
);

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
    CONSTRAINT payments_pkey PRIMARY KEY (user_id, id)
);

CREATE TABLE IF NOT EXISTS user_tokens (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    balance int NOT NULL DEFAULT 0,
    last_bonus_date date,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    updated_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    CONSTRAINT user_tokens_pkey PRIMARY KEY (user_id)
);

CREATE TABLE IF NOT EXISTS token_transactions (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    amount int NOT NULL,
    type varchar(20) NOT NULL,
    description text,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    CONSTRAINT token_transactions_pkey PRIMARY KEY (id, user_id)
);

-- The user that an identity leads to: "device:<device id>", "clerk:<Clerk user id>" or, of adopted
-- accounts, "telegram:<id>", "vk:<id>", "yandex:<id>". Unique across users, hence a table of its
-- own, keyed by the identity.
CREATE TABLE IF NOT EXISTS user_identities (
    identity text CONSTRAINT user_identities_pkey PRIMARY KEY,
    user_id uuid NOT NULL
);
CREATE INDEX IF NOT EXISTS user_identities_user_id_idx ON user_identities (user_id);

-- A hold sets tokens aside: it lowers what can be spent at once, and the balance when captured.
-- settled_at: when it was captured or released, the moment it expired if nobody did either.
-- settle_id, settle_hash: of the request that captured it. linked_from: the device's account it was
-- made in, when that was linked to this one since. No foreign key, as in the ledger: it would
-- lock the account after its balance, and a link or an erasure locks them the other way round.
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

-- Photos of a person, and pictures, that the original backend stored elsewhere; url leads there.
-- It has the table in newer installations only.
CREATE TABLE IF NOT EXISTS user_uploads (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    url text NOT NULL,
    file_path text,
    quality_score int, -- NULL: of no photo, as a rule
    mime_type varchar(100),
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    CONSTRAINT user_uploads_pkey PRIMARY KEY (user_id, id)
);

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

-- Keys of other back-end services (scripts/service-key). Only a digest of the key is kept.
CREATE TABLE IF NOT EXISTS service_keys (
    name text CONSTRAINT service_keys_pkey PRIMARY KEY,
    key_hash text NOT NULL CONSTRAINT service_keys_key_hash_key UNIQUE,
    scopes text NOT NULL,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    revoked_at timestamp
);

-- From here on nobody writes: balances and entries are compared, and no request sees a table half
-- changed. In the order in which requests lock.
LOCK TABLE user_identities, users, user_tokens, token_holds, token_transactions, subscriptions,
    payments, payment_references, payment_refunds, usage_logs, generations, user_uploads
    IN ACCESS EXCLUSIVE MODE;

-- An account keeps its row when the person is erased: no identity, and the time it happened.
-- merged_into: the account a device's account was linked to. telegram_id and the five after it are
-- what Telegram says of a person. vk_id, yandex_id and password_hash: of adopted accounts only,
-- which nobody signs in with here.
ALTER TABLE users
    ADD COLUMN IF NOT EXISTS erased_at timestamp,
    ADD COLUMN IF NOT EXISTS merged_into uuid,
    ADD COLUMN IF NOT EXISTS telegram_id varchar(255),
    ADD COLUMN IF NOT EXISTS first_name varchar(255),
    ADD COLUMN IF NOT EXISTS last_name varchar(255),
    ADD COLUMN IF NOT EXISTS username varchar(255),
    ADD COLUMN IF NOT EXISTS photo_url text,
    ADD COLUMN IF NOT EXISTS language_code varchar(10),
    ADD COLUMN IF NOT EXISTS vk_id varchar(255),
    ADD COLUMN IF NOT EXISTS yandex_id varchar(255),
    ADD COLUMN IF NOT EXISTS password_hash text;

-- Older installations do not have these.
ALTER TABLE generations
    ADD COLUMN IF NOT EXISTS status varchar(20) NOT NULL DEFAULT 'completed',
    ADD COLUMN IF NOT EXISTS error_message text,
    ADD COLUMN IF NOT EXISTS updated_at timestamp;

-- balance is the sum of the entries; held is the part of it that pending holds set aside.
-- closed_at: since when a balance belongs to nobody any more (linked away, or its person erased);
-- every movement refuses it as if it did not exist, so that a request which was under way looks its
-- identity up again. next_hold_expiry: of the first pending hold to expire; NULL without one.
ALTER TABLE user_tokens
    ADD COLUMN IF NOT EXISTS held int NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS closed_at timestamp,
    ADD COLUMN IF NOT EXISTS next_hold_expiry timestamp;

-- held_after: what holds set aside at that moment; balance_after less held_after is the balance the
-- caller was told, which a repetition is told again. request_hash: of the request that came with an
-- Idempotency-Key. operation_id: of the request, where the entry's own id is another one.
-- reverses: the entry this one takes back.
ALTER TABLE token_transactions
    ADD COLUMN IF NOT EXISTS balance_after int,
    ADD COLUMN IF NOT EXISTS held_after int NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS request_hash bigint,
    ADD COLUMN IF NOT EXISTS operation_id uuid,
    ADD COLUMN IF NOT EXISTS reverses uuid;

-- The answer that a repeated usage_record gives again.
ALTER TABLE usage_logs
    ADD COLUMN IF NOT EXISTS request_hash bigint,
    ADD COLUMN IF NOT EXISTS answer_used int,
    ADD COLUMN IF NOT EXISTS answer_limit int,
    ADD COLUMN IF NOT EXISTS answer_reset_at timestamp;

-- A payment's row is there before the provider is asked. purpose: tokens, subscription (the first
-- payment of one) or renewal. request_body: what the provider is asked, to be repeated word for
-- word; removed as soon as it is not needed, for it may hold an e-mail address. request_hash: of
-- the request that came with an Idempotency-Key. repeated: the provider was asked more than once,
-- so that a refusal says nothing of the attempts before. next_check_at: who asks the provider sets
-- it ahead, which keeps others away, and it is when to look next; NULL when there is nothing to
-- look for. succeeded_at: when this backend learnt that it was paid; NULL for a payment that the
-- original backend credited. renews: whether the person wants what it pays for to be renewed.
-- credit_days: what the rest of another plan is worth in days of this one; promised when it is
-- opened, given when it is paid. An adopted status may be any word, hence no check.
ALTER TABLE payments
    ADD COLUMN IF NOT EXISTS purpose text NOT NULL DEFAULT 'tokens'
        CONSTRAINT payments_purpose_check
        CHECK (purpose IN ('tokens', 'subscription', 'renewal')),
    ADD COLUMN IF NOT EXISTS plan text,
    ADD COLUMN IF NOT EXISTS subscription_id uuid,
    ADD COLUMN IF NOT EXISTS refunded_amount numeric(10, 2) NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS confirmation_url text,
    ADD COLUMN IF NOT EXISTS cancellation_reason text,
    ADD COLUMN IF NOT EXISTS request_body text,
    ADD COLUMN IF NOT EXISTS request_hash bigint,
    ADD COLUMN IF NOT EXISTS repeated boolean NOT NULL DEFAULT false,
    ADD COLUMN IF NOT EXISTS next_check_at timestamp,
    ADD COLUMN IF NOT EXISTS succeeded_at timestamp,
    ADD COLUMN IF NOT EXISTS renews boolean NOT NULL DEFAULT true,
    ADD COLUMN IF NOT EXISTS credit_days int NOT NULL DEFAULT 0;

-- period_anchor and period_months: the period ends that many months after the anchor, so that a
-- subscription of the 31st is one of the 31st again after February. payment_method_id: what the
-- provider saved, while the subscription is active; NULL: there is no renewal. renewal_attempts:
-- failed ones of this period. next_check_at: when a renewal is due, or its next attempt; ahead
-- while somebody is at it. grace_until: of a subscription whose renewal was declined, the end of
-- the attempts; kept when it ends meanwhile. paid_amount: for the current period, with what an
-- earlier plan was still worth.
ALTER TABLE subscriptions
    ADD COLUMN IF NOT EXISTS payment_method_id text,
    ADD COLUMN IF NOT EXISTS cancel_at_period_end boolean NOT NULL DEFAULT false,
    ADD COLUMN IF NOT EXISTS renewal_attempts int NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS period_anchor timestamp,
    ADD COLUMN IF NOT EXISTS period_months int NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS next_check_at timestamp,
    ADD COLUMN IF NOT EXISTS grace_until timestamp,
    ADD COLUMN IF NOT EXISTS paid_amount numeric(10, 2) NOT NULL DEFAULT 0;
