-- Rows of an existing database are made what the schema says of them, whatever state they are in:
-- an adopted one, or one that lost something. They stay; what is corrected is said above the
-- statement that does it. On a new database nothing here changes anything.
-- A notice with SQLSTATE DL000 says what is done, and its detail how much of the time a large
-- database takes has passed, in percent; the bootstrap logs it, and scripts/adopt shows it.

-- The fourth migration makes them again. Rows inserted here are nobody's first visit, and filling a
-- column of the ledger is no change of an entry.
DROP TRIGGER IF EXISTS trigger_initialize_new_user ON users;
DROP TRIGGER IF EXISTS trigger_token_transactions_append_only ON token_transactions;
DROP TRIGGER IF EXISTS trigger_token_transactions_no_truncate ON token_transactions;

-- The one table of the original whose times have a zone; they keep it where a view reads them.
DO $$
BEGIN
    IF (SELECT atttypid FROM pg_attribute WHERE attrelid = 'user_uploads'::regclass
          AND attname = 'created_at') = 'timestamptz'::regtype THEN
        ALTER TABLE user_uploads
            ALTER COLUMN created_at DROP DEFAULT,
            ALTER COLUMN created_at TYPE timestamp USING created_at AT TIME ZONE 'utc';
    END IF;
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END
$$;

-- Values. A column that a new database declares NOT NULL becomes so, and its NULLs get the value
-- that means the least: a time nobody knows is the oldest one. Times are written in UTC by the
-- default as well, whatever the time zone of the session is. What the API leaves out may be NULL.
DO $$
DECLARE
    utc CONSTANT text := '(now() AT TIME ZONE ''utc'')';
    wanted record;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('users', 'created_at', $v$timestamp 'epoch'$v$),
            ('users', 'updated_at', 'created_at'),
            ('subscriptions', 'plan', $v$'free'$v$),
            ('subscriptions', 'status', $v$'expired'$v$),
            ('subscriptions', 'created_at', $v$timestamp 'epoch'$v$),
            ('subscriptions', 'updated_at', 'created_at'),
            ('generations', 'status', $v$'completed'$v$),
            ('generations', 'created_at', $v$timestamp 'epoch'$v$),
            ('generations', 'updated_at', 'created_at'),
            ('user_uploads', 'url', $v$''$v$),
            ('user_uploads', 'created_at', $v$timestamp 'epoch'$v$),
            ('usage_logs', 'action', $v$'generation'$v$),
            ('usage_logs', 'created_at', $v$timestamp 'epoch'$v$),
            ('payments', 'amount', '0'),
            ('payments', 'currency', $v$'RUB'$v$),
            ('payments', 'status', $v$'pending'$v$),
            ('payments', 'created_at', $v$timestamp 'epoch'$v$),
            ('user_tokens', 'balance', '0'),
            ('user_tokens', 'created_at', $v$timestamp 'epoch'$v$),
            ('user_tokens', 'updated_at', 'created_at'),
            ('token_transactions', 'amount', '0'),
            ('token_transactions', 'type',
             $v$CASE WHEN amount < 0 THEN 'generation' ELSE 'bonus' END$v$),
            ('token_transactions', 'created_at', $v$timestamp 'epoch'$v$)
        ) AS w (relation, name, least)
    LOOP
        IF wanted.name IN ('created_at', 'updated_at') THEN
            EXECUTE format('ALTER TABLE %I ALTER COLUMN %I SET DEFAULT %s', wanted.relation,
                           wanted.name, utc);
        END IF;
        CONTINUE WHEN (SELECT attnotnull FROM pg_attribute
                       WHERE attrelid = wanted.relation::regclass AND attname = wanted.name);
        EXECUTE format('UPDATE %I SET %I = %s WHERE %I IS NULL', wanted.relation, wanted.name,
                       wanted.least, wanted.name);
        EXECUTE format('ALTER TABLE %I ALTER COLUMN %I SET NOT NULL', wanted.relation,
                       wanted.name);
    END LOOP;
    RAISE NOTICE 'columns have their values' USING ERRCODE = 'DL000', DETAIL = '24';
