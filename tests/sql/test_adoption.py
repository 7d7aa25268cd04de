"""A database of the original backend is adopted in place: nothing lost, nothing renamed."""

import glob
import json
import os
import subprocess
import time
import uuid

import pytest

from tests.support import schema_original
from tests.support.postgres import bootstrap
from tests.support.schema_adoption import (
    TABLES, assert_identities_are_whole, assert_ledger_is_whole, differences, make_original,
    rows_by_id)
from tests.support.schema_catalog import assert_same_catalog, catalog

NOBODY = "00000000-0000-0000-0000-000000000000"
LEDGER_ROWS = 300_000
LEDGER_PEOPLE = 20_000
LEDGER_SECONDS_MAX = 60


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
