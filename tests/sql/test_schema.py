"""The schema is what is written down, and comes back when something of it was dropped."""

import glob
import os
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest

from tests.support.postgres import bootstrap
from tests.support.process import REPOSITORY, wait_until
from tests.support.schema_catalog import assert_same_catalog, catalog
from tests.support.schema_print import schema_text

SCHEMA = os.path.join(REPOSITORY, "sql", "schema.sql")


def test_the_printed_schema_is_the_one_that_is_made(cluster, template):
    """scripts/print-schema prints it again."""
    with open(SCHEMA, encoding="utf-8") as file:
        assert file.read() == schema_text(cluster, cluster.url(template))


def test_the_record_has_every_file(cluster, database):
    recorded = cluster.query(database,
                             "SELECT version, name FROM schema_migrations ORDER BY version")
    files = sorted(glob.glob(os.path.join(REPOSITORY, "sql", "migrations", "*.sql")))
    names = [os.path.basename(name)[:-len(".sql")] for name in files]
    assert [f"{version:04}_{name}" for version, name in recorded] == names


def test_migrations_again_change_nothing(cluster, database, init_db):
    before = catalog(cluster, database)
    cluster.query(database, "DELETE FROM schema_migrations")
    bootstrap(database, init_db)
    assert_same_catalog(before, catalog(cluster, database))


def test_the_newest_migration_alone_changes_nothing(cluster, database, init_db):
    before = catalog(cluster, database)
    cluster.query(database, "DELETE FROM schema_migrations WHERE version ="
                            " (SELECT max(version) FROM schema_migrations)")
    bootstrap(database, init_db)
    assert_same_catalog(before, catalog(cluster, database))


LEDGER_KEY = """
    SELECT array_agg(a.attname::text ORDER BY k.position)
    FROM pg_constraint c CROSS JOIN unnest(c.conkey) WITH ORDINALITY AS k (attnum, position)
    JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.attnum
    WHERE c.contype = 'p' AND c.conrelid = 'token_transactions'::regclass"""


@pytest.mark.parametrize("view, key", [(False, ["id", "user_id"]), (True, ["user_id", "id"])])
def test_a_ledger_keyed_by_user(cluster, database, init_db, view, key):
    """Its key turns round, unless something of the operator's hangs on it."""
    cluster.query(database, """
        ALTER TABLE token_transactions DROP CONSTRAINT token_transactions_pkey,
            ADD CONSTRAINT token_transactions_pkey PRIMARY KEY (user_id, id)""")
    if view:
        cluster.query(database, "CREATE VIEW spent AS SELECT user_id, id, amount"
                                " FROM token_transactions GROUP BY user_id, id")
    cluster.query(database, "DELETE FROM schema_migrations")
    bootstrap(database, init_db)
    assert cluster.query(database, LEDGER_KEY) == [(key,)]


def test_a_repair_beside_a_view_of_the_ledger(cluster, database, init_db):
    """The view keeps the key, which is the right one."""
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
          "token_packages", "app_settings", "user_uploads", "erased_identities", "address_uses"]


def test_the_list_of_tables_is_complete(cluster, database):
    found = cluster.query(database, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert {row[0] for row in found} == {*TABLES, "schema_migrations",
                                       "schema_functions"}


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
    cluster.query(database, "SELECT device_link(%s, %s, gen_random_uuid(), gen_random_uuid())",
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


def test_nobody_sees_a_part_of_the_schema(cluster, empty_database, init_db):
    """Tables, functions and triggers come at once: others see all of it or nothing."""
    with cluster.connect(empty_database, autocommit=False) as blocker:
        # One of the last functions: the bootstrap has made nearly everything when it waits for it.
        blocker.cursor().execute("CREATE FUNCTION user_erase(p_user_id uuid,"
                                 " p_identities text[], p_digests text[])"
                                 " RETURNS TABLE (outcome text)"
                                 " LANGUAGE plpgsql AS 'BEGIN END'")
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(bootstrap, empty_database, init_db)
            try:
                wait_until(lambda: cluster.value(empty_database, """
                    SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
                    AND datname = current_database()"""), 10, "the bootstrap waits")
                seen = cluster.query(empty_database, """
                    SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
                    UNION ALL
                    SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace""")
                assert seen == []
            finally:
                blocker.rollback()
            running.result()
    cluster.query(empty_database, "INSERT INTO users (device_id) VALUES ('device_of_the_first')")
    assert cluster.query(empty_database, "SELECT balance FROM user_tokens") == [(5,)]