END
$$;
ALTER TABLE generations
    ALTER COLUMN status SET DEFAULT 'completed',
    ALTER COLUMN image_url DROP NOT NULL,
    ALTER COLUMN prompt_used DROP NOT NULL,
    ALTER COLUMN trend DROP NOT NULL,
    ALTER COLUMN quality DROP NOT NULL;
ALTER TABLE usage_logs ALTER COLUMN ip_address DROP NOT NULL;
ALTER TABLE user_uploads ALTER COLUMN file_path DROP NOT NULL;
ALTER TABLE user_tokens ALTER COLUMN balance SET DEFAULT 0;

-- An account has an identity (the fourth migration says which), unless the person is erased.
DO $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT conname FROM pg_constraint
        WHERE contype = 'c' AND conrelid = 'users'::regclass
          AND pg_get_constraintdef(oid) LIKE '%clerk_id%'
          AND pg_get_constraintdef(oid) LIKE '%device_id%'
    LOOP
        EXECUTE format('ALTER TABLE users DROP CONSTRAINT %I', found.conname);
    END LOOP;
END
$$;

-- Old keys. Foreign keys that cascade would erase the books with the person; the fourth migration
-- makes those that stay, without the cascade. Primary keys that are not those of a new database go
-- as well, unless something of the operator's hangs on them (a view, a foreign key).
-- Rows without an owner cannot be keyed by one: they go to an account of nobody's, the nil uuid;
-- a balance, of which a user has one, to an account of its own.
DO $$
DECLARE
    nobody CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    found record;
    wanted record;
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
        FOR found IN
            SELECT c.conname
            FROM pg_constraint c
            CROSS JOIN LATERAL (
                SELECT array_agg(a.attname::text ORDER BY k.position) AS columns
                FROM unnest(c.conkey) WITH ORDINALITY AS k (attnum, position)
                JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.attnum
            ) k
            WHERE c.conrelid = wanted.relation::regclass
              AND (c.contype = 'f' AND c.confrelid = 'users'::regclass AND c.confdeltype <> 'r'
                   OR c.contype = 'p' AND k.columns <> wanted.columns
                   -- Which the primary key of the balance replaces.
                   OR c.contype = 'u' AND wanted.relation = 'user_tokens'
                      AND k.columns = wanted.columns)
        LOOP
            BEGIN
                EXECUTE format('ALTER TABLE %I DROP CONSTRAINT %I', wanted.relation,
                               found.conname);
            EXCEPTION WHEN dependent_objects_still_exist THEN
                NULL; -- it does no harm beside the new one
            END;
        END LOOP;
        IF NOT (SELECT attnotnull FROM pg_attribute
                WHERE attrelid = wanted.relation::regclass AND attname = 'user_id') THEN
            EXECUTE format('UPDATE %I SET user_id = %s WHERE user_id IS NULL', wanted.relation,
                           CASE WHEN wanted.relation = 'user_tokens' THEN 'id'
                                ELSE quote_literal(nobody) || '::uuid' END);
            EXECUTE format('ALTER TABLE %I ALTER COLUMN user_id SET NOT NULL', wanted.relation);
        END IF;
    END LOOP;
END
$$;

-- Rows whose user is not there get one: the account that an identity still leads to (its row was
-- dropped), else an erased account.
INSERT INTO users (id, clerk_id, device_id, erased_at)
SELECT o.user_id, i.clerk_id, i.device_id,
       CASE WHEN i.clerk_id IS NULL AND i.device_id IS NULL THEN now() AT TIME ZONE 'utc' END
