-- Payments, refunds and subscriptions as a provider of payments sees them, next to what the tokens
-- and periods of the account say.

-- ---------------------------------------------------------------------------------------------
-- Tables
-- ---------------------------------------------------------------------------------------------

-- A payment's row is there before the provider is asked. purpose: tokens, subscription (the first
-- payment of one) or renewal. request_body: what the provider is asked, to be repeated word for
-- word; removed as soon as it is not needed, for it may hold an e-mail address. request_hash: of
-- the request that came with an Idempotency-Key. repeated: the provider was asked more than once,
-- so that a refusal says nothing of the attempts before. next_check_at: who asks the provider sets
-- it ahead, which keeps others away, and it is when to look next; NULL when there is nothing to
-- look for. succeeded_at: when this backend learnt that it was paid; NULL for a payment that the
-- original backend credited. An adopted status may be any word, hence no check.
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
    ADD COLUMN IF NOT EXISTS succeeded_at timestamp;
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

-- period_anchor and period_months: the period ends that many months after the anchor, so that a
-- subscription of the 31st is one of the 31st again after February. payment_method_id: what the
-- provider saved, while the subscription is active; NULL: there is no renewal. renewal_attempts:
-- failed ones of this period. next_check_at: when a renewal is due, or its next attempt; ahead
-- while somebody is at it.
ALTER TABLE subscriptions
    ADD COLUMN IF NOT EXISTS payment_method_id text,
    ADD COLUMN IF NOT EXISTS cancel_at_period_end boolean NOT NULL DEFAULT false,
    ADD COLUMN IF NOT EXISTS renewal_attempts int NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS period_anchor timestamp,
    ADD COLUMN IF NOT EXISTS period_months int NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS next_check_at timestamp;
CREATE INDEX IF NOT EXISTS subscriptions_history_idx
    ON subscriptions (user_id, created_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS subscriptions_next_check_idx ON subscriptions (next_check_at)
    WHERE next_check_at IS NOT NULL;
-- Plans are rows: what the operator adds to plans can be subscribed to.
ALTER TABLE subscriptions DROP CONSTRAINT IF EXISTS subscriptions_plan_check;

INSERT INTO app_settings (name, value, description) VALUES
    ('payments_poll_seconds', 15, 'seconds between looks at a payment of the last ten minutes')
ON CONFLICT (name) DO NOTHING;

-- Adopted rows: a payment that names a plan was for a subscription; what is not final is looked
-- at, as far as the provider can be asked for it; a subscription ends with its period. What the
-- original credited stays as it is.
UPDATE payments p SET purpose = 'subscription', plan = p.token_package
WHERE p.purpose = 'tokens' AND p.plan IS NULL AND p.tokens_amount IS NULL
  AND p.token_package IN (SELECT l.plan FROM plans l)
  AND p.token_package NOT IN (SELECT k.package FROM token_packages k);
INSERT INTO payment_references (provider_id, user_id, payment_id)
SELECT p.yookassa_payment_id, p.user_id, p.id FROM payments p
WHERE p.yookassa_payment_id IS NOT NULL
ON CONFLICT (provider_id) DO NOTHING;
UPDATE payments p SET next_check_at = now() AT TIME ZONE 'utc'
WHERE p.status IN ('pending', 'waiting_for_capture') AND p.next_check_at IS NULL
  AND (p.yookassa_payment_id IS NOT NULL OR p.request_body IS NOT NULL);
UPDATE subscriptions s SET next_check_at = s.current_period_end
WHERE s.status = 'active' AND s.next_check_at IS NULL AND s.current_period_end IS NOT NULL;

-- ---------------------------------------------------------------------------------------------
-- Payments
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

-- ---------------------------------------------------------------------------------------------
-- Refunds
-- ---------------------------------------------------------------------------------------------

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

-- ---------------------------------------------------------------------------------------------
-- Subscriptions
-- ---------------------------------------------------------------------------------------------

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

-- ---------------------------------------------------------------------------------------------
-- What other functions have to know of these tables
-- ---------------------------------------------------------------------------------------------

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
