"""Databases as the original backend left them, to be adopted.

Written from the description of its data, with what such a backend plausibly had: an id as primary
key, cascading foreign keys, checks, and a trigger that opens an account in two steps.
"""

TABLES = """
CREATE TABLE users (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    clerk_id {text} UNIQUE,
    device_id {text} UNIQUE,
    email {text},
    created_at TIMESTAMP DEFAULT NOW(),
    updated_at TIMESTAMP DEFAULT NOW(),
    CONSTRAINT user_identity CHECK ({identity_check})
);
CREATE TABLE subscriptions (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id UUID {owner} REFERENCES users(id) ON DELETE CASCADE,
    plan VARCHAR(20) NOT NULL CHECK (plan IN ('free', 'pro', 'premium')),
    status VARCHAR(20) NOT NULL CHECK (status IN ('active', 'cancelled', 'expired')),
    current_period_start TIMESTAMP,
    current_period_end TIMESTAMP,
    yookassa_subscription_id VARCHAR(255),
    created_at TIMESTAMP DEFAULT NOW(),
    updated_at TIMESTAMP DEFAULT NOW()
);
CREATE UNIQUE INDEX idx_subscriptions_active ON subscriptions(user_id) WHERE status = 'active';
CREATE TABLE generations (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id UUID {owner} REFERENCES users(id) ON DELETE CASCADE,
    image_url TEXT NOT NULL,
    prompt_used TEXT NOT NULL,
    trend VARCHAR(50),
    quality VARCHAR(10),
    created_at TIMESTAMP DEFAULT NOW(){newer_columns}
);
CREATE INDEX idx_generations_user_id ON generations(user_id);
CREATE TABLE usage_logs (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id UUID {owner} REFERENCES users(id) ON DELETE CASCADE,
    action VARCHAR(20) NOT NULL CHECK (action IN ('generation', 'download')),
    ip_address VARCHAR(45),
    created_at TIMESTAMP DEFAULT NOW()
);
CREATE TABLE payments (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id UUID {owner} REFERENCES users(id) ON DELETE CASCADE,
    yookassa_payment_id VARCHAR(255) UNIQUE,
    amount NUMERIC(10, 2) NOT NULL,
    currency VARCHAR(3) DEFAULT 'RUB',
    status VARCHAR(50) NOT NULL,
    token_package VARCHAR(50),
    tokens_amount INTEGER,
    created_at TIMESTAMP DEFAULT NOW()
);
CREATE TABLE user_tokens (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id UUID UNIQUE {owner} REFERENCES users(id) ON DELETE CASCADE,
    balance INTEGER DEFAULT 0,
    last_bonus_date DATE,
    created_at TIMESTAMP DEFAULT NOW(),
    updated_at TIMESTAMP DEFAULT NOW()
);
CREATE TABLE token_transactions (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id UUID {owner} REFERENCES users(id) ON DELETE CASCADE,
    amount INTEGER NOT NULL,
    type {type} NOT NULL CHECK (type IN ('purchase', 'bonus', 'generation', 'refund')),
    description TEXT,
    created_at TIMESTAMP DEFAULT NOW()
);
CREATE INDEX idx_token_transactions_user_id ON token_transactions(user_id);

CREATE FUNCTION initialize_new_user() RETURNS TRIGGER AS $$
DECLARE
    welcome INTEGER := CASE WHEN NEW.clerk_id IS NOT NULL THEN 10 ELSE 5 END;
BEGIN
    INSERT INTO user_tokens (user_id, balance) VALUES (NEW.id, 0)
    ON CONFLICT (user_id) DO NOTHING;
    UPDATE user_tokens SET balance = balance + welcome WHERE user_id = NEW.id;
    INSERT INTO token_transactions (user_id, amount, type, description)
    VALUES (NEW.id, welcome, 'bonus', 'Welcome bonus');
    RETURN NEW;
END;
$$ LANGUAGE plpgsql;
CREATE TRIGGER trigger_initialize_new_user AFTER INSERT ON users
    FOR EACH ROW EXECUTE FUNCTION initialize_new_user();
"""

NEWER_COLUMNS = """,
    status VARCHAR(20) DEFAULT 'pending',
    error_message TEXT,
    updated_at TIMESTAMP DEFAULT NOW()"""