FROM (SELECT user_id FROM subscriptions
      UNION SELECT user_id FROM generations
      UNION SELECT user_id FROM usage_logs
      UNION SELECT user_id FROM payments
      UNION SELECT user_id FROM user_uploads
      UNION SELECT user_id FROM user_tokens
      UNION SELECT user_id FROM token_transactions
      EXCEPT SELECT id FROM users) o
LEFT JOIN LATERAL (
    SELECT max(substr(identity, 7)) FILTER (WHERE identity LIKE 'clerk:%') AS clerk_id,
           max(substr(identity, 8)) FILTER (WHERE identity LIKE 'device:%') AS device_id
    FROM user_identities WHERE user_id = o.user_id
) i ON true;

DO $$
DECLARE
    counted bigint;
BEGIN
    INSERT INTO user_identities (identity, user_id)
    SELECT 'device:' || device_id, id FROM users WHERE device_id IS NOT NULL
    UNION ALL
    SELECT 'clerk:' || clerk_id, id FROM users WHERE clerk_id IS NOT NULL
    UNION ALL
    SELECT 'telegram:' || telegram_id, id FROM users WHERE telegram_id::text <> ''
    UNION ALL
    SELECT 'vk:' || vk_id, id FROM users WHERE vk_id::text <> ''
    UNION ALL
    SELECT 'yandex:' || yandex_id, id FROM users WHERE yandex_id::text <> ''
    ON CONFLICT (identity) DO NOTHING;
    GET DIAGNOSTICS counted = ROW_COUNT;
    IF counted > 0 THEN
        RAISE NOTICE '% identities lead to their accounts', counted
            USING ERRCODE = 'DL000', DETAIL = '38';
    END IF;
END
$$;

-- A balance that is missing is what the entries say; one below zero (an overspend) is forgiven.
INSERT INTO user_tokens (user_id, balance)
SELECT u.id, coalesce((SELECT sum(e.amount) FROM token_transactions e WHERE e.user_id = u.id), 0)
FROM users u
WHERE NOT EXISTS (SELECT 1 FROM user_tokens t WHERE t.user_id = u.id);
UPDATE user_tokens SET balance = 0 WHERE balance < 0;
UPDATE user_tokens SET held = least(greatest(held, 0), balance)
WHERE held NOT BETWEEN 0 AND balance;

-- Entries without a balance after them get it below.
ALTER TABLE token_transactions ALTER COLUMN balance_after DROP NOT NULL;

-- Several accounts of one Telegram, VK or Yandex id become the oldest of them: it gets what the
-- others have, their tokens as well. They keep their rows, as a linked device's account does.
DO $$
DECLARE
    name text;
    pair record;
BEGIN
    FOREACH name IN ARRAY ARRAY['telegram_id', 'vk_id', 'yandex_id'] LOOP
        FOR pair IN EXECUTE format(
            'SELECT * FROM (SELECT id AS other, first_value(id) OVER (PARTITION BY %1$I'
            ' ORDER BY created_at, id) AS main FROM users'
            ' WHERE length(%1$I::text) > 0 AND merged_into IS NULL AND erased_at IS NULL) s'
            ' WHERE other <> main', name)
        LOOP
            -- Of active subscriptions the newest, as below; the original allows one an account.
            UPDATE subscriptions s SET status = 'expired'
            WHERE s.user_id IN (pair.main, pair.other) AND s.status = 'active'
              AND EXISTS (SELECT 1 FROM subscriptions n
                          WHERE n.user_id IN (pair.main, pair.other) AND n.status = 'active'
                            AND (n.created_at, n.id) > (s.created_at, s.id));
            UPDATE subscriptions SET user_id = pair.main WHERE user_id = pair.other;
            UPDATE generations SET user_id = pair.main WHERE user_id = pair.other;
            UPDATE usage_logs SET user_id = pair.main WHERE user_id = pair.other;
            UPDATE payments SET user_id = pair.main WHERE user_id = pair.other;
            UPDATE user_uploads SET user_id = pair.main WHERE user_id = pair.other;
            UPDATE token_transactions SET user_id = pair.main, balance_after = NULL
            WHERE user_id = pair.other;
            UPDATE user_tokens m
            SET balance = m.balance + o.balance,
                last_bonus_date = greatest(m.last_bonus_date, o.last_bonus_date)
            FROM user_tokens o
            WHERE m.user_id = pair.main AND o.user_id = pair.other;
            UPDATE user_tokens SET balance = 0 WHERE user_id = pair.other;
            UPDATE users m
            SET email = coalesce(m.email, o.email),
                first_name = coalesce(m.first_name, o.first_name),
                last_name = coalesce(m.last_name, o.last_name),
                username = coalesce(m.username, o.username),
                photo_url = coalesce(m.photo_url, o.photo_url),
                language_code = coalesce(m.language_code, o.language_code)
            FROM users o
            WHERE m.id = pair.main AND o.id = pair.other;
            EXECUTE format(
                'UPDATE users SET merged_into = $1, %I = NULL, email = NULL, first_name = NULL,'
                ' last_name = NULL, username = NULL, photo_url = NULL, language_code = NULL'
                ' WHERE id = $2 OR merged_into = $2', name) USING pair.main, pair.other;
        END LOOP;
    END LOOP;
