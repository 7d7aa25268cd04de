"""A database of the original backend is adopted in place: nothing lost, nothing renamed."""

import glob
import json
import os
import subprocess
import time
import uuid

import psycopg2
import pytest

from tests.support import schema_original
from tests.support.movements import books
from tests.support.payment_rows import Payments, call
from tests.support.postgres import bootstrap
from tests.support.process import REPOSITORY
from tests.support.schema_catalog import assert_same_catalog, catalog

TABLES = ("users", "subscriptions", "generations", "usage_logs", "payments", "user_tokens",
          "token_transactions")
NOBODY = "00000000-0000-0000-0000-000000000000"
LEDGER_ROWS = 300_000
LEDGER_PEOPLE = 20_000
LEDGER_SECONDS_MAX = 60


@pytest.fixture
def init_db(binaries):
    """The path of the handler that bootstraps."""
    return os.path.join(binaries, "init-db")


def rows_by_id(cluster, url):
    """Every row of every table of the original, by table and id."""
    with cluster.connect(url) as connection:
        cursor = connection.cursor()
        everything = {}
        for table in TABLES:
            cursor.execute(f"SELECT * FROM {table}")
            names = [column.name for column in cursor.description]
            everything[table] = {row[names.index("id")]: dict(zip(names, row))
                                 for row in cursor.fetchall()}
        return everything


def make_original(cluster, url, variant, mess=False):
    """Fills an empty database in the shape of the original; returns what is in it."""
    with cluster.connect(url, autocommit=False) as connection:
        cursor = connection.cursor()
        schema_original.create(cursor, variant)
        if mess:
            schema_original.dirty(cursor)
        connection.commit()
    return rows_by_id(cluster, url)


def assert_ledger_is_whole(cluster, url):
    """What scripts/verify says, and everybody has a balance."""
    with open(os.path.join(REPOSITORY, "sql", "queries", "ledger_verify.sql"),
              encoding="utf-8") as file:
        assert cluster.query(url, file.read()) == []
    assert cluster.query(url, """SELECT id FROM users u WHERE NOT EXISTS
                                 (SELECT 1 FROM user_tokens t WHERE t.user_id = u.id)""") == []


def assert_identities_are_whole(before, cluster, url):
    """Every clerk_id and device_id of the original leads to its account, and nothing else does."""
    expected = set()
    for row in before["users"].values():
        if row["clerk_id"]:
            expected.add(("clerk:" + row["clerk_id"], row["id"]))
        if row["device_id"]:
            expected.add(("device:" + row["device_id"], row["id"]))
    assert set(cluster.query(url, "SELECT identity, user_id FROM user_identities")) == expected


def differences(before, after):
    """What adoption changed of the original rows: (table, column, old, new)."""
    for table, rows in before.items():
        for row_id, row in rows.items():
            assert row_id in after[table], f"{table} lost {row_id}"
            for name, value in row.items():
                assert name in after[table][row_id], f"{table} lost its column {name}"
                if after[table][row_id][name] != value:
                    yield table, name, value, after[table][row_id][name]


@pytest.fixture
def ask(binaries, empty_database):
    """GET of a handler as plain CGI with a device id; returns the data of the answer."""
    prefix = f"/dev/shm/dl-test-{os.getpid()}-adoption-{time.monotonic_ns()}"

    def get(handler, device_id):
        done = subprocess.run(
            [os.path.join(binaries, handler)], stdin=subprocess.DEVNULL, capture_output=True,
            text=True, check=False,
            env={"POSTGRES_URL": empty_database, "REQUEST_METHOD": "GET", "CONTENT_LENGTH": "0",
                 "DOCUMENT_URI": "/api/" + handler, "SHARED_MEMORY": prefix,
                 "HTTP_AUTHORIZATION": "Device " + device_id})
        assert "Status: 200" in done.stdout, done.stdout + done.stderr
        return json.loads(done.stdout[done.stdout.index("{"):])["data"]
    yield get
    for path in glob.glob(prefix + ".*"):
        os.unlink(path)


