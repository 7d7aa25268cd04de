"""A large data set for the new schema, and a call of every statement on it.

Few people have very many rows, most have some, and the statistics are there: what the planner meets
after a few good years.
"""

PEOPLE = 20_000
ENTRIES = 300_000
GENERATIONS = 200_000
USAGE = 200_000
HOLDS = 100_000
HEAVY_ROWS = 20_000   # each of the heavy users' lists
HEAVY = 3             # such users
LINKED = 3            # devices linked to the first of them, one with very many rows
SERVICE_KEYS = 2_000

# Number n of a kind as a uuid, so that the same data are made every time. Random-looking, so that
# a user's rows are spread over the table as they would be.
UUID = "md5('{kind}' || {n})::uuid"


def user_id(number):
    """SQL of the id of the n-th person, from 1; the first HEAVY have very many rows."""
    return UUID.format(kind="user", n=number)


USER = user_id("n")
OWNER = user_id("1 + n % {people}").format(people=PEOPLE)


def people():
    """Statements that make the users and their identities."""
    return [
        f"""INSERT INTO users (id, clerk_id, device_id, email)
            SELECT {USER}, CASE WHEN n % 4 = 0 THEN 'user_' || n END,
                   CASE WHEN n % 4 <> 0 THEN 'device_of_the_many_' || n END, 'p' || n || '@x.org'
            FROM generate_series(1, {PEOPLE}) n""",
        """INSERT INTO user_identities
           SELECT coalesce('clerk:' || clerk_id, 'device:' || device_id), id FROM users""",
    ]


def histories():
    """Statements that give everybody a history, and the first HEAVY a long one."""
    heavy = user_id("h")
    time = "timestamp '2025-01-01' + {n} * interval '17 seconds'"
    rows = {
        "token_transactions (id, user_id, created_at, amount, type, balance_after)":
            (ENTRIES, "1, CASE WHEN n % 10 = 0 THEN 'purchase' ELSE 'bonus' END, 1"),
        "generations (id, user_id, created_at, image_url, prompt_used, trend, quality)":
            (GENERATIONS, "'https://x.org/' || n, repeat('prompt ', 10), 'anime', '1K'"),
        "usage_logs (id, user_id, created_at, action, ip_address)":
            (USAGE, "CASE WHEN n % 3 = 0 THEN 'download' ELSE 'generation' END, '203.0.113.9'"),
        "payments (id, user_id, created_at, amount, status, yookassa_payment_id)":
            (PEOPLE, "99, 'succeeded', 'yoo-' || n"),
        "subscriptions (id, user_id, created_at, plan, status)":
            (PEOPLE, "'pro', CASE WHEN n BETWEEN 1 AND 5000 THEN 'active' ELSE 'expired' END"),
        "payment_refunds (id, user_id, created_at, payment_id, provider_payment_id, amount,"
        " currency, status, yookassa_refund_id)":
            (PEOPLE, UUID.format(kind="payments", n="n")
             + ", 'yoo-' || n, 99, 'RUB', 'succeeded', 'refund-' || n"),
        "user_uploads (id, user_id, created_at, url)":
            (PEOPLE, "'https://x.org/' || n"),
        "token_holds (id, user_id, created_at, amount, answer_balance, answer_held, status,"
        " expires_at, settled_at)":
            (HOLDS, "1, 1, 1, 'captured', '2025-06-01', '2025-05-01'"),
    }
    statements = []
    for target, (count, values) in rows.items():
        table = target.split(" ")[0]
        statements += [
            f"""INSERT INTO {target}
                SELECT {UUID.format(kind=table, n='n')}, {OWNER}, {time.format(n='n')}, {values}
                FROM generate_series(1, {count - HEAVY * HEAVY_ROWS if count > PEOPLE else count})
                     n""",
            # n is below zero here, which also keeps the values apart.
            f"""INSERT INTO {target}
                SELECT {UUID.format(kind=table, n='n')}, {heavy}, {time.format(n='-n')}, {values}
                FROM (SELECT h, -(h * {HEAVY_ROWS} + r) AS n
                      FROM generate_series(1, {HEAVY}) h, generate_series(1, {HEAVY_ROWS}) r) s""",
        ]
    return statements