END
$$;

-- Entries of the original carry no balance after: it is the running sum. All of them are written
-- anew, account by account, which takes a third of the time of changing each; where something of
-- the operator's refers to the table, each is changed.
DO $$
DECLARE
    names text;
    counted bigint;
BEGIN
    IF NOT EXISTS (SELECT 1 FROM token_transactions WHERE balance_after IS NULL) THEN
        RETURN;
    END IF;
    SET LOCAL work_mem = '64MB';
    SELECT string_agg(quote_ident(attname), ', ') INTO names FROM pg_attribute
    WHERE attrelid = 'token_transactions'::regclass AND attnum > 0 AND NOT attisdropped
      AND attgenerated = '' AND attname <> 'balance_after';
    EXECUTE 'CREATE TEMPORARY TABLE entries_with_balance ON COMMIT DROP AS SELECT ' || names ||
        ', sum(amount) OVER (PARTITION BY user_id ORDER BY created_at, id)::int AS balance_after'
        ' FROM token_transactions';
    GET DIAGNOSTICS counted = ROW_COUNT;
    RAISE NOTICE '% entries: the balance after each is known', counted
        USING ERRCODE = 'DL000', DETAIL = '50';
    BEGIN
        TRUNCATE token_transactions;
        EXECUTE format('INSERT INTO token_transactions (%s, balance_after)'
                       ' SELECT %1$s, balance_after FROM entries_with_balance', names);
    EXCEPTION WHEN feature_not_supported THEN
        UPDATE token_transactions e SET balance_after = b.balance_after
        FROM entries_with_balance b
        WHERE e.user_id = b.user_id AND e.id = b.id;
    END;
    DROP TABLE entries_with_balance;
    RESET work_mem;
    RAISE NOTICE '% entries: the balance after each is written', counted
        USING ERRCODE = 'DL000', DETAIL = '65';
END
$$;
-- Where the sum does not meet the balance (a lost or doubled write of the original), one more entry
-- says by how much, and the balance that the person sees stays.
INSERT INTO token_transactions
    (user_id, id, amount, type, description, created_at, balance_after)
SELECT t.user_id, gen_random_uuid(), t.balance - coalesce(e.total, 0),
       CASE WHEN t.balance > coalesce(e.total, 0) THEN 'refund' ELSE 'generation' END,
       'Корректировка при переносе',
       greatest(now() AT TIME ZONE 'utc', e.newest + interval '1 microsecond'), t.balance
FROM user_tokens t
LEFT JOIN (SELECT user_id, sum(amount)::int AS total, max(created_at) AS newest
           FROM token_transactions GROUP BY user_id) e ON e.user_id = t.user_id
