"""What is held of a person, proven from the catalog: the export has it, an erasure leaves none.

Every text column of every table that belongs to a user gets a mark of its own. What docs/
personal-data.md lists is all that the export may leave out and all that an erasure may leave.
"""

import json
import os
import re

from tests.support.process import REPOSITORY
from tests.support.sessions import new_id
from tests.support.stack import new_device

PAGE = os.path.join(REPOSITORY, "docs", "personal-data.md")

# Tables with a column that names their user, and users itself; their columns in order.
COLUMNS = """
    SELECT c.relname, a.attname, format_type(a.atttypid, NULL), a.atttypmod - 4, a.attnotnull,
           d.oid IS NOT NULL
    FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
      AND (c.relname = 'users' OR EXISTS (
          SELECT 1 FROM pg_attribute o WHERE o.attrelid = c.oid AND o.attname = 'user_id'))
    ORDER BY c.relname = 'users' DESC, c.relname, a.attnum"""
CHECKS = """
    SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE contype = 'c' AND connamespace = 'public'::regnamespace"""
TEXTS = ("text", "character varying", "character", "json", "jsonb", "xml", "bytea", "name")
VALUES = {"uuid": new_id, "integer": lambda: 1, "bigint": lambda: 1, "smallint": lambda: 1,
          "numeric": lambda: 1, "boolean": lambda: False, "date": lambda: "2025-01-01",
          "timestamp without time zone": lambda: "2025-01-01",
          "timestamp with time zone": lambda: "2025-01-01"}


def words(checks, table, column):
    """The words that a check allows in a column, when it is one of few."""
    for owner, definition in checks:
        if owner == table and re.search(rf"\b{column}\b", definition):
            found = re.findall(r"'([^']*)'::(?:text|character varying|varchar)", definition)
            if found:
                return found
    return None


def mark(number, length, kind):
    """A text that occurs nowhere else, of at most length characters."""
    text = f"m{number:02}"
    if length < 0 or length >= 20:
        text = f"mark-of-{number:02}-in-full"
    return json.dumps({"mark": text}) if kind.startswith("json") else text


def fill(cluster, url, user, device):
    """Gives the account a row in every table. Returns {mark: "table.column"}."""
    columns, checks = cluster.query(url, COLUMNS), cluster.query(url, CHECKS)
    tables, marks = {}, {}
    for table, *column in columns:
        tables.setdefault(table, []).append(column)
    for table, name, kind, length, *_ in columns:
        assert kind in TEXTS or kind in VALUES, f"{table}.{name}: a {kind}, unknown to this test"
        if kind in TEXTS and not words(checks, table, name):
            marks[f"{table}.{name}"] = mark(len(marks), length, kind)
    # The device's own request has to find the account.
    del marks["users.device_id"], marks["user_identities.identity"]
    for table, its in tables.items():
        values = {}
        for name, kind, _, required, has_default in its:
            place = f"{table}.{name}"
            if place in marks:
                values[name] = marks[place]
            elif table in ("users", "user_tokens", "user_identities"):
                continue
            elif name == "user_id":
                values[name] = user
            elif kind in TEXTS:
                values[name] = words(checks, table, name)[0]
            elif required and not has_default:
                values[name] = VALUES[kind]()
        if table == "user_identities":
            cluster.query(url, "INSERT INTO user_identities VALUES ('mark-of-an-identity', %s)",
                          (user,))
            marks["user_identities.identity"] = "mark-of-an-identity"
        elif table in ("users", "user_tokens"):
            if values:
                cluster.query(url, f"UPDATE {table} SET "
                              + ", ".join(f"{name} = %s" for name in values) + " WHERE "
                              + ("id" if table == "users" else "user_id") + " = %s",
                              (*values.values(), user))
        else:
            cluster.query(url, f"INSERT INTO {table} ({', '.join(values)}) VALUES ("
                          + ", ".join(["%s"] * len(values)) + ")", tuple(values.values()))
    marks["users.device_id"] = device
    return {text: place for place, text in marks.items()}


def listed(title):
    """The places in the first column of the table below a heading of the page."""
    with open(PAGE, encoding="utf-8") as file:
        page = file.read()
    section = page.split(f"\n## {title}\n")[1].split("\n## ")[0]
    places = set()
    for cell in re.findall(r"^\| (`[^|]*) \|", section, re.M):
        places |= set(re.findall(r"`(\w+\.\w+)`", cell))
    assert places, title
    return places


def texts(value):
    """Every text in a JSON value."""
    if isinstance(value, dict):
        return {text for item in value.values() for text in texts(item)}
    if isinstance(value, list):
        return {text for item in value for text in texts(item)}
    return {value} if isinstance(value, str) else set()


def left(cluster, url, marks):
    """The places whose mark is in the database, wherever it stands now."""
    tables = [row[0] for row in cluster.query(
        url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    dump = "\n".join(row[0] for table in tables
                     for row in cluster.query(url, f"SELECT t::text FROM {table} t"))
    return {place for text, place in marks.items()
            if re.search(rf"(?<![\w-]){re.escape(text)}(?![\w-])", dump)}


def test_export_has_and_erasure_leaves_what_is_documented(cluster, database, make_handler):
    device = new_device()
    handler = make_handler("user", POSTGRES_URL=database)
    user = handler.request("GET", "/api/user", device=device).data["user"]["id"]
    marks = fill(cluster, database, user, device)
    assert len(marks) > 40 and left(cluster, database, marks) == set(marks.values())

    lines = handler.request("GET", "/api/user/export", device=device).body.decode().splitlines()
    exported = texts([json.loads(line) for line in lines])
    missing = {place for text, place in marks.items() if text not in exported}
    assert missing == listed("What the export leaves out")

    assert handler.request("DELETE", "/api/user", device=device).status == 204
    assert left(cluster, database, marks) == listed("What an erasure leaves")