def pending():
    """Statements that give everybody a hold, a payment and a refund under way, and so on."""
    return [
        # Of everybody one hold is pending, every third of them expired and not swept yet.
        f"""INSERT INTO token_holds (id, user_id, amount, answer_balance, answer_held, expires_at)
            SELECT {UUID.format(kind='pending', n='n')}, {USER}, 1, 1, 1,
                   (now() AT TIME ZONE 'utc')
                   + n * (CASE WHEN n % 3 = 0 THEN -1 ELSE 1 END) * interval '1 minute'
            FROM generate_series(1, {PEOPLE}) n""",
        """UPDATE user_tokens t SET balance = 100000, held = 1, next_hold_expiry = h.expires_at
           FROM token_holds h WHERE h.user_id = t.user_id AND h.status = 'pending'""",
        # Of everybody one payment and one refund are pending; few of them are due.
        f"""INSERT INTO payments (id, user_id, amount, status, tokens_amount, request_body,
                                  next_check_at)
            SELECT {UUID.format(kind='unpaid', n='n')}, {USER}, 99, 'pending', 10, 'text',
                   (now() AT TIME ZONE 'utc') + (n - 50) * interval '1 minute'
            FROM generate_series(1, {PEOPLE}) n""",
        f"""INSERT INTO payment_refunds (id, user_id, payment_id, provider_payment_id, amount,
                                         currency, request_body, next_check_at)
            SELECT {UUID.format(kind='unrefunded', n='n')}, {OWNER},
                   {UUID.format(kind='payments', n='n')}, 'yoo-' || n, 9, 'RUB', 'text',
                   (now() AT TIME ZONE 'utc') + (n - 50) * interval '1 minute'
            FROM generate_series(1, {PEOPLE}) n""",
        """INSERT INTO payment_references SELECT yookassa_payment_id, user_id, id FROM payments
           WHERE yookassa_payment_id IS NOT NULL""",
        """INSERT INTO payment_differences (provider_id, kind, details)
           SELECT provider_id, 'other_amount', 'seen once' FROM payment_references""",
        f"""UPDATE subscriptions s SET current_period_end = (now() AT TIME ZONE 'utc')
                   + (n - 50) * interval '1 minute', payment_method_id = 'method-' || n,
                   next_check_at = (now() AT TIME ZONE 'utc') + (n - 50) * interval '1 minute'
            FROM generate_series(1, {PEOPLE}) n
            WHERE s.user_id = {USER} AND s.status = 'active'""",
        f"""UPDATE users SET merged_into = {user_id(1)}
            WHERE id IN ({', '.join(user_id(2 + 3 * n) for n in range(LINKED))})""",
        f"""INSERT INTO service_keys (name, key_hash, scopes)
            SELECT 'service-' || n, md5('key' || n), 'spend'
            FROM generate_series(1, {SERVICE_KEYS}) n""",
        # Every two seconds a new device and a generation, from 4,000 addresses.
        f"""INSERT INTO address_uses (network, action, used_at)
            SELECT '198.18.0.0'::inet + n % 4000,
                   CASE WHEN n % 2 = 0 THEN 'welcome' ELSE 'generation' END,
                   (now() AT TIME ZONE 'utc') - n * interval '1 second'
            FROM generate_series(1, {PEOPLE}) n""",
        f"""INSERT INTO erased_identities (digest, erased_at, last_bonus_date)
            SELECT md5(n::text), (now() AT TIME ZONE 'utc') - n * interval '30 minutes',
                   CASE WHEN n < 60 THEN current_date END
            FROM generate_series(1, {PEOPLE}) n""",
    ]