WHERE t.balance <> coalesce(e.total, 0);
ALTER TABLE token_transactions ALTER COLUMN balance_after SET NOT NULL;

-- The order of a user's entries is the order of the balances after them: each entry's time is the
-- balance row's updated_at, which every movement raises under the row's lock.
UPDATE user_tokens t SET updated_at = e.newest
FROM (SELECT user_id, max(created_at) AS newest FROM token_transactions GROUP BY user_id) e
WHERE e.user_id = t.user_id AND t.updated_at < e.newest;

-- Of several active subscriptions the newest is the active one.
UPDATE subscriptions s SET status = 'expired'
WHERE s.status = 'active'
  AND EXISTS (SELECT 1 FROM subscriptions n
              WHERE n.user_id = s.user_id AND n.status = 'active'
                AND (n.created_at, n.id) > (s.created_at, s.id));

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

-- Plans are rows: what the operator adds to plans can be subscribed to.
ALTER TABLE subscriptions DROP CONSTRAINT IF EXISTS subscriptions_plan_check;

-- Images that the original began and never finished; nothing tells whether their tokens went back.
UPDATE generations
SET status = 'failed', error_message = coalesce(error_message, 'Не завершено до переноса')
WHERE status IN ('pending', 'processing') AND coalesce(image_url, '') = ''
  AND created_at < (now() AT TIME ZONE 'utc') - interval '1 hour';

-- Adopted rows: a payment that names a plan was for a subscription; what is not final is looked
-- at, as far as the provider can be asked for it; a subscription ends with its period. What the
-- original credited stays as it is. Its payments in Telegram's stars (XTR, under ids of its own
-- making) are none of this provider's.
UPDATE payments p SET purpose = 'subscription', plan = p.token_package
WHERE p.purpose = 'tokens' AND p.plan IS NULL AND p.tokens_amount IS NULL
  AND p.token_package IN (SELECT l.plan FROM plans l)
  AND p.token_package NOT IN (SELECT k.package FROM token_packages k);
INSERT INTO payment_references (provider_id, user_id, payment_id)
SELECT p.yookassa_payment_id, p.user_id, p.id FROM payments p
WHERE p.yookassa_payment_id NOT LIKE 'telegram\_stars\_%' AND p.currency <> 'XTR'
ON CONFLICT (provider_id) DO NOTHING;
UPDATE payments p SET next_check_at = now() AT TIME ZONE 'utc'
WHERE p.status IN ('pending', 'waiting_for_capture') AND p.next_check_at IS NULL
  AND (p.yookassa_payment_id NOT LIKE 'telegram\_stars\_%' AND p.currency <> 'XTR'
       OR p.request_body IS NOT NULL);
-- An adoption of a version before took them for payments to look at.
UPDATE payments SET next_check_at = NULL
WHERE next_check_at IS NOT NULL AND yookassa_payment_id LIKE 'telegram\_stars\_%';
DELETE FROM payment_references WHERE provider_id LIKE 'telegram\_stars\_%';
UPDATE subscriptions s SET next_check_at = s.current_period_end
WHERE s.status = 'active' AND s.next_check_at IS NULL AND s.current_period_end IS NOT NULL;
-- What was paid for the period that an adopted subscription is in, as far as a payment says so.
UPDATE subscriptions s SET paid_amount = paid.amount
FROM (SELECT DISTINCT ON (p.user_id, p.plan) p.user_id, p.plan, p.amount, p.created_at
      FROM payments p
      WHERE p.purpose = 'subscription' AND p.status = 'succeeded' AND p.succeeded_at IS NULL
      ORDER BY p.user_id, p.plan, p.created_at DESC) paid
WHERE s.user_id = paid.user_id AND s.plan = paid.plan AND s.status = 'active'
  AND s.paid_amount = 0 AND s.period_months = 0 AND s.current_period_end IS NOT NULL
  AND paid.created_at >= coalesce(s.current_period_start,
                                  s.current_period_end - interval '1 month') - interval '1 day';