@pytest.mark.parametrize("variant", schema_original.VARIANTS)
def test_tidy_database(cluster, empty_database, init_db, ask, variant):
    before = make_original(cluster, empty_database, variant)
    bootstrap(empty_database, init_db)
    after = rows_by_id(cluster, empty_database)
    assert list(differences(before, after)) == []
    assert {table: len(rows) for table, rows in before.items()} == {
        table: len(rows) for table, rows in after.items()}, "no row was added either"
    assert_ledger_is_whole(cluster, empty_database)
    assert_identities_are_whole(before, cluster, empty_database)
    if variant == "older":
        assert all(row["updated_at"] == row["created_at"] and row["status"] == "completed"
                   for row in after["generations"].values())

    user = next(row for row in before["users"].values() if row["device_id"])
    tokens = ask("tokens", user["device_id"])
    assert tokens["balance"] == 53 and tokens["lastBonusDate"] == "2025-03-02"
    history = ask("generations", user["device_id"])
    assert history["total"] == 3
    assert {row["user_id"] for row in history["generations"]} == {user["id"]}
    assert ask("user", user["device_id"])["user"]["id"] == user["id"]
    assert cluster.value(empty_database, "SELECT count(*) FROM users") == len(before["users"])


def test_dirty_database(cluster, empty_database, init_db, ask):
    before = make_original(cluster, empty_database, "newer", mess=True)
    operators = cluster.query(empty_database, "SELECT * FROM operators_tickets ORDER BY id")
    view = cluster.query(empty_database, "SELECT * FROM operators_key_view ORDER BY id")
    seen = cluster.query(empty_database, "SELECT * FROM operators_view ORDER BY id")
    bootstrap(empty_database, init_db)
    after = rows_by_id(cluster, empty_database)

    allowed = {
        # An overspend and a NULL are nothing; a time nobody knows is the oldest.
        ("user_tokens", "balance"): lambda old, new: (old is None or old < 0) and new == 0,
        ("subscriptions", "status"): lambda old, new: (old, new) == ("active", "expired"),
        ("payments", "currency"): lambda old, new: (old, new) == (None, "RUB"),
    }
    for table, name, old, new in differences(before, after):
        if (table, name) == ("user_tokens", "updated_at") and old is not None:
            assert new > old, "raised to the newest entry's time, which the next one has to follow"
        elif name in ("created_at", "updated_at", "user_id"):
            assert old is None and new is not None, (table, name, old, new)
        else:
            assert allowed[table, name](old, new), (table, name, old, new)

    assert_ledger_is_whole(cluster, empty_database)
    assert_identities_are_whole(before, cluster, empty_database)
    assert_owners(cluster, empty_database, before, after)
    assert_balances_are_open(cluster, empty_database)

    # What the operator has is still there and still works.
    assert cluster.query(empty_database, "SELECT * FROM operators_tickets ORDER BY id") == operators
    assert cluster.query(empty_database, "SELECT * FROM operators_key_view ORDER BY id") == view
    now_seen = cluster.query(empty_database, "SELECT * FROM operators_view ORDER BY id")
    assert set(seen) <= set(now_seen)
    indexes = {row[0] for row in cluster.query(empty_database,
                                               "SELECT indexname FROM pg_indexes")}
    assert {"operators_index", "idx_generations_user_id"} <= indexes

    for row in before["users"].values():
        if row["device_id"]:
            if not row["clerk_id"]:  # else the profile is shown to the session only
                assert ask("user", row["device_id"])["user"]["id"] == row["id"]
            tokens = ask("tokens", row["device_id"])
            assert tokens["balance"] == balance_seen(before, row["id"])
    exercise(cluster, empty_database, [row["id"] for row in before["users"].values()])
    # One person has an entry of the year 2099, which all new ones come after.
    assert_ledger_is_whole(cluster, empty_database)
    assert_balances_are_open(cluster, empty_database)


def balance_seen(before, user_id):
    """What the original showed: the row's balance, else what the entries say; never below zero."""
    for row in before["user_tokens"].values():
        if row["user_id"] == user_id:
            return max(row["balance"] or 0, 0)
    return max(0, sum(row["amount"] for row in before["token_transactions"].values()
                      if row["user_id"] == user_id))


