-- The seven tables of the original backend, as an existing database has them. On such a database
-- nothing here does anything but add the columns that only newer installations have.
-- Every migration can be applied again: a table that went missing is made anew by the same path.

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
    updated_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc')
);

CREATE TABLE IF NOT EXISTS generations (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    image_url text,
    prompt_used text,
    trend varchar(50),
    quality varchar(10),
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc')
);

CREATE TABLE IF NOT EXISTS usage_logs (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    action varchar(20) NOT NULL,
    ip_address varchar(45),
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc')
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
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc')
);

CREATE TABLE IF NOT EXISTS user_tokens (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    balance int NOT NULL DEFAULT 0,
    last_bonus_date date,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    updated_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc')
);

CREATE TABLE IF NOT EXISTS token_transactions (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    amount int NOT NULL,
    type varchar(20) NOT NULL,
    description text,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc')
);

ALTER TABLE generations
    ADD COLUMN IF NOT EXISTS status varchar(20) NOT NULL DEFAULT 'completed',
    ADD COLUMN IF NOT EXISTS error_message text,
    ADD COLUMN IF NOT EXISTS updated_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc');
