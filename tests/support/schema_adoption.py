"""A database of the original before and after it is adopted: its rows, and what has to hold."""

import os

from tests.support import schema_original
from tests.support.process import REPOSITORY

TABLES = ("users", "subscriptions", "generations", "usage_logs", "payments", "user_tokens",
          "token_transactions")


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