def assert_owners(cluster, url, before, after):
    """Rows without an owner, or with one that is gone, belong to accounts nobody can enter."""
    for table in TABLES[1:]:
        for row_id, row in before[table].items():
            if row["user_id"] is None:
                expected = row_id if table == "user_tokens" else NOBODY
                assert after[table][row_id]["user_id"] == expected, table
            owner = after["users"][after[table][row_id]["user_id"]]
            if owner["id"] not in before["users"]:
                assert owner["erased_at"] is not None
                assert owner["clerk_id"] is None and owner["device_id"] is None
    added = {"'" + str(key) + "'" for key in after["users"].keys() - before["users"].keys()}
    assert added, "the mess has rows without an owner"
    assert cluster.value(url, "SELECT count(*) FROM user_identities"
                              f" WHERE user_id IN ({','.join(added)})") == 0


def assert_balances_are_open(cluster, url):
    """Nobody's balance is closed, everybody else's is open, and each knows its newest entry."""
    assert cluster.query(url, """
        SELECT t.user_id, t.closed_at, u.erased_at
        FROM user_tokens t JOIN users u ON u.id = t.user_id
        WHERE (t.closed_at IS NULL) <> (u.erased_at IS NULL)""") == []
    assert cluster.query(url, """
        SELECT t.user_id FROM user_tokens t JOIN token_transactions e ON e.user_id = t.user_id
        WHERE e.created_at > t.updated_at""") == []


def exercise(cluster, url, users):
    """The statements that need a key work whatever hung on the old ones."""
    for user in users:
        def outcome(call, *values):
            rows = cluster.query(url, f"SELECT outcome FROM {call}", values)
            return rows[0][0] if rows else None
        hold = str(uuid.uuid4())
        assert outcome("token_claim_bonus(%s, gen_random_uuid(), NULL)", user) == "done"
        assert outcome("generation_record(%s, gen_random_uuid(), 'u', NULL, NULL, NULL, NULL,"
                       " false, NULL)", user) == "done"
        assert outcome("ledger_post(%s, gen_random_uuid(), 5, 'purchase', NULL, NULL)",
                       user) == "done"
        assert outcome("hold_create(%s, %s, 3, 600, NULL, NULL)", user, hold) == "done"
        assert outcome("hold_capture(%s, %s, 2, gen_random_uuid(), NULL)", user, hold) == "done"
    # Nobody's tokens cannot be spent.
    assert cluster.query(url, """
        SELECT u.id FROM users u, ledger_post(u.id, gen_random_uuid(), 1, 'bonus', NULL, NULL)
        WHERE u.erased_at IS NOT NULL""") == []
    cluster.query(url, "INSERT INTO users (device_id) VALUES ('device_of_a_new_person_1')")
    assert cluster.query(url, """
        SELECT t.balance FROM users u JOIN user_tokens t ON t.user_id = u.id
        WHERE device_id = 'device_of_a_new_person_1'""") == [(5,)]


def test_payments_of_the_original(cluster, empty_database, init_db):
    """What it credited is not credited again; what was pending is looked at and credited once."""
    make_original(cluster, empty_database, "older")
    user = cluster.value(empty_database, "SELECT id FROM users ORDER BY created_at LIMIT 1")
    cluster.query(empty_database, """
        INSERT INTO payments (user_id, yookassa_payment_id, amount, status, token_package,
                              tokens_amount)
        VALUES (%(user)s, 'paid', 99, 'succeeded', 'small', 10),
               (%(user)s, 'pending', 99, 'pending', 'small', 10),
               (%(user)s, 'plan', 999, 'pending', 'pro', NULL),
               (%(user)s, NULL, 99, 'pending', 'small', 10),
               (%(user)s, 'failed', 99, 'failed', 'small', 10)""", {"user": user})
    bootstrap(empty_database, init_db)
    rows = cluster.query(empty_database, """
        SELECT coalesce(p.yookassa_payment_id, 'none'), p.purpose, p.plan,
               p.next_check_at IS NOT NULL, r.payment_id = p.id AND r.user_id = p.user_id
        FROM payments p LEFT JOIN payment_references r ON r.provider_id = p.yookassa_payment_id
        WHERE p.user_id = %s AND p.yookassa_payment_id NOT LIKE 'pay-%%'
           OR p.yookassa_payment_id IS NULL ORDER BY 1""", (user,))
    assert rows == [("failed", "tokens", None, False, True), ("none", "tokens", None, False, None),
                    ("paid", "tokens", None, False, True), ("pending", "tokens", None, True, True),
                    ("plan", "subscription", "pro", True, True)]
    with books(cluster, empty_database) as session:
        payments = Payments(session.run)
        assert len(call(session.run, "payment_claim_due", 10, 60)) == 2
        expected = {"paid": ("unchanged", None), "pending": ("applied", None),
                    "plan": ("applied", None), "failed": ("conflict", "way_back")}
        for name, answer in expected.items():
            found = session.run("SELECT id, amount::text FROM payments"
                                " WHERE yookassa_payment_id = %s", name)[0]
            assert payments.apply(user, found[0], "succeeded", name, amount=found[1]) == answer
        assert payments.credits(user) == [10]
        assert call(session.run, "user_profile", user)[0][6] == "pro"
        assert payments.verify() == []


