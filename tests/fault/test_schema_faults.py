"""Tables that are dropped, bootstraps that race or fail half-way."""

import json
import os
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import psycopg2.errors
import pytest

from tests.handlers.test_generations import IMAGE
from tests.support.fastcgi import plain_cgi
from tests.support.postgres import database_name
from tests.support.process import wait_until
from tests.support.stack import SECRET, new_device

TABLES = ["users", "subscriptions", "generations", "usage_logs", "payments", "user_tokens",
          "token_transactions", "user_identities", "plans", "token_packages", "app_settings",
          "schema_migrations"]

READS = ["/api/tokens", "/api/tokens/transactions", "/api/user", "/api/user/stats",
         "/api/generations", "/api/usage", "/api/user/export"]
WRITES = [("/api/tokens", None), ("/api/generations", {"imageUrl": IMAGE}),
          ("/api/usage", {"action": "download"})]

DROP_ALL = """
DO $$ DECLARE found text; BEGIN
    -- In the order in which most statements of the load take them, so that few deadlocks arise.
    LOCK TABLE users, user_identities, user_tokens, token_transactions;
    SELECT string_agg(format('%I', relname), ', ') INTO found FROM pg_class
     WHERE relnamespace = 'public'::regnamespace AND relkind = 'r';
    EXECUTE 'DROP TABLE ' || found || ' CASCADE';
END $$"""


def migrations(events):
    """{version: how many times a handler said that it applied it}."""
    counts = {}
    for event in events:
        if event.get("message") == "migration applied":
            counts[event["version"]] = counts.get(event["version"], 0) + 1
    return counts


def use_everything(client, bonus_claimed=False):
    """One request of each kind; returns the answers that were not good."""
    bad = []
    for path in READS:
        answer = client.get(path)
        if answer.status != 200:
            bad.append((path, answer))
    for path, body in WRITES:
        answer = client.post(path, body)
        if answer.status not in (200, 201) and not (
                bonus_claimed and answer.status == 400 and answer.code == "bonus_already_claimed"):
            bad.append((path, answer))
    return bad


def drop(cluster, url, statement):
    """Drops in one transaction, tried until no deadlock with the load comes in between."""
    with cluster.admin(database_name(url)) as connection:
        cursor = connection.cursor()
        cursor.execute("SET lock_timeout = '200ms'")
        for _ in range(100):
            try:
                cursor.execute(statement)
                return
            except (psycopg2.errors.LockNotAvailable, psycopg2.errors.DeadlockDetected):
                time.sleep(0.02)
    raise AssertionError("the load left no moment to drop anything")


def drop_all_at_once(cluster, url):
    """Every table in one transaction."""
    drop(cluster, url, DROP_ALL)


def drop_schema(cluster, url):
    """Functions as well, and the schema itself."""
    drop(cluster, url, "DROP SCHEMA public CASCADE; CREATE SCHEMA public;"
                       " GRANT ALL ON SCHEMA public TO public")


def drop_one_by_one(cluster, url):
    """A bootstrap may well come in between."""
    for table in TABLES:
        drop(cluster, url, f"DROP TABLE IF EXISTS {table} CASCADE")


def is_good(answer):
    """What a client of this load may get."""
    return 200 <= answer.status < 300 or answer.status == 429 or (
        answer.status == 400 and answer.code == "bonus_already_claimed")


class Load:
    """Twelve clients that use all handlers until told to stop. With repeat, a failure is asked
    again for a while, and counts when it stays."""

    def __init__(self, stack, repeat=False):
        self.stack, self.repeat = stack, repeat
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.bad, self.count = [], 0
        self.workers = [threading.Thread(target=self.work, args=(index,)) for index in range(12)]

    def work(self, index):
        client = self.stack.client()
        number = 0
        while not self.stop.is_set():
            number += 1
            if number % 8 == 0:
                client.device = new_device()
            kind = (index + number) % 10
            if kind < len(READS):
                method, (path, body) = "GET", (READS[kind], None)
            else:
                method, (path, body) = "POST", WRITES[kind - len(READS)]
            answer = client.request(method, path, body=body)
            end = time.monotonic() + 5
            while self.repeat and not is_good(answer) and time.monotonic() < end:
                time.sleep(0.2)
                answer = client.request(method, path, body=body)
            with self.lock:
                self.count += 1
                if not is_good(answer):
                    self.bad.append((method, path, answer))
        client.close()

    def more(self, requests, seconds=30):
        """Waits for so many further requests."""
        wanted = self.count + requests
        wait_until(lambda: self.count >= wanted, seconds, f"{requests} more requests")

    def __enter__(self):
        for worker in self.workers:
            worker.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for worker in self.workers:
            worker.join()


