-- Linking accounts, holds, keys of other services, and what makes every request repeatable.

-- merged_into: the account a device's account was linked to. closed_at: since when a balance
-- belongs to nobody any more (linked away, or its person erased); every movement refuses it as if
-- it did not exist, so that a request which was under way looks its identity up again.
ALTER TABLE users ADD COLUMN IF NOT EXISTS merged_into uuid;
ALTER TABLE user_tokens ADD COLUMN IF NOT EXISTS closed_at timestamp;
CREATE INDEX IF NOT EXISTS users_merged_into_idx ON users (merged_into)
    WHERE merged_into IS NOT NULL;
CREATE INDEX IF NOT EXISTS usage_logs_address_idx ON usage_logs (ip_address, created_at)
    WHERE action = 'generation';

-- The order of a user's entries is the order of the balances after them: each entry's time is the
-- balance row's updated_at, which every movement raises under the row's lock.
UPDATE user_tokens t SET updated_at = e.newest
FROM (SELECT user_id, max(created_at) AS newest FROM token_transactions GROUP BY user_id) e
WHERE e.user_id = t.user_id AND t.updated_at < e.newest;

-- held_after: what holds set aside at that moment; balance_after less held_after is the balance the
-- caller was told, which a repetition is told again. request_hash: of the request that came with an
-- Idempotency-Key. operation_id: of the request, where the entry's own id is another one.
-- reverses: the entry this one takes back.
ALTER TABLE token_transactions
    ADD COLUMN IF NOT EXISTS held_after int NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS request_hash bigint,
    ADD COLUMN IF NOT EXISTS operation_id uuid,
    ADD COLUMN IF NOT EXISTS reverses uuid;

-- The answer that a repeated record_usage gives again.
ALTER TABLE usage_logs
    ADD COLUMN IF NOT EXISTS request_hash bigint,
    ADD COLUMN IF NOT EXISTS answer_used int,
    ADD COLUMN IF NOT EXISTS answer_limit int,
    ADD COLUMN IF NOT EXISTS answer_reset_at timestamp;

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

-- When the next pending hold of the account expires; NULL without one.
ALTER TABLE user_tokens ADD COLUMN IF NOT EXISTS next_hold_expiry timestamp;

-- What a table that was dropped and made again does not know any more, the others do: whose balance
-- is closed, what is held, and where the identity of a linked device leads. Holds that no balance
-- covers any more are released.
UPDATE user_tokens t SET closed_at = coalesce(u.erased_at, u.updated_at)
FROM users u
WHERE u.id = t.user_id AND t.closed_at IS NULL
  AND (u.erased_at IS NOT NULL OR u.merged_into IS NOT NULL);
UPDATE token_holds h SET status = 'released', settled_at = now() AT TIME ZONE 'utc'
FROM (SELECT p.user_id, sum(p.amount) AS amount FROM token_holds p
      WHERE p.status = 'pending' GROUP BY p.user_id) s
LEFT JOIN user_tokens t ON t.user_id = s.user_id
WHERE h.user_id = s.user_id AND h.status = 'pending' AND s.amount > coalesce(t.balance, 0);
UPDATE user_tokens t SET held = s.amount, next_hold_expiry = s.due
FROM (SELECT b.user_id, coalesce(sum(p.amount), 0)::int AS amount, min(p.expires_at) AS due
      FROM user_tokens b
      LEFT JOIN token_holds p ON p.user_id = b.user_id AND p.status = 'pending'
      GROUP BY b.user_id) s
WHERE s.user_id = t.user_id
  AND (t.held <> s.amount OR t.next_hold_expiry IS DISTINCT FROM s.due);
UPDATE user_identities i SET user_id = u.merged_into
FROM users u
WHERE u.id = i.user_id AND u.merged_into IS NOT NULL;

-- Keys of other back-end services (scripts/service-key). Only a digest of the key is kept.
CREATE TABLE IF NOT EXISTS service_keys (
    name text CONSTRAINT service_keys_pkey PRIMARY KEY,
    key_hash text NOT NULL CONSTRAINT service_keys_key_hash_key UNIQUE,
    scopes text NOT NULL,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    revoked_at timestamp
);