def test_stars_of_the_original_are_left_alone(cluster, empty_database, init_db):
    """Payments in Telegram's stars are unknown to the provider, which is not asked for them."""
    make_original(cluster, empty_database, "older")
    cluster.query(empty_database, """
        INSERT INTO payments (user_id, yookassa_payment_id, amount, currency, status, token_package,
                              tokens_amount)
        SELECT (SELECT id FROM users ORDER BY created_at LIMIT 1), p.* FROM (VALUES
            ('telegram_stars_1', 75, 'XTR', 'pending', 'small', 10),
            ('a-charge', 75, 'XTR', 'pending', 'small', 10),
            ('telegram_stars_2', 75, 'RUB', 'pending', 'small', 10)) p""")
    stars = ("SELECT * FROM payments WHERE currency = 'XTR' OR yookassa_payment_id LIKE"
             " 'telegram%' ORDER BY yookassa_payment_id")
    bootstrap(empty_database, init_db)
    rows = cluster.query(empty_database, stars)
    assert len(rows) == 3
    assert cluster.query(empty_database, "SELECT provider_id FROM payment_references"
                                         " WHERE provider_id NOT LIKE 'pay-%'") == []
    assert cluster.query(empty_database, "SELECT id FROM payments"
                                         " WHERE next_check_at IS NOT NULL") == []
    with books(cluster, empty_database) as session:
        assert call(session.run, "payment_claim_due", 10, 60) == []
        assert Payments(session.run).verify() == []

    # As the version before had adopted them.
    cluster.query(empty_database, "UPDATE payments SET next_check_at = now()"
                                  " WHERE yookassa_payment_id LIKE 'telegram%'")
    cluster.query(empty_database, "INSERT INTO payment_references SELECT yookassa_payment_id,"
                                  " user_id, id FROM payments WHERE yookassa_payment_id"
                                  " LIKE 'telegram%'")
    cluster.query(empty_database, "DELETE FROM schema_migrations")
    bootstrap(empty_database, init_db)
    assert cluster.query(empty_database, stars) == rows
    assert cluster.query(empty_database, "SELECT provider_id FROM payment_references"
                                         " WHERE provider_id NOT LIKE 'pay-%'") == []


def test_people_of_other_identities(cluster, empty_database, init_db):
    """Who came from Telegram, VK or Yandex alone keeps the account, and the id leads to it."""
    make_original(cluster, empty_database, "newer")
    with cluster.connect(empty_database) as connection:
        schema_original.social(connection.cursor())
    before = rows_by_id(cluster, empty_database)
    bootstrap(empty_database, init_db)
    after = rows_by_id(cluster, empty_database)
    assert list(differences(before, after)) == []
    assert_ledger_is_whole(cluster, empty_database)
    identities = dict(cluster.query(empty_database, "SELECT * FROM user_identities"))
    people = {row["id"]: row for row in before["users"].values()}
    expected = {}
    for kind in ("clerk", "device", "telegram", "vk", "yandex"):
        expected.update({f"{kind}:{row[kind + '_id']}": row["id"] for row in people.values()
                         if row[kind + "_id"]})
    assert identities == expected
    assert {"telegram:42", "vk:43", "yandex:44", "telegram:45", "vk:46", "yandex:47",
            "device:device_of_every_identity_1"} <= set(identities)
    assert cluster.query(empty_database, "SELECT url, created_at::text FROM user_uploads") == [
        ("https://example.org/mark-upload", "2025-04-01 09:00:00")]
    with pytest.raises(psycopg2.errors.UniqueViolation):
        cluster.query(empty_database, "INSERT INTO users (telegram_id) VALUES ('42')")


