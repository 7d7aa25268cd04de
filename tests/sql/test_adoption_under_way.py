"""A large database while it is adopted: nobody waits for it, nobody sees a part of it."""

import contextlib
import os
import re
import signal
import subprocess
import threading

import pytest

from tests.support import schema_original
from tests.support.postgres import database_name
from tests.support.process import REPOSITORY, wait_until
from tests.support.schema_adoption import assert_ledger_is_whole
from tests.support.stack import new_device

SHORT_BYTES = 4 * 1024 * 1024  # BOOTSTRAP_SHORT_BYTES of base/limits.h
LOCKS = (0x445245414D4C454E, 0x445245414D4C454F)  # of database/bootstrap.c


@pytest.fixture
def original(cluster, empty_database):
    """The URL of a database of the original backend that is large enough to take long."""
    with cluster.connect(empty_database, autocommit=False) as connection:
        cursor = connection.cursor()
        schema_original.large(cursor, 1500, 30_000)
        connection.commit()
        cursor.execute("SELECT sum(pg_relation_size(c.oid)) FROM pg_class c"
                       " WHERE relname IN ('users', 'user_tokens', 'token_transactions',"
                       " 'generations', 'usage_logs', 'payments') AND relkind = 'r'")
        assert cursor.fetchone()[0] > SHORT_BYTES
    return empty_database


@contextlib.contextmanager
def standing_still(cluster, url):
    """Whoever adopts stops at its first lock on a table, until the end or lock_timeout."""
    with cluster.connect(url, autocommit=False) as connection:
        connection.cursor().execute("LOCK TABLE users IN ACCESS SHARE MODE")
        yield
        connection.rollback()


def is_waiting(cluster, url):
    """Whether somebody waits for a table's lock."""
    return cluster.value(url, "SELECT count(*) FROM pg_locks WHERE NOT granted"
                              " AND relation = 'users'::regclass") > 0


def exists(cluster, url, table):
    """Whether others see the table."""
    return cluster.value(url, "SELECT to_regclass(%s) IS NOT NULL", (table,))


def ask(handler):
    """Status of a new device's balance; every 503 says when to come again."""
    answer = handler.request("GET", "/api/tokens", device=new_device())
    if answer.status == 503:
        assert answer.code == "database_updating"
        assert answer.headers["Retry-After"] == "5"
    return answer.status