@pytest.mark.quick
@pytest.mark.parametrize("way", [drop_all_at_once, drop_schema, drop_one_by_one])
@pytest.mark.parametrize("turn", range(2))
def test_all_tables_dropped_under_load(make_stack, database, cluster, way, turn):
    """All handlers at once: no request fails, not even once, and one bootstrap happens. Where
    tables go one after the other, one may go in the middle of the bootstrap that makes it: then
    a request may fail, and succeeds when it is repeated."""
    stack = make_stack(database)
    with Load(stack, repeat=way is drop_one_by_one) as load:
        load.more(200)
        way(cluster, database)
        load.more(600)
    assert not load.bad, f"{len(load.bad)} of {load.count}: {load.bad[:4]}"
    counts = migrations(stack.all_events())
    assert counts and (way is drop_one_by_one or set(counts.values()) == {1}), counts
    assert use_everything(stack.client()) == []


@pytest.mark.parametrize("table", TABLES)
def test_one_table_dropped(make_stack, database, cluster, table):
    """Every handler works on; what stood in the other tables is still there."""
    stack = make_stack(database)
    client = stack.client()
    assert use_everything(client) == []
    before = {other: cluster.value(database, f"SELECT count(*) FROM {other}")
              for other in TABLES if other != table}
    cluster.query(database, f"DROP TABLE {table} CASCADE")
    assert use_everything(stack.client()) == []
    for path in READS:  # of those whose account row or balance is gone as well
        assert client.get(path).status == 200, path
    # What no statement needs yet comes back when the operator asks.
    answer = stack.client(anonymous=True).post(f"/api/init-db?secret={SECRET}")
    assert answer.status == 200
    assert cluster.value(database, "SELECT to_regclass(%s)::text", (table,)) == table
    for other, rows in before.items():
        now = cluster.value(database, f"SELECT count(*) FROM {other}")
        assert now >= rows, (other, rows, now)


@pytest.mark.parametrize("table", [table for table in TABLES if table != "schema_migrations"])
def test_a_table_dropped_before_an_upgrade(cluster, database, make_handler, table):
    """A migration is still to be applied when a table of an earlier one is found missing."""
    cluster.query(database, "DELETE FROM schema_migrations WHERE version ="
                            " (SELECT max(version) FROM schema_migrations)")
    cluster.query(database, f"DROP TABLE {table} CASCADE")
    handler = make_handler("init-db", POSTGRES_URL=database)
    tokens = make_handler("tokens", POSTGRES_URL=database)
    for attempt in range(2):
        answers = [tokens.request("POST", "/api/tokens", device=new_device()),
                   handler.request("POST", f"/api/init-db?secret={SECRET}")]
        if {answer.status for answer in answers} == {200}:
            break
        time.sleep(1.05)  # BOOTSTRAP_PAUSE_MS of base/limits.h
    assert [answer.status for answer in answers] == [200, 200]
    assert cluster.value(database, "SELECT to_regclass(%s)::text", (table,)) == table


@pytest.mark.parametrize("statement,path", [
    ("DROP FUNCTION token_claim_bonus", "/api/tokens"),
    ("DROP FUNCTION usage_record", "/api/usage"),
    ("ALTER TABLE user_tokens DROP COLUMN held CASCADE", "/api/tokens"),
    ("ALTER TABLE generations DROP COLUMN status CASCADE", "/api/generations"),
    ("ALTER TABLE token_transactions DROP COLUMN balance_after CASCADE", "/api/tokens"),
])
def test_a_function_or_column_dropped(make_stack, database, cluster, statement, path):
    """42883 and 42703 lead to a bootstrap just as 42P01 does."""
    stack = make_stack(database)
    client = stack.client()
    assert use_everything(client) == []
    cluster.query(database, statement)
    body = dict(WRITES).get(path)
    other = stack.client()
    answer = other.post(path, body)
    assert answer.status in (200, 201), answer
    assert use_everything(client, bonus_claimed=True) == []
    assert other.get("/api/tokens").status == 200