def test_several_accounts_of_a_telegram_id_become_one(cluster, empty_database, init_db):
    """Nothing of theirs is lost: tokens, entries, images, payments, uploads, identities."""
    make_original(cluster, empty_database, "newer")
    with cluster.connect(empty_database) as connection:
        cursor = connection.cursor()
        schema_original.social(cursor)
        cursor.execute("""
            INSERT INTO users (telegram_id, device_id, username, created_at) VALUES
                ('77', NULL, NULL, '2025-02-01'), ('77', 'device_of_the_second_1', 'named',
                '2025-02-02'), ('77', NULL, 'late', '2025-02-03') RETURNING id""")
        main, second, third = (row[0] for row in cursor.fetchall())
        for user, tokens in ((main, 1), (second, 20), (third, 300)):
            cursor.execute("""
                INSERT INTO token_transactions (user_id, amount, type) VALUES (%s, %s, 'purchase');
                UPDATE user_tokens SET balance = balance + %s, last_bonus_date = '2025-03-02'
                WHERE user_id = %s;
                INSERT INTO generations (user_id, image_url, prompt_used) VALUES (%s, 'u', 'p');
                INSERT INTO usage_logs (user_id, action) VALUES (%s, 'download');
                INSERT INTO payments (user_id, yookassa_payment_id, amount, status)
                VALUES (%s, %s, 99, 'succeeded');
                INSERT INTO subscriptions (user_id, plan, status) VALUES (%s, 'pro', 'active');
                INSERT INTO user_uploads (user_id, url, file_path) VALUES (%s, 'u', 'f')""",
                           (user, tokens, tokens, user, user, user, user, "pay-dup-" + user, user,
                            user))
    before = rows_by_id(cluster, empty_database)
    bootstrap(empty_database, init_db)
    after = rows_by_id(cluster, empty_database)
    for table, rows in before.items():
        assert rows.keys() <= after[table].keys(), table
    assert_ledger_is_whole(cluster, empty_database)
    assert_balances(cluster, empty_database, {main: 321 + 3 * 5, second: 0, third: 0})
    for table in ("generations", "usage_logs", "payments", "subscriptions", "user_uploads"):
        assert dict(cluster.query(empty_database, f"""
            SELECT user_id, count(*) FROM {table} WHERE user_id IN (%s, %s, %s) GROUP BY 1""",
                                  (main, second, third))) == {main: 3}, table
    assert cluster.query(empty_database, """
        SELECT id, telegram_id, username, merged_into FROM users WHERE id IN (%s, %s, %s)
        ORDER BY created_at""", (main, second, third)) == [
        (main, "77", "named", None), (second, None, None, main), (third, None, None, main)]
    assert dict(cluster.query(empty_database, "SELECT * FROM user_identities WHERE user_id"
                                              " IN (%s, %s, %s)", (main, second, third))) == {
        "telegram:77": main, "device:device_of_the_second_1": main}
    assert cluster.query(empty_database, "SELECT status, count(*) FROM subscriptions"
                                         " WHERE user_id = %s GROUP BY 1 ORDER BY 1", (main,)) == [
        ("active", 1), ("expired", 2)]
    schema, rows = catalog(cluster, empty_database), rows_by_id(cluster, empty_database)
    cluster.query(empty_database, "DELETE FROM schema_migrations")
    bootstrap(empty_database, init_db)
    assert_same_catalog(schema, catalog(cluster, empty_database), ("once", "twice"))
    assert rows_by_id(cluster, empty_database) == rows