def run_adopt(binaries, url, **environment):
    """scripts/adopt as a process in a group of its own."""
    return subprocess.Popen(
        [f"{REPOSITORY}/scripts/adopt"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={"PATH": os.environ["PATH"], "BIN_DIR": str(binaries), "POSTGRES_URL": url,
             **environment})


def read_until(process, text):
    """Its output up to the line that has the text."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(f"{text!r} is not in:\n" + "".join(lines))


def test_requests_do_not_wait(cluster, original, make_handler):
    """In the process that adopts, and in another one; both serve as soon as it is done."""
    first, second = (make_handler(name, POSTGRES_URL=original) for name in ("tokens", "tokens"))
    with standing_still(cluster, original):
        assert ask(first) == 503
        wait_until(lambda: is_waiting(cluster, original), 5, "the adoption stands still")
        assert [ask(second), ask(first), ask(second)] == [503] * 3
        assert is_waiting(cluster, original), "they were answered before it went on"
        assert not exists(cluster, original, "user_identities")
    seen = set()

    def served(handler):
        seen.add(ask(handler))
        return 200 in seen
    wait_until(lambda: served(first), 60, "the process that adopted serves")
    seen.clear()
    wait_until(lambda: served(second), 60, "the other one serves")
    assert seen <= {200, 503}
    assert_ledger_is_whole(cluster, original)


def test_no_state_in_between_is_seen(cluster, original, make_handler):
    """Two clients of each of two processes, from the first moment on: 503, then 200."""
    handlers = [make_handler(name, POSTGRES_URL=original) for name in ("tokens", "user")]
    statuses = {name: [] for name in range(4)}

    def work(index):
        path = "/api/tokens" if index % 2 == 0 else "/api/user"
        while 200 not in statuses[index]:
            answer = handlers[index % 2].request("GET", path, device=new_device())
            statuses[index].append(answer.status)
            if answer.status == 503:
                assert answer.headers["Retry-After"] == "5"
    threads = [threading.Thread(target=work, args=(index,)) for index in statuses]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for found in statuses.values():
        assert set(found) <= {200, 503} and found[-1] == 200 and 503 in found, statuses
    assert_ledger_is_whole(cluster, original)


def test_a_process_that_ends_breaks_it_off(cluster, original, make_handler):
    """It does not wait for the end of the adoption, and leaves the database as it was."""
    handler = make_handler("tokens", POSTGRES_URL=original)
    with standing_still(cluster, original):
        assert ask(handler) == 503
        wait_until(lambda: is_waiting(cluster, original), 5, "the adoption stands still")
        handler.stop()
        wait_until(lambda: not is_waiting(cluster, original), 8, "the server gave it up as well")
        assert cluster.value(original, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
                                       " AND database = (SELECT oid FROM pg_database"
                                       " WHERE datname = current_database())") == 0
    assert not exists(cluster, original, "schema_migrations")
    handler.start()
    wait_until(lambda: ask(handler) == 200, 60, "the next one adopts")


@pytest.mark.parametrize("obstacle", ["", """
    CREATE TABLE operators_notes (entry uuid REFERENCES token_transactions (id));
    INSERT INTO operators_notes SELECT id FROM token_transactions LIMIT 10"""])
def test_columns_of_the_operators_stay(cluster, original, binaries, obstacle):
    """Also where a table that refers to the ledger forbids to write it anew."""
    cluster.query(original, f"""ALTER TABLE token_transactions
        ADD COLUMN "Note; of the operator" text DEFAULT 'n',
        ADD COLUMN twice int GENERATED ALWAYS AS (amount * 2) STORED; {obstacle}""")
    query = """SELECT id, user_id, amount, type, description, created_at,
                      "Note; of the operator", twice FROM token_transactions ORDER BY id"""
    before = cluster.query(original, query)
    with run_adopt(binaries, original) as process:
        output = process.stdout.read()
    assert process.returncode == 0, output
    after = {row[0]: row for row in cluster.query(original, query)}
    assert all(after[row[0]] == row for row in before)
    assert_ledger_is_whole(cluster, original)
    if obstacle:
        assert cluster.value(original, "SELECT count(*) FROM operators_notes") == 10


def test_the_script(cluster, original, binaries):
    """It says what it does, can be broken off and repeated, and adopts."""
    with standing_still(cluster, original), run_adopt(binaries, original) as process:
        read_until(process, "step 2 of 3")
        wait_until(lambda: is_waiting(cluster, original), 8, "the adoption stands still")
        os.killpg(process.pid, signal.SIGINT)
        assert "nothing has changed; run it again" in process.stdout.read()
        assert process.wait() == 1
    assert not exists(cluster, original, "schema_migrations")

    with run_adopt(binaries, original) as process:
        output = process.stdout.read()
    assert process.returncode == 0, output
    entries = cluster.value(original, "SELECT count(*) FROM token_transactions")
    assert re.search(r"step 1 of 3: \d+ accounts, \d+ entries\n", output), output
    assert re.search(r" 65 %: \d+ entries: .*, about \d+ s left\n", output), output
    percents = [int(number) for number in re.findall(r"(\d+) %:", output)]
    assert percents == sorted(percents) and len(percents) >= 5
    assert output.endswith("done\n")
    assert_ledger_is_whole(cluster, original)

    with run_adopt(binaries, original) as process:
        output = process.stdout.read()
    assert process.returncode == 0 and "%:" not in output, output
    assert cluster.value(original, "SELECT count(*) FROM token_transactions") == entries


def test_the_script_waits_for_another(cluster, original, binaries):
    """Nobody does it twice at the same time."""
    with cluster.admin(database_name(original)) as connection:
        for key in LOCKS:
            connection.cursor().execute("SELECT pg_advisory_lock(%s)", (key,))
        process = run_adopt(binaries, original)
        read_until(process, "another process brings the schema up to date; waiting for it")
        connection.cursor().execute("SELECT pg_advisory_unlock_all()")
        output = process.stdout.read()
    assert process.wait() == 0 and output.endswith("done\n"), output
    process.stdout.close()


def test_the_script_says_what_it_expects(binaries):
    for environment, text in (({"POSTGRES_URL": ""}, "POSTGRES_URL: expected postgresql://"),
                              ({"BIN_DIR": "/nowhere"}, "/nowhere/init-db: no such executable"),
                              ({}, "POSTGRES_URL: the database cannot be asked")):
        with run_adopt(binaries, "postgresql:///none?host=/nowhere", **environment) as process:
            output = process.stdout.read()
        assert process.returncode == 1 and text in output, output