# A tidy database of a few people; device ids are as clients send them.
PEOPLE = """
INSERT INTO users (clerk_id, device_id, email, created_at, updated_at)
SELECT CASE WHEN n % 3 = 0 THEN 'user_clerk' || n END,
       CASE WHEN n % 3 <> 0 THEN 'device_of_the_original_' || n END,
       CASE WHEN n % 3 = 0 THEN 'person' || n || '@example.org' END,
       timestamp '2025-01-01' + n * interval '1 hour', timestamp '2025-02-01'
FROM generate_series(1, {count}) n;
UPDATE token_transactions SET created_at = '2025-01-02';
INSERT INTO token_transactions (user_id, amount, type, description, created_at)
SELECT u.id, e.amount, e.type, e.type || ' of the original', timestamp '2025-03-01' + e.wait
FROM users u CROSS JOIN (VALUES
    (50, 'purchase', interval '1 day'), (-2, 'generation', interval '2 days'),
    (-1, 'generation', interval '2 days'), (1, 'refund', interval '3 days')) e (amount, type, wait);
UPDATE user_tokens t SET last_bonus_date = '2025-03-02',
    balance = (SELECT sum(amount) FROM token_transactions e WHERE e.user_id = t.user_id);
INSERT INTO generations (user_id, image_url, prompt_used, trend, quality, created_at)
SELECT id, 'https://example.org/' || n, 'prompt ' || n, 'anime', '1K',
       timestamp '2025-03-01' + n * interval '1 minute'
FROM users, generate_series(1, 3) n;
INSERT INTO usage_logs (user_id, action, ip_address, created_at)
SELECT id, 'generation', '203.0.113.7', '2025-03-01' FROM users;
INSERT INTO payments (user_id, yookassa_payment_id, amount, status, token_package, tokens_amount)
SELECT id, 'pay-' || id, 399, 'succeeded', 'medium', 50 FROM users;
INSERT INTO subscriptions (user_id, plan, status, current_period_end)
SELECT id, 'pro', 'active', '2099-01-01' FROM users WHERE clerk_id IS NOT NULL;
"""

# What years of an unguarded backend leave behind, and what its operator added.
DIRT = """
-- Balances that their entries do not explain, and an overspend.
UPDATE user_tokens SET balance = balance + 7 WHERE user_id = {user[1]};
UPDATE user_tokens SET balance = balance - 3 WHERE user_id = {user[2]};
UPDATE user_tokens SET balance = -4 WHERE user_id = {user[4]};
UPDATE user_tokens SET balance = NULL WHERE user_id = {user[5]};
-- No balance row, with entries and without.
DELETE FROM user_tokens WHERE user_id IN ({user[7]}, {user[8]});
DELETE FROM token_transactions WHERE user_id = {user[8]};
-- Both identities.
UPDATE users SET device_id = 'device_beside_a_clerk_id_0003' WHERE id = {user[3]};
-- One time for all entries; a time nobody knows; an entry of the future.
UPDATE token_transactions SET created_at = '2025-05-05' WHERE user_id = {user[10]};
UPDATE token_transactions SET created_at = NULL WHERE user_id = {user[11]} AND amount = 50;
UPDATE token_transactions SET created_at = '2099-05-05' WHERE user_id = {user[1]} AND amount = 50;
UPDATE users SET created_at = NULL, updated_at = NULL WHERE id = {user[11]};
UPDATE generations SET created_at = NULL WHERE user_id = {user[11]};
-- Rows without an owner.
INSERT INTO generations (user_id, image_url, prompt_used) VALUES (NULL, 'lost', 'lost');
INSERT INTO usage_logs (user_id, action) VALUES (NULL, 'download');
INSERT INTO payments (user_id, amount, currency, status) VALUES (NULL, 99, NULL, 'pending');
INSERT INTO user_tokens (user_id, balance) VALUES (NULL, 3), (NULL, 4), (NULL, 0);
INSERT INTO token_transactions (user_id, amount, type)
VALUES (NULL, 10, 'purchase'), (NULL, -3, 'generation');
-- An owner that is gone, which the foreign keys of a restored dump did not see.
ALTER TABLE payments DROP CONSTRAINT payments_user_id_fkey;
INSERT INTO payments (user_id, amount, status)
VALUES ('aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa', 699, 'succeeded');
-- A plan and an action nobody sells or counts any more.
ALTER TABLE subscriptions DROP CONSTRAINT subscriptions_plan_check;
UPDATE subscriptions SET plan = 'beta' WHERE user_id = {user[6]};
-- Two active subscriptions.
DROP INDEX idx_subscriptions_active;
INSERT INTO subscriptions (user_id, plan, status, created_at)
VALUES ({user[9]}, 'premium', 'active', '2024-01-01');
-- The operator's.
ALTER TABLE users ADD COLUMN notes text DEFAULT 'none', ADD COLUMN "weird Name" int;
CREATE INDEX operators_index ON generations (trend);
CREATE VIEW operators_view AS
    SELECT u.id, u.email, count(g.id) AS images
    FROM users u LEFT JOIN generations g ON g.user_id = u.id GROUP BY u.id;
CREATE VIEW operators_key_view AS SELECT id, amount, status FROM payments GROUP BY id;
CREATE TABLE operators_tickets (
    id serial PRIMARY KEY,
    user_id uuid REFERENCES users ON DELETE CASCADE,
    generation_id uuid REFERENCES generations ON DELETE SET NULL,
    account uuid REFERENCES user_tokens (user_id)
);
INSERT INTO operators_tickets (user_id, generation_id, account)
SELECT g.user_id, g.id, g.user_id FROM generations g WHERE g.user_id = {user[1]};
"""