def fill(cursor):
    """Fills a database that has the schema. The connection has to be in autocommit."""
    for statement in [*people(), *histories(), *pending()]:
        cursor.execute(statement)
    cursor.execute("VACUUM ANALYZE")


NEW_ID = "01890000-0000-7000-8000-000000000001"
OTHER_ID = "01890000-0000-7000-8000-000000000002"
HASH = 81985529216486895
ADDRESS = "198.18.0.7"
ERASED_DIGEST = "c4ca4238a0b923820dcc509a6f75849b"  # md5 of 1, as fill() has it
LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"
FIRST_ID = "00000000-0000-0000-0000-000000000000"
LIMIT = 50
OF_APPLY = ("99.00", "RUB", False, False, "https://pay.example/1", "method", None)


def _samples_accounts(user):
    """Those of devices, generations, holds and identities."""
    me = user["id"]
    of_me = [(me,)]
    after = [(me, FIRST_ID, LIMIT), (me, "7fffffff-0000-0000-0000-000000000000", LIMIT)]
    everybody = [me, user["device_user_id"], NEW_ID]
    return {
        "account_open": [
            (NEW_ID, user["identity"], user["clerk_id"], user["device_id"], None, "digest",
             ADDRESS),
            (NEW_ID, "device:device_that_is_quite_new_1", None, "device_that_is_quite_new_1", None,
             "digest", ADDRESS),
            (NEW_ID, "device:device_that_was_erased_1", None, "device_that_was_erased_1", None,
             ERASED_DIGEST, ADDRESS),
            (NEW_ID, "clerk:user_quite_new", "user_quite_new", None, "new@x.org", None, "")],
        "device_link": [(me, user["device_user_id"], NEW_ID, OTHER_ID),
                        (me, NEW_ID, NEW_ID, OTHER_ID)],
        "generation_count": of_me,
        "generation_delete": [(me, user["generation_id"]), (me, NEW_ID)],
        "generation_list": [(me, "infinity", LAST_ID, LIMIT), (me, "2025-02-01", NEW_ID, LIMIT)],
        "generation_record": [
            (me, NEW_ID, "https://x.org/new", "p", "anime", "1K", "203.0.113.9", True, HASH),
            (me, NEW_ID, "https://x.org/new", None, None, None, None, False, None)],
        "health_ping": [()],
        "hold_capture": [(me, user["hold_id"], None, NEW_ID, None),
                         (me, user["hold_id"], 1, NEW_ID, HASH), (me, NEW_ID, 1, NEW_ID, HASH)],
        "hold_capture_flight": [(
            array(everybody), array([user["hold_id"], NEW_ID, NEW_ID]), array([0, 1, 1]),
            array([NEW_ID] * 3), array([HASH, 0, HASH]))],
        "hold_export": after,
        "hold_create": [(me, NEW_ID, 2, 600, "text", HASH), (me, NEW_ID, 2, 600, None, None),
                        (me, NEW_ID, 2_000_000_000, 600, None, None)],
        "hold_get": [(me, user["hold_id"]), (me, NEW_ID)],
        "hold_list": [(me, "infinity", LAST_ID, LIMIT, None),
                      (me, "2025-02-01", NEW_ID, LIMIT, "pending")],
        "hold_release": [(me, user["hold_id"]), (me, NEW_ID)],
        "hold_sweep": [(LIMIT,)],
        "identity_adopt": [(user["identity"], user["clerk_id"], user["device_id"])],
        "identity_attach": [(user["identity"], me), ("device:device_that_is_quite_new_1", me)],
        "identity_find": [(user["identity"],), ("device:device_nobody_has_ever_had",)],
        "identity_find_flight": [(array([user["identity"], "device:device_nobody_has_ever_had",
                                         user["identity"]]),)],
    }