def test_a_dropped_trigger_is_made_again_by_init_db(make_stack, database, cluster):
    """No statement fails without it, so no request notices; the operator's endpoint does, and
    whoever came in between has an account then."""
    stack = make_stack(database)
    cluster.query(database, "DROP FUNCTION initialize_new_user() CASCADE")
    between = stack.client()
    between.get("/api/tokens")
    answer = stack.client(anonymous=True).post(f"/api/init-db?secret={SECRET}")
    assert answer.data["applied"], answer
    assert stack.client().get("/api/tokens").data["balance"] == 5
    assert between.get("/api/tokens").status == between.get("/api/user").status == 200


def test_the_cache_forgets_what_a_dropped_database_said(make_stack, database, cluster):
    stack = make_stack(database)
    client = stack.client()
    client.post("/api/tokens")
    assert client.get("/api/tokens").data["canClaimBonus"] is False
    cluster.query(database, DROP_ALL)
    stack.client().get("/api/tokens")  # anybody's request brings the schema back
    data = client.get("/api/tokens").data
    assert (data["balance"], data["canClaimBonus"]) == (5, True)
    assert client.get("/api/user").status == 200


def init_db(binaries, url):
    """Runs init-db once as plain CGI."""
    return plain_cgi(binaries, "init-db", "POST", f"/api/init-db?secret={SECRET}",
                     env={"POSTGRES_URL": url, "DB_INIT_SECRET": SECRET})


@pytest.mark.quick
def test_bootstrap_by_20_processes_at_once(cluster, empty_database, binaries):
    """Of different handlers, on an empty database: each migration is applied once."""
    jobs = [("init-db", "POST", f"/api/init-db?secret={SECRET}"), ("tokens", "GET", "/api/tokens"),
            ("user", "GET", "/api/user"), ("generations", "GET", "/api/generations"),
            ("usage", "GET", "/api/usage")] * 4
    with ThreadPoolExecutor(len(jobs)) as pool:
        results = list(pool.map(lambda job: plain_cgi(
            binaries, *job, device=new_device(),
            env={"POSTGRES_URL": empty_database, "DB_INIT_SECRET": SECRET}), jobs))
    for status, answer, problem in results:
        assert status == 0 and answer.status == 200, (answer, problem)
    events = [json.loads(line) for _, _, problem in results for line in problem.splitlines()]
    counts = migrations(events)
    assert counts and set(counts.values()) == {1}, counts
    recorded = cluster.query(empty_database, "SELECT version FROM schema_migrations ORDER BY 1")
    assert [row[0] for row in recorded] == sorted(counts)


def test_bootstrap_by_many_threads_of_one_process(empty_database, make_handler):
    handler = make_handler("tokens", POSTGRES_URL=empty_database)
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: handler.request(
            "GET", "/api/tokens", device=new_device()), range(64)))
    assert {answer.status for answer in answers} == {200}
    assert set(migrations(handler.events()).values()) == {1}


@pytest.mark.parametrize("obstacle", [
    # What each stops half-way: the first migration, a later one, and the one with the trigger.
    "CREATE VIEW users AS SELECT 1 AS id",
    "CREATE VIEW plans AS SELECT 1 AS plan",
    "CREATE TABLE token_transactions (id int)",
    "CREATE FUNCTION initialize_new_user() RETURNS int LANGUAGE sql AS 'SELECT 1'",
])
def test_a_bootstrap_that_fails_half_way(cluster, empty_database, binaries, make_handler, obstacle):
    """Nothing is half made, the next request tries again, and it heals without a restart."""
    cluster.query(empty_database, obstacle)
    handler = make_handler("tokens", POSTGRES_URL=empty_database)
    device = new_device()
    for _ in range(2):
        answer = handler.request("GET", "/api/tokens", device=device)
        assert answer.status in (500, 503), answer
        assert b"view" not in answer.body.lower()
    # Each migration that is recorded was applied whole, and the next not at all.
    exists = cluster.value(empty_database, "SELECT to_regclass('schema_migrations') IS NOT NULL")
    versions = [row[0] for row in cluster.query(
        empty_database, "SELECT version FROM schema_migrations ORDER BY 1")] if exists else []
    assert versions == list(range(1, len(versions) + 1))
    if "users" in obstacle:
        left = cluster.query(empty_database, """
            SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
            AND relkind = 'r'""")
        assert left in ([], [("schema_migrations",)])
    if 2 not in versions:
        assert cluster.value(empty_database, "SELECT to_regclass('token_packages')") is None
    if 3 not in versions:
        assert cluster.value(empty_database, "SELECT to_regclass('user_identities')") is None
    kind, name = obstacle.split()[1:3]
    cluster.query(empty_database, f"DROP {kind} {name.partition('(')[0]}")
    time.sleep(1.05)  # BOOTSTRAP_PAUSE_MS of base/limits.h
    assert handler.request("GET", "/api/tokens", device=device).data["balance"] == 5
    assert init_db(binaries, empty_database)[1].data["applied"] == []


