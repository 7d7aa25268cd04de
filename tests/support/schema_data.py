"""A large data set for the new schema, and a call of every statement on it.

Few people have very many rows, most have some, and the statistics are there: what the planner meets
after a few good years.
"""

PEOPLE = 20_000
ENTRIES = 300_000
GENERATIONS = 200_000
USAGE = 200_000
HEAVY_ROWS = 20_000   # each of the heavy users' lists
HEAVY = 3             # such users

# Number n of a kind as a uuid, so that the same data are made every time. Random-looking, so that
# a user's rows are spread over the table as they would be.
UUID = "md5('{kind}' || {n})::uuid"


def user_id(number):
    """SQL of the id of the n-th person, from 1; the first HEAVY have very many rows."""
    return UUID.format(kind="user", n=number)


def fill(cursor):
    """Fills a database that has the schema. The connection has to be in autocommit."""
    user = user_id("n")
    owner = user_id("1 + n % {people}").format(people=PEOPLE)
    heavy = user_id("h")
    time = "timestamp '2025-01-01' + {n} * interval '17 seconds'"
    statements = [
        f"""INSERT INTO users (id, clerk_id, device_id, email)
            SELECT {user}, CASE WHEN n % 4 = 0 THEN 'user_' || n END,
                   CASE WHEN n % 4 <> 0 THEN 'device_of_the_many_' || n END, 'p' || n || '@x.org'
            FROM generate_series(1, {PEOPLE}) n""",
        """INSERT INTO user_identities
           SELECT coalesce('clerk:' || clerk_id, 'device:' || device_id), id FROM users""",
    ]
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
    }
    for target, (count, values) in rows.items():
        table = target.split(" ")[0]
        statements += [
            f"""INSERT INTO {target}
                SELECT {UUID.format(kind=table, n='n')}, {owner}, {time.format(n='n')}, {values}
                FROM generate_series(1, {count - HEAVY * HEAVY_ROWS if count > PEOPLE else count})
                     n""",
            # n is below zero here, which also keeps the values apart.
            f"""INSERT INTO {target}
                SELECT {UUID.format(kind=table, n='n')}, {heavy}, {time.format(n='-n')}, {values}
                FROM (SELECT h, -(h * {HEAVY_ROWS} + r) AS n
                      FROM generate_series(1, {HEAVY}) h, generate_series(1, {HEAVY_ROWS}) r) s""",
        ]
    for statement in statements:
        cursor.execute(statement)
    cursor.execute("VACUUM ANALYZE")


NEW_ID = "01890000-0000-7000-8000-000000000001"
LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"
FIRST_ID = "00000000-0000-0000-0000-000000000000"
LIMIT = 50


def samples(user):
    """Parameters for a call of every statement as one user, by the statement's name: a list of
    calls each. user: a dict with id, identity, clerk_id, device_id and generation_id."""
    me = user["id"]
    of_me = [(me,)]
    after = [(me, FIRST_ID, LIMIT), (me, "7fffffff-0000-0000-0000-000000000000", LIMIT)]
    times = ("-infinity", "infinity")
    year = ("2025-02-01", "2025-03-01")
    return {
        "generation_count": of_me,
        "generation_delete": [(me, user["generation_id"]), (me, NEW_ID)],
        "generation_list": [(me, "infinity", LAST_ID, LIMIT), (me, "2025-02-01", NEW_ID, LIMIT)],
        "generation_record": [(me, NEW_ID, "https://x.org/new", "p", "anime", "1K", "203.0.113.9"),
                              (me, NEW_ID, "https://x.org/new", None, None, None, None)],
        "health_ping": [()],
        "identity_adopt": [(user["identity"], user["clerk_id"], user["device_id"])],
        "identity_create": [
            (user["identity"], NEW_ID, user["clerk_id"], user["device_id"], None),
            ("device:device_that_is_quite_new_1", NEW_ID, None, "device_that_is_quite_new_1", None),
            ("clerk:user_quite_new", NEW_ID, "user_quite_new", None, "new@x.org")],
        "identity_find": [(user["identity"],), ("device:device_nobody_has_ever_had",)],
        "payment_list": after,
        "subscription_list": after,
        "token_claim_bonus": [(me, NEW_ID)],
        "token_status": of_me,
        "transaction_list": [
            (me, "infinity", LAST_ID, LIMIT, None, *times),
            (me, "infinity", LAST_ID, LIMIT, "purchase", *times),
            (me, "2025-02-20", NEW_ID, LIMIT, None, *year),
            (me, "infinity", LAST_ID, LIMIT, "bonus", *year)],
        "usage_list": after,
        "usage_record": [(me, NEW_ID, "download", "203.0.113.9"),
                         (me, NEW_ID, "generation", None)],
        "usage_today": of_me,
        "user_erase": of_me,
        "user_export": of_me,
        "user_identities": of_me,
        "user_profile": of_me,
        "user_restore": [(me, user["clerk_id"], user["device_id"]),
                         (NEW_ID, None, "device_that_is_quite_new_1")],
        "user_stats": of_me,
    }