def assert_balances(cluster, url, expected):
    """The balances of these users, of which those at 0 are closed."""
    found = cluster.query(url, "SELECT user_id, balance, closed_at IS NULL FROM user_tokens"
                               " WHERE user_id = ANY (%s::uuid[])", (list(expected),))
    assert {user: balance for user, balance, _ in found} == expected
    assert {user: is_open for user, _, is_open in found} == {
        user: balance > 0 for user, balance in expected.items()}


def test_images_that_never_ended(cluster, empty_database, init_db):
    """What was under way for hours is failed, without tokens back; what has an image stays."""
    make_original(cluster, empty_database, "newer")
    cluster.query(empty_database, """
        INSERT INTO generations (user_id, image_url, prompt_used, status, created_at, trend)
        SELECT (SELECT id FROM users LIMIT 1), g.url, '', g.status, now() - g.age, g.status || g.n
        FROM (VALUES (1, '', 'processing', interval '2 hours'),
                     (2, '', 'pending', interval '2 hours'),
                     (3, '', 'processing', interval '1 minute'),
                     (4, 'https://example.org/4', 'pending', interval '2 hours'),
                     (5, '', 'failed', interval '2 hours')) g (n, url, status, age)""")
    entries = cluster.value(empty_database, "SELECT count(*) FROM token_transactions")
    bootstrap(empty_database, init_db)
    assert cluster.query(empty_database, "SELECT trend, status, error_message IS NULL"
                                         " FROM generations WHERE prompt_used = ''"
                                         " ORDER BY right(trend, 1)") == [
        ("processing1", "failed", False), ("pending2", "failed", False),
        ("processing3", "processing", True), ("pending4", "pending", True),
        ("failed5", "failed", True)]
    assert cluster.value(empty_database, "SELECT count(*) FROM token_transactions") == entries


def test_an_adopted_person_is_exported_and_erased(cluster, empty_database, init_db, make_handler):
    """All that the original had of a person is in the export, and gone after the erasure."""
    make_original(cluster, empty_database, "newer")
    with cluster.connect(empty_database) as connection:
        schema_original.social(connection.cursor())
    bootstrap(empty_database, init_db)
    handler = make_handler("user", POSTGRES_URL=empty_database)
    device = "device_of_every_identity_1"
    body = handler.request("GET", "/api/user/export", device=device).body.decode()
    lines = [json.loads(line) for line in body.splitlines()]
    user = next(line for line in lines if line["type"] == "user")
    assert {name: user[name] for name in ("telegramId", "firstName", "lastName", "username",
                                          "photoUrl", "languageCode", "vkId", "yandexId")} == {
        "telegramId": "45", "firstName": "mark-first", "lastName": "mark-last",
        "username": "mark-user", "photoUrl": "https://example.org/mark-photo",
        "languageCode": "mark-lang", "vkId": "46", "yandexId": "47"}
    upload = next(line for line in lines if line["type"] == "upload")
    assert {name: value for name, value in upload.items() if name != "id"} == {
        "type": "upload", "url": "https://example.org/mark-upload", "filePath": "uploads/mark-path",
        "qualityScore": 80, "mimeType": "image/jpeg", "createdAt": "2025-04-01T09:00:00.000Z"}
    assert {line["identity"] for line in lines if line["type"] == "identity"} == {
        f"device:{device}", "telegram:45", "vk:46", "yandex:47"}
    assert "mark-hash" not in body, "a password's digest is nobody's to read"

    assert handler.request("DELETE", "/api/user", device=device).status == 204
    left = cluster.query(empty_database, """
        SELECT u::text FROM users u WHERE u.erased_at IS NOT NULL
        UNION ALL SELECT f::text FROM user_uploads f
        UNION ALL SELECT i::text FROM user_identities i WHERE i.identity ~ '4[567]|every'""")
    assert len(left) == 1 and "mark" not in left[0][0]
    assert not any(f",{number}," in left[0][0] for number in (45, 46, 47))


