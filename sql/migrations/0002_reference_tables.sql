-- Small tables an operator edits with psql: what a plan allows, what a package costs, and the
-- numbers of the token economy. Defaults are inserted once; a changed row is never overwritten.

CREATE TABLE IF NOT EXISTS plans (
    plan text CONSTRAINT plans_pkey PRIMARY KEY,
    daily_generations int,  -- free generations a day; NULL: unlimited
    history_max int,        -- generations shown in the history; NULL: unlimited
    quality text NOT NULL,  -- the best quality a free generation may have
    price numeric(10, 2) NOT NULL, -- a month
    currency text NOT NULL DEFAULT 'RUB',
    CONSTRAINT plans_quality_check CHECK (quality IN ('1K', '2K', '4K'))
);

INSERT INTO plans (plan, daily_generations, history_max, quality, price) VALUES
    ('free', 0, 10, '1K', 0),
    ('pro', 50, 100, '2K', 999),
    ('premium', NULL, NULL, '4K', 2999)
ON CONFLICT (plan) DO NOTHING;

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