# The columns and the table that newer installations have, for people who come from Telegram, VK or
# Yandex, with one person of each, one with a password and one of every identity.
SOCIAL = """
ALTER TABLE users DROP CONSTRAINT user_identity,
    ADD COLUMN telegram_id VARCHAR(255), ADD COLUMN first_name VARCHAR(255),
    ADD COLUMN last_name VARCHAR(255), ADD COLUMN username VARCHAR(255),
    ADD COLUMN photo_url TEXT, ADD COLUMN language_code VARCHAR(10), ADD COLUMN vk_id VARCHAR(255),
    ADD COLUMN yandex_id VARCHAR(255), ADD COLUMN password_hash TEXT,
    ADD CONSTRAINT user_identity CHECK (clerk_id IS NOT NULL OR device_id IS NOT NULL
        OR telegram_id IS NOT NULL OR vk_id IS NOT NULL OR yandex_id IS NOT NULL
        OR email IS NOT NULL);
CREATE TABLE user_uploads (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id UUID NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    url TEXT NOT NULL,
    file_path TEXT NOT NULL,
    quality_score INTEGER,
    mime_type VARCHAR(100),
    created_at TIMESTAMPTZ DEFAULT NOW()
);
CREATE INDEX idx_user_uploads_user_id ON user_uploads(user_id);
INSERT INTO users (telegram_id, vk_id, yandex_id, email, password_hash, created_at) VALUES
    ('42', NULL, NULL, NULL, NULL, '2025-01-01'), (NULL, '43', NULL, NULL, NULL, '2025-01-02'),
    (NULL, NULL, '44', NULL, NULL, '2025-01-03'),
    (NULL, NULL, NULL, 'only@example.org', 'hash', '2025-01-04');
INSERT INTO users (device_id, telegram_id, vk_id, yandex_id, email, first_name, last_name, username,
                   photo_url, language_code, password_hash)
VALUES ('device_of_every_identity_1', '45', '46', '47', 'mark-mail@example.org', 'mark-first',
        'mark-last', 'mark-user', 'https://example.org/mark-photo', 'mark-lang', 'mark-hash');
INSERT INTO user_uploads (user_id, url, file_path, quality_score, mime_type, created_at)
SELECT id, 'https://example.org/mark-upload', 'uploads/mark-path', 80, 'image/jpeg',
       '2025-04-01 12:00:00+03'
FROM users WHERE telegram_id = '45';
"""

# Another taste of the same tables.
VARIANTS = {
    "older": {},
    "newer": {"newer_columns": NEWER_COLUMNS},
    "text_columns": {"text": "TEXT", "type": "TEXT", "owner": "NOT NULL",
                     "identity_check": "num_nonnulls(device_id, clerk_id) = 1"},
}
DEFAULTS = {
    "text": "VARCHAR(255)", "type": "VARCHAR(20)", "owner": "", "newer_columns": "",
    "identity_check": "clerk_id IS NOT NULL OR device_id IS NOT NULL",
}


def create(cursor, variant="older", people=12):
    """Makes the tables of a variant, with that many people in them."""
    cursor.execute(TABLES.format(**{**DEFAULTS, **VARIANTS[variant]}))
    cursor.execute(PEOPLE.format(count=people))


def social(cursor):
    """Adds what newer installations have, and its people."""
    cursor.execute(SOCIAL)


def dirty(cursor):
    """Makes a mess of a database of 12 people."""
    cursor.execute("SELECT id FROM users ORDER BY created_at")
    ids = [""] + [f"'{row[0]}'::uuid" for row in cursor.fetchall()]
    cursor.execute(DIRT.format(user=ids))


def large(cursor, people, entries):
    """A ledger of that many entries on top of the tables of the older variant."""
    create(cursor, people=people)
    cursor.execute(
        """INSERT INTO token_transactions (user_id, amount, type, created_at)
           SELECT u.id, CASE WHEN n %% 2 = 0 THEN -1 ELSE 1 END, 'bonus',
                  timestamp '2025-06-01' + n * interval '1 second'
           FROM (SELECT id, row_number() OVER () AS r FROM users) u
           JOIN generate_series(1, %s) n ON n %% %s = r - 1""", (entries, people))
    cursor.execute("""UPDATE user_tokens t SET balance = e.total FROM
                      (SELECT user_id, sum(amount) AS total FROM token_transactions GROUP BY 1) e
                      WHERE e.user_id = t.user_id AND e.total >= 0""")
