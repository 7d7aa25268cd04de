-- What is counted by person and by address: welcome bonuses and limits once a person, erased or
-- not, and not more bonuses from one address than people live there.

-- welcome: whether the account opened with the welcome bonus. used_before: when the person used a
-- limit of a minute or of a day last, before the erasure of an earlier account; NULL: no need to
-- know.
ALTER TABLE users ADD COLUMN IF NOT EXISTS welcome boolean NOT NULL DEFAULT true;
ALTER TABLE users ADD COLUMN IF NOT EXISTS used_before timestamp;

-- Identities whose person was erased, as a keyed digest (HMAC-SHA256 with IDENTITY_DIGEST_KEY, in
-- hexadecimal), which says nothing without the key. last_bonus_date, last_used_at: of the daily
-- bonus and of the limits; emptied after a day, when they limit nothing any more.
CREATE TABLE IF NOT EXISTS erased_identities (
    digest text CONSTRAINT erased_identities_pkey PRIMARY KEY,
    erased_at timestamp NOT NULL,
    last_bonus_date date,
    last_used_at timestamp
);
CREATE INDEX IF NOT EXISTS erased_identities_erased_at_idx ON erased_identities (erased_at);
CREATE INDEX IF NOT EXISTS erased_identities_recent_idx ON erased_identities (erased_at)
    WHERE last_bonus_date IS NOT NULL OR last_used_at IS NOT NULL;

-- What anonymous devices got from one address in the last hour: a row each, so that nobody waits
-- for a counter. network: the IPv4 address, or the /64 of an IPv6 address. Of no account, removed
-- after an hour.
CREATE TABLE IF NOT EXISTS address_uses (
    network inet NOT NULL,
    action text NOT NULL,
    used_at timestamp NOT NULL,
    CONSTRAINT address_uses_pkey PRIMARY KEY (network, action, used_at),
    CONSTRAINT address_uses_action_check CHECK (action IN ('welcome', 'generation'))
);
CREATE INDEX IF NOT EXISTS address_uses_used_at_idx ON address_uses (used_at);

-- Generations by address are counted there.
DROP INDEX IF EXISTS usage_logs_address_idx;

INSERT INTO app_settings (name, value, description) VALUES
    ('generations_per_minute_address', 60,
     'generations all devices of one address may start or record in 60 seconds'),
    ('anonymous_bonuses_per_hour', 100,
     'welcome bonuses new devices of one address get in an hour'),
    ('erased_identity_days', 365, 'days a digest of an erased identity is kept')
ON CONFLICT (name) DO NOTHING;