def _samples_movements_and_payments(user):
    """Those of the ledger and of payments."""
    me = user["id"]
    of_me = [(me,)]
    after = [(me, FIRST_ID, LIMIT), (me, "7fffffff-0000-0000-0000-000000000000", LIMIT)]
    everybody = [me, user["device_user_id"], NEW_ID]
    return {
        "ledger_account": of_me,
        "ledger_account_at": [(me, "infinity"), (me, "2025-02-01"), (me, "2025-05-20")],
        "ledger_entry": [(me, user["entry_id"]), (me, NEW_ID)],
        "ledger_post": [(me, NEW_ID, -2, "generation", "text", HASH),
                        (me, NEW_ID, 2, "purchase", None, HASH),
                        (me, NEW_ID, -2_000_000_000, "generation", None, None)],
        "ledger_post_flight": [(
            array(everybody), array([NEW_ID, NEW_ID, NEW_ID]), array([-1, -2, -3]),
            array(["generation"] * 3), array(["text"] * 3), array([HASH] * 3))],
        "ledger_reverse": [(me, me, user["entry_id"], NEW_ID, HASH),
                           (me, me, NEW_ID, NEW_ID, None),
                           (me, user["device_user_id"], user["entry_id"], NEW_ID, HASH)],
        "ledger_totals": [()],
        "ledger_verify": [()],
        "package_list": [()],
        "payment_apply": [
            (me, user["payment_id"], "provider-new", "succeeded", *OF_APPLY),
            (me, user["payment_id"], "provider-new", "pending", *OF_APPLY),
            (me, user["paid_id"], user["provider_id"], "canceled", *OF_APPLY),
            (me, NEW_ID, "provider-new", "pending", *OF_APPLY)],
        "payment_claim_due": [(LIMIT, 60)],
        "payment_difference": [("provider-new", "unknown_payment", None, None, "text"),
                               (user["provider_id"], "other_amount", me, NEW_ID, "text")],
        "payment_export": after,
        "upload_export": after,
        "payment_get": [(me, user["payment_id"]), (me, NEW_ID)],
        "payment_locate": [(me, user["payment_id"]), (user["device_user_id"], NEW_ID)],
        "payment_locate_provider": [(user["provider_id"],), ("provider-new",)],
        "payment_open": [
            (me, NEW_ID, "tokens", "small", None, "99.00", "RUB", 10, None, True, "{}", HASH,
             60),
            (me, NEW_ID, "renewal", None, "pro", "999.00", "RUB", None, OTHER_ID, True, "{}",
             None, 60),
            (me, user["payment_id"], "tokens", "small", None, "99.00", "RUB", 10, None, True, "{}",
             None, 60)],
        "payment_page": [(me, "infinity", LAST_ID, LIMIT), (me, "2025-02-01", NEW_ID, LIMIT)],
        "payment_refused": [(me, user["payment_id"]), (me, NEW_ID)],
        "payment_uncertain": [(me, user["payment_id"], 60), (me, NEW_ID, 60)],
        "payment_verify": [()],
        "plan_list": [()],
        "price_find_package": [("small",), ("none",)],
        "price_find_plan": [("pro",), ("free",)],
        "reconcile_claim_window": [("payments", 60, 60)],
        "reconcile_finish_window": [("payments", "2025-02-01")],
        "reconcile_shop": [()],
    }


