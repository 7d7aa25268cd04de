"""sql/schema.sql alone and the migrations give the identical schema."""

import glob
import os
import subprocess

import psycopg2
import pytest

from tests.support.postgres import bootstrap
from tests.support.process import REPOSITORY
from tests.support.schema_catalog import assert_same_catalog, catalog

SCHEMA = os.path.join(REPOSITORY, "sql", "schema.sql")


def run_schema_file(url):
    """Applies sql/schema.sql as an operator does. Returns the finished process."""
    return subprocess.run(
        ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", SCHEMA, url],
        capture_output=True, text=True, check=False)


def apply_schema_file(url):
    """Applies sql/schema.sql, which has to succeed and say nothing."""
    done = run_schema_file(url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture
def init_db(binaries):
    """The path of the handler that bootstraps."""
    return os.path.join(binaries, "init-db")


def test_schema_file_equals_migrations(cluster, template, empty_database):
    apply_schema_file(empty_database)
    assert_same_catalog(catalog(cluster, cluster.url(template)), catalog(cluster, empty_database),
                        ("sql/migrations", "sql/schema.sql"))


def test_schema_file_twice_changes_nothing(cluster, empty_database):
    apply_schema_file(empty_database)
    cluster.query(empty_database, "UPDATE plans SET price = 1 WHERE plan = 'pro'")
    cluster.query(empty_database, "INSERT INTO users (device_id) VALUES ('device_of_a_rerun_01')")
    before = catalog(cluster, empty_database)
    apply_schema_file(empty_database)
    assert_same_catalog(before, catalog(cluster, empty_database))
    assert cluster.value(empty_database, "SELECT balance FROM user_tokens") == 5


def test_schema_file_on_a_migrated_database_changes_nothing(cluster, database):
    before = catalog(cluster, database)
    apply_schema_file(database)
    assert_same_catalog(before, catalog(cluster, database))


def test_bootstrap_after_schema_file_only_records(cluster, empty_database, init_db):
    apply_schema_file(empty_database)
    before = catalog(cluster, empty_database)
    cluster.query(empty_database, "INSERT INTO users (device_id) VALUES ('device_of_a_rerun_01')")
    bootstrap(empty_database, init_db)
    assert_same_catalog(before, catalog(cluster, empty_database))
    recorded = cluster.query(empty_database,
                             "SELECT version, name FROM schema_migrations ORDER BY version")
    files = sorted(glob.glob(os.path.join(REPOSITORY, "sql", "migrations", "*.sql")))
    names = [os.path.basename(name)[:-len(".sql")] for name in files]
    assert [f"{version:04}_{name}" for version, name in recorded] == names
    assert cluster.query(empty_database, "SELECT balance FROM user_tokens") == [(5,)]


def test_schema_file_refuses_an_original_database(cluster, empty_database):
    """Its tables need adoption, which is the handlers' work; nothing is changed."""
    cluster.query(empty_database, "CREATE TABLE users (id uuid PRIMARY KEY, device_id text)")
    before = catalog(cluster, empty_database)
    done = run_schema_file(empty_database)
    assert done.returncode != 0 and "init-db" in done.stderr
    assert_same_catalog(before, catalog(cluster, empty_database))


def test_migrations_again_change_nothing(cluster, database, init_db):
    before = catalog(cluster, database)
    cluster.query(database, "DELETE FROM schema_migrations")
    bootstrap(database, init_db)
    assert_same_catalog(before, catalog(cluster, database))


LEDGER_KEY = """
    SELECT array_agg(a.attname::text ORDER BY k.position)
    FROM pg_constraint c CROSS JOIN unnest(c.conkey) WITH ORDINALITY AS k (attnum, position)
    JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.attnum
    WHERE c.contype = 'p' AND c.conrelid = 'token_transactions'::regclass"""


@pytest.mark.parametrize("view, key", [(False, ["id", "user_id"]), (True, ["user_id", "id"])])
def test_the_ledger_of_the_version_before(cluster, database, init_db, view, key):
    """Its key turns round, unless something of the operator's hangs on it."""
    cluster.query(database, "ALTER TABLE token_transactions DROP CONSTRAINT token_transactions_pkey,"
                            " ADD CONSTRAINT token_transactions_pkey PRIMARY KEY (user_id, id)")
    if view:
        cluster.query(database, "CREATE VIEW spent AS SELECT user_id, id, amount"
                                " FROM token_transactions GROUP BY user_id, id")
    cluster.query(database, "DELETE FROM schema_migrations WHERE version = 8")
    bootstrap(database, init_db)
    assert cluster.query(database, LEDGER_KEY) == [(key,)]


def test_a_repair_beside_a_view_of_the_ledger(cluster, database, init_db):
    """The third migration cannot turn the key back, and what it makes instead goes again."""
    cluster.query(database, "CREATE VIEW spent AS SELECT user_id, id, amount"
                            " FROM token_transactions GROUP BY user_id, id")
    before = catalog(cluster, database)
    cluster.query(database, "DELETE FROM schema_migrations")
    bootstrap(database, init_db)
    assert cluster.query(database, LEDGER_KEY) == [(["id", "user_id"],)]
    assert_same_catalog(before, catalog(cluster, database))


# Every table of the schema, with what is lost when it alone goes.
TABLES = ["users", "user_identities", "subscriptions", "generations", "usage_logs", "payments",
          "payment_references", "payment_refunds", "payment_differences", "payment_windows",
          "user_tokens", "token_transactions", "token_holds", "service_keys", "plans",
          "token_packages", "app_settings"]


def test_the_list_of_tables_is_complete(cluster, database):
    found = cluster.query(database, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert {row[0] for row in found} == {*TABLES, "schema_migrations"}


def dropped(cluster, database, init_db, table):
    """Drops a table, bootstraps, and checks that the schema is whole again."""
    before = catalog(cluster, database)
    cluster.query(database, f"DROP TABLE {table} CASCADE")
    bootstrap(database, init_db)
    assert_same_catalog(before, catalog(cluster, database))


@pytest.mark.parametrize("table", TABLES)
def test_a_dropped_table_comes_back(cluster, database, init_db, table):
    """And the accounts with what the other tables still know of them."""
    user = "11111111-1111-4111-8111-111111111111"
    cluster.query(database, "INSERT INTO users (id, device_id)"
                            " VALUES (%s, 'device_of_a_dropped_one')", (user,))
    cluster.query(database, "INSERT INTO user_identities VALUES"
                            " ('device:device_of_a_dropped_one', %s)", (user,))
    cluster.query(database, "SELECT hold_create(%s, gen_random_uuid(), 2, 600, NULL, NULL)",
                  (user,))
    dropped(cluster, database, init_db, table)
    row = cluster.query(database, """
        SELECT u.device_id, u.erased_at, i.user_id::text, t.balance,
               (SELECT sum(amount) FROM token_transactions)::int
        FROM users u JOIN user_identities i ON i.user_id = u.id
        JOIN user_tokens t ON t.user_id = u.id""")
    assert row == [("device_of_a_dropped_one", None, user, 5, 5)]
    held = cluster.query(database, "SELECT held, next_hold_expiry IS NOT NULL FROM user_tokens")
    assert held == ([(0, False)] if table == "token_holds" else [(2, True)])


@pytest.mark.parametrize("table", ["user_tokens", "user_identities", "token_holds"])
def test_a_linked_device_stays_linked(cluster, database, init_db, table):
    """Its balance stays closed and its identity leads to the account, whatever was dropped."""
    device, account = ("22222222-2222-4222-8222-222222222222",
                       "33333333-3333-4333-8333-333333333333")
    cluster.query(database, "INSERT INTO users (id, device_id, clerk_id) VALUES"
                            " (%s, 'device_of_a_linked_one', NULL), (%s, NULL, 'user_linked')",
                  (device, account))
    cluster.query(database, "INSERT INTO user_identities VALUES"
                            " ('device:device_of_a_linked_one', %s), ('clerk:user_linked', %s)",
                  (device, account))
    cluster.query(database, "SELECT link_device(%s, %s, gen_random_uuid(), gen_random_uuid())",
                  (account, device))
    dropped(cluster, database, init_db, table)
    assert cluster.query(database, "SELECT DISTINCT user_id::text FROM user_identities") == [
        (account,)]
    assert cluster.query(database, "SELECT user_id::text, balance, closed_at IS NOT NULL"
                                   " FROM user_tokens ORDER BY user_id") == [
        (device, 0, True), (account, 10, False)]


def test_holds_without_a_balance_are_released(cluster, database, init_db):
    """Balances and entries are gone together: nothing is left that a hold could take."""
    cluster.query(database, "INSERT INTO users (device_id) VALUES ('device_of_a_dropped_one')")
    cluster.query(database, "SELECT hold_create(id, gen_random_uuid(), 2, 600, NULL, NULL)"
                            " FROM users")
    dropped(cluster, database, init_db, "user_tokens, token_transactions")
    assert cluster.query(database, "SELECT balance, held, next_hold_expiry FROM user_tokens") == [
        (0, 0, None)]
    assert cluster.query(database, "SELECT status FROM token_holds") == [("released",)]


def test_a_dropped_column_of_the_ledger_comes_back(cluster, database, init_db):
    """Filling it is no change of entries; afterwards they are append-only again."""
    cluster.query(database, "INSERT INTO users (device_id) VALUES ('device_of_a_dropped_one')")
    cluster.query(database, "ALTER TABLE token_transactions DROP COLUMN balance_after")
    bootstrap(database, init_db)
    assert cluster.query(database, "SELECT amount, balance_after FROM token_transactions") == [
        (5, 5)]
    with pytest.raises(psycopg2.errors.RestrictViolation):
        cluster.query(database, "UPDATE token_transactions SET balance_after = 6")


def test_nobody_is_opened_without_a_bonus_half_way(cluster, empty_database):
    """Between the first and the third migration an insert fails as a schema error does."""
    path = os.path.join(REPOSITORY, "sql", "migrations", "0001_baseline.sql")
    with open(path, encoding="utf-8") as file, cluster.connect(empty_database) as connection:
        cursor = connection.cursor()
        cursor.execute(file.read())
        with pytest.raises(Exception) as caught:
            cursor.execute("INSERT INTO users (device_id) VALUES ('device_of_a_racer_0001')")
    assert caught.value.pgcode == "42P01"