def test_subscriptions_of_the_original(cluster, empty_database, init_db):
    """They end with their period, whatever their plan is called; one without an end goes on."""
    make_original(cluster, empty_database, "newer", mess=True)
    cluster.query(empty_database, "UPDATE subscriptions SET current_period_end = '2025-01-01'"
                                  " WHERE plan = 'beta'")
    bootstrap(empty_database, init_db)
    before = cluster.query(empty_database, "SELECT id, plan FROM subscriptions"
                                           " WHERE status = 'active' ORDER BY id")
    with books(cluster, empty_database) as session:
        assert call(session.run, "subscription_claim_due", 10, 60) == []
        after = session.run("SELECT id, plan FROM subscriptions WHERE status = 'active'"
                            " ORDER BY id")
    assert after == [row for row in before if row[1] != "beta"] and len(after) < len(before)


@pytest.mark.parametrize("mess", [False, True], ids=["tidy", "dirty"])
def test_adopting_twice_changes_nothing(cluster, empty_database, init_db, mess):
    make_original(cluster, empty_database, "older", mess)
    bootstrap(empty_database, init_db)
    schema = catalog(cluster, empty_database)
    rows = rows_by_id(cluster, empty_database)
    cluster.query(empty_database, "DELETE FROM schema_migrations")
    bootstrap(empty_database, init_db)
    assert_same_catalog(schema, catalog(cluster, empty_database), ("once", "twice"))
    assert rows_by_id(cluster, empty_database) == rows


def test_adopted_schema_has_all_of_a_new_one(cluster, template, empty_database, init_db):
    """Same columns, nullability, defaults, constraints, indexes, functions and triggers; an adopted
    database may have more, and its columns in another order."""
    make_original(cluster, empty_database, "newer")
    bootstrap(empty_database, init_db)

    def simplified(lines):
        for line in lines:
            kind, rest = line.split(" ", 1)
            if kind == "column":
                table, _position, definition = rest.split(" ", 2)
                line = f"column {table} {definition}"
            yield line
    expected = set(simplified(catalog(cluster, cluster.url(template))))
    missing = expected - set(simplified(catalog(cluster, empty_database)))
    assert missing == set(), "\n".join(sorted(missing))


def test_times_of_an_adopted_database_are_utc(cluster, empty_database, init_db):
    """The original's default was NOW(), in the session's zone; new rows do not depend on it."""
    make_original(cluster, empty_database, "older")
    bootstrap(empty_database, init_db)
    with cluster.connect(empty_database) as connection:
        cursor = connection.cursor()
        cursor.execute("SET timezone = 'Asia/Vladivostok'")
        cursor.execute("INSERT INTO users (device_id) VALUES ('device_of_the_far_east_1')")
        cursor.execute("""
            SELECT abs(extract(epoch FROM e.created_at - (now() AT TIME ZONE 'utc')))::int
            FROM token_transactions e JOIN users u ON u.id = e.user_id
            WHERE u.device_id = 'device_of_the_far_east_1'""")
        assert cursor.fetchone()[0] < 60


def test_a_person_of_the_running_original(cluster, empty_database, init_db, ask):
    """An account that the original opens after the adoption is found by its device id."""
    make_original(cluster, empty_database, "older")
    bootstrap(empty_database, init_db)
    user = cluster.value(empty_database, "INSERT INTO users (device_id)"
                                         " VALUES ('device_of_the_late_one_1') RETURNING id")
    data = ask("user", "device_of_the_late_one_1")
    assert data["user"]["id"] == user


@pytest.mark.seconds(240)
def test_a_large_ledger_is_adopted_in_reasonable_time(cluster, empty_database, init_db, capsys):
    with cluster.connect(empty_database, autocommit=False) as connection:
        schema_original.large(connection.cursor(), LEDGER_PEOPLE, LEDGER_ROWS)
        connection.commit()
    entries = cluster.value(empty_database, "SELECT count(*) FROM token_transactions")
    assert entries >= LEDGER_ROWS
    start = time.monotonic()
    bootstrap(empty_database, init_db)
    seconds = time.monotonic() - start
    with capsys.disabled():
        print(f"\nadopted {LEDGER_PEOPLE} accounts and {entries} entries in {seconds:.1f} s")
    assert_ledger_is_whole(cluster, empty_database)
    assert seconds < LEDGER_SECONDS_MAX