def _samples_refunds_and_subscriptions(user):
    """Those of refunds, service keys and subscriptions."""
    me = user["id"]
    refund = (me, user["refund_id"], user["paid_id"], "refund-new", user["provider_id"])
    of_me = [(me,)]
    after = [(me, FIRST_ID, LIMIT), (me, "7fffffff-0000-0000-0000-000000000000", LIMIT)]
    return {
        "renewal_refused": [(me, user["payment_id"]), (me, NEW_ID)],
        "refund_apply": [(*refund, "succeeded", "9.00", "RUB"), (*refund, "pending", "9.00", "RUB"),
                         (me, NEW_ID, user["paid_id"], "refund-other", user["provider_id"],
                          "succeeded", "9.00", "RUB")],
        "refund_claim_due": [(LIMIT, 60)],
        "refund_export": after,
        "refund_get": [(me, user["refund_id"]), (me, NEW_ID)],
        "refund_open": [(me, NEW_ID, user["paid_id"], "9.00", "{}", HASH, 60),
                        (me, NEW_ID, user["payment_id"], "9.00", "{}", HASH, 60),
                        (me, user["refund_id"], user["paid_id"], "9.00", "{}", None, 60)],
        "person_sweep": [(LIMIT,)],
        "refund_refused": [(me, user["refund_id"]), (me, NEW_ID)],
        "refund_uncertain": [(me, user["refund_id"], 60), (me, NEW_ID, 60)],
        "service_key_create": [("quite-new", "digest", "spend"), ("service-7", "digest", "spend")],
        "service_key_find": [("digest",)],
        "service_key_list": [()],
        "service_key_revoke": [("service-7",), ("quite-new",)],
        "subscription_cancel": [(me, True, None), (me, False, None), (me, True, NEW_ID)],
        "subscription_claim_due": [(LIMIT, 60)],
        "subscription_current": of_me,
        "subscription_end": [(me, NEW_ID), (user["device_user_id"], NEW_ID)],
        "subscription_export": after,
        "subscription_list": [(me, LIMIT)],
        "subscription_locate": [(me, NEW_ID), (user["device_user_id"], NEW_ID)],
    }


def _samples_tokens_and_users(user):
    """Those of tokens, usage and users."""
    me = user["id"]
    of_me = [(me,)]
    after = [(me, FIRST_ID, LIMIT), (me, "7fffffff-0000-0000-0000-000000000000", LIMIT)]
    times = ("-infinity", "infinity")
    year = ("2025-02-01", "2025-03-01")
    everybody = [me, user["device_user_id"], NEW_ID]
    return {
        "token_claim_bonus": [(me, NEW_ID, None), (me, NEW_ID, HASH)],
        "token_claim_bonus_flight": [(
            array(everybody), array([NEW_ID] * 3), array([HASH, 0, HASH]))],
        "token_status": of_me,
        "token_status_flight": [(array([*everybody, NEW_ID]),)],
        "transaction_list": [
            (me, "infinity", LAST_ID, LIMIT, None, *times),
            (me, "infinity", LAST_ID, LIMIT, "purchase", *times),
            (me, "2025-02-20", NEW_ID, LIMIT, None, *year),
            (me, "infinity", LAST_ID, LIMIT, "bonus", *year)],
        "usage_list": after,
        "usage_record": [(me, NEW_ID, "download", "203.0.113.9", HASH),
                         (me, NEW_ID, "generation", "203.0.113.9", None),
                         (me, NEW_ID, "generation", None, None)],
        "usage_record_flight": [(
            array(everybody), array([NEW_ID] * 3), array(["download", "generation", "download"]),
            array(["203.0.113.9"] * 3), array([HASH, 0, HASH]))],
        "usage_today": of_me,
        "user_erase": [(me, array([user["identity"]]), array(["digest"]))],
        "user_export": of_me,
        "user_identities": of_me,
        "user_merged_into": of_me,
        "user_profile": of_me,
        "user_restore": [(me, user["clerk_id"], user["device_id"]),
                         (NEW_ID, None, "device_that_is_quite_new_1")],
        "user_set_email": [(me, "new@x.org"), (NEW_ID, "new@x.org")],
        "user_stats": of_me,
    }


def samples(user):
    """Parameters for a call of every statement as one user, by the statement's name: a list of
    calls each, of which each can be repeated. user: a dict with id, identity, clerk_id, device_id,
    generation_id, hold_id, entry_id, payment_id of a pending payment, refund_id of a pending refund
    and paid_id and provider_id of its payment, and device_user_id, the account of a device to link.
    """
    return {**_samples_accounts(user), **_samples_movements_and_payments(user),
            **_samples_refunds_and_subscriptions(user), **_samples_tokens_and_users(user)}


def array(values):
    """A PostgreSQL array as text. The values need no quotes."""
    return "{" + ",".join(str(value) for value in values) + "}"