def test_a_right_that_was_revoked(cluster, empty_database, make_handler):
    """A role that may not create tables: 500 or 503, nothing made, healed by the grant."""
    name = database_name(empty_database)
    with cluster.admin(name) as connection:
        connection.cursor().execute(f'ALTER DATABASE "{name}" OWNER TO postgres')
        connection.cursor().execute("REVOKE CREATE ON SCHEMA public FROM public")
    handler = make_handler("tokens", POSTGRES_URL=empty_database)
    device = new_device()
    answer = handler.request("GET", "/api/tokens", device=device)
    assert answer.status in (500, 503)
    assert b"permission" not in answer.body
    assert cluster.value(empty_database, "SELECT count(*) FROM pg_class WHERE relnamespace ="
                                         " 'public'::regnamespace") == 0
    failed = [event for event in handler.events() if event["message"] == "bootstrap failed"]
    assert failed and failed[0]["sqlstate"] == "42501"
    with cluster.admin(name) as connection:
        connection.cursor().execute("GRANT CREATE ON SCHEMA public TO public")
    time.sleep(1.05)  # BOOTSTRAP_PAUSE_MS of base/limits.h
    assert handler.request("GET", "/api/tokens", device=device).data["balance"] == 5


def test_a_bootstrap_that_is_killed_half_way(cluster, empty_database, binaries):
    """kill -9 while it waits within its transaction: nothing is left, the next one does it all."""
    with cluster.connect(empty_database, autocommit=False) as blocker:
        # What CREATE TABLE IF NOT EXISTS schema_migrations has to wait for.
        blocker.cursor().execute("CREATE TABLE schema_migrations (version int)")
        environment = {
            "PATH": os.environ["PATH"], "POSTGRES_URL": empty_database, "DB_INIT_SECRET": SECRET,
            "REQUEST_METHOD": "POST", "DOCUMENT_URI": "/api/init-db",
            "QUERY_STRING": f"secret={SECRET}",
            "SHARED_MEMORY": f"/dev/shm/dl-test-{os.getpid()}-k"}
        process = subprocess.Popen([f"{binaries}/init-db"], env=environment,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        wait_until(lambda: cluster.value(empty_database, """
            SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
            AND datname = current_database()"""), 10, "the bootstrap waits")
        process.kill()
        process.communicate()
        blocker.rollback()
    for suffix in ("cache", "metrics", "cache.lock", "metrics.lock"):
        if os.path.exists(f"{environment['SHARED_MEMORY']}.{suffix}"):
            os.unlink(f"{environment['SHARED_MEMORY']}.{suffix}")
    data = init_db(binaries, empty_database)[1].data
    assert data["applied"] == list(range(1, data["version"] + 1))


def test_a_statement_that_can_never_work_does_not_bootstrap_for_ever(cluster, database,
                                                                     make_handler):
    """The schema is whole by its own account, and still a name is missing: the search path."""
    name = database_name(database)
    with cluster.admin() as connection:
        connection.cursor().execute(
            f'ALTER ROLE dreamlens IN DATABASE "{name}" SET search_path = nowhere')
    handler = make_handler("tokens", POSTGRES_URL=database)
    start = time.monotonic()
    for _ in range(10):
        answer = handler.request("GET", "/api/tokens", device=new_device())
        assert answer.status in (500, 503)
    assert time.monotonic() - start < 15
    with cluster.admin() as connection:
        connection.cursor().execute(
            f'ALTER ROLE dreamlens IN DATABASE "{name}" RESET search_path')
        connection.cursor().execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                                    " WHERE datname = %s", (name,))
    time.sleep(1.05)  # BOOTSTRAP_PAUSE_MS of base/limits.h
    assert handler.request("GET", "/api/tokens", device=new_device()).status == 200
