"""init-db, health, metrics, logs: what an operator sees."""

import re
import threading
import time

import pytest

from tests.handlers.test_generations import IMAGE
from tests.handlers.test_tokens import TIME
from tests.support.postgres import database_name
from tests.support.process import HANDLERS, wait_until
from tests.support.stack import SECRET



# --- init-db ---

@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("given", ["query", "header"])
def test_init_db_with_the_secret(stack, method, given):
    client = stack.client(anonymous=True)
    if given == "query":
        answer = client.request(method, f"/api/init-db?secret={SECRET}")
    else:
        answer = client.request(method, "/api/init-db", headers={"X-DB-Init-Secret": SECRET})
    assert answer.status == 200, answer
    whole = answer.json
    assert set(whole) == {"success", "message", "timestamp", "data"}
    assert whole["success"] is True and whole["message"] and TIME.fullmatch(whole["timestamp"])
    assert whole["data"]["version"] >= 4 and whole["data"]["applied"] == []


@pytest.mark.parametrize("query,header", [
    ("", None), ("?secret=", None), ("?secret=wrong", None), ("", "wrong"), ("", ""),
    (f"?secret={SECRET}x", None), (f"?secret={SECRET[:-1]}", None), ("?secret=%00", None),
    ("?secret=" + "a" * 7000, None), (f"?Secret={SECRET}", None), ("", SECRET.upper()),
    (f"?secret=wrong&secret={SECRET}", None),
])
def test_init_db_without_the_secret(stack, query, header):
    client = stack.client(anonymous=True)
    answer = client.post("/api/init-db" + query, headers={"X-DB-Init-Secret": header})
    assert (answer.status, answer.code) == (401, "unauthorized")


def test_init_db_when_no_secret_is_set(make_handler, empty_database, cluster):
    handler = make_handler("init-db", POSTGRES_URL=empty_database, DB_INIT_SECRET="")
    for query in ("", "?secret=", "?secret=x"):
        answer = handler.request("POST", "/api/init-db" + query)
        assert (answer.status, answer.code) == (500, "not_configured")
    tables = "SELECT count(*) FROM pg_class WHERE relname = 'users'"
    assert cluster.value(empty_database, tables) == 0


@pytest.mark.quick
def test_init_db_tells_what_it_applied(make_handler, empty_database, cluster):
    handler = make_handler("init-db", POSTGRES_URL=empty_database)
    first = handler.request("POST", f"/api/init-db?secret={SECRET}").data
    assert first["applied"] == list(range(1, first["version"] + 1))
    second = handler.request("POST", f"/api/init-db?secret={SECRET}").data
    assert second == {"version": first["version"], "applied": []}
    recorded = cluster.query(empty_database,
                             "SELECT version, length(checksum) FROM schema_migrations ORDER BY 1")
    assert recorded == [(version, 64) for version in first["applied"]]
    applied = [event["version"] for event in handler.events()
               if event["message"] == "migration applied"]
    assert applied == first["applied"]


def test_a_migration_changed_afterwards_is_noticed(make_handler, database, cluster):
    cluster.query(database, "UPDATE schema_migrations SET checksum = 'x' WHERE version = 2")
    handler = make_handler("init-db", POSTGRES_URL=database)
    assert handler.request("POST", f"/api/init-db?secret={SECRET}").status == 500
    assert "migration was changed" in handler.log()


def test_a_schema_of_a_newer_build_is_left_alone(make_handler, database, cluster):
    cluster.query(database, "INSERT INTO schema_migrations (version, name, checksum)"
                            " VALUES (900, 'of the future', 'x')")
    handler = make_handler("init-db", POSTGRES_URL=database)
    assert handler.request("POST", f"/api/init-db?secret={SECRET}").data["applied"] == []
    tokens = make_handler("tokens", POSTGRES_URL=database)
    assert tokens.request("GET", "/api/tokens", device="device_of_the_future_1").status == 200


# --- health ---

def test_healthy(stack):
    answer = stack.client(anonymous=True).get("/api/health")
    data = answer.data
    assert answer.status == 200
    assert data["status"] == "healthy" and TIME.fullmatch(data["timestamp"])
    assert data["checks"]["database"]["status"] == "healthy"
    assert 0 <= data["checks"]["database"]["responseTime"] < 1000
    assert "metrics" not in data
    assert answer.headers["Cache-Control"] == "no-store"


def test_health_with_metrics(stack):
    data = stack.client(anonymous=True).get("/api/health?metrics=true").data
    assert data["metrics"]["http_requests_total"] >= 1
    assert data["metrics"]["db_query_duration_seconds"]["count"] >= 1
    assert data["metrics"]["db_query_duration_seconds"]["averageMicroseconds"] > 0


@pytest.mark.parametrize("query", ["?metrics=false", "?metrics=", "?metrics", "?metrics=1", "?x"])
def test_health_without_metrics(stack, query):
    assert "metrics" not in stack.client(anonymous=True).get("/api/health" + query).data


def test_health_is_degraded_when_the_database_is_read_only(make_handler, database, cluster):
    with cluster.admin() as connection:
        connection.cursor().execute(f'ALTER DATABASE "{database_name(database)}" SET'
                                    " default_transaction_read_only = on")
    handler = make_handler("health", POSTGRES_URL=database)
    answer = handler.request("GET", "/api/health")
    assert answer.status == 200
    assert answer.data["status"] == "degraded"
    assert answer.data["checks"]["database"]["status"] == "degraded"
    assert answer.data["checks"]["database"]["error"]


def test_health_is_degraded_without_the_cache(make_handler, database):
    handler = make_handler("health", POSTGRES_URL=database, SHARED_MEMORY="/dev/shm/no-such/x")
    answer = handler.request("GET", "/api/health?metrics=true")
    assert answer.status == 200
    assert answer.data["status"] == "degraded"
    assert answer.data["checks"]["database"]["status"] == "healthy"


def test_health_is_unhealthy_without_a_database(make_handler):
    handler = make_handler("health", POSTGRES_URL="postgresql://dreamlens@/x?host=/nowhere")
    answer = handler.request("GET", "/api/health")
    assert answer.status == 503
    whole = answer.json
    assert whole["success"] is False
    assert whole["data"]["status"] == whole["data"]["checks"]["database"]["status"] == "unhealthy"
    assert "nowhere" not in answer.body.decode()


def test_live_touches_nothing(make_handler):
    handler = make_handler("health", POSTGRES_URL="postgresql://dreamlens@/x?host=/nowhere")
    start = time.monotonic()
    answer = handler.request("GET", "/api/health/live")
    assert answer.data == {"status": "alive"}
    assert time.monotonic() - start < 0.5
    assert {event["message"] for event in handler.events()} <= {"sandboxed", "serving"}


# --- metrics ---

SAMPLE = re.compile(r'([a-z_]+)(?:\{(.*)\})? (-?[0-9.e+]+)')


def metrics(stack):
    """The exposition as {(name, labels): value}, its form checked on the way."""
    answer = stack.client(anonymous=True).get("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples, types, helped = {}, {}, set()
    for line in answer.body.decode().splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in types and kind in ("counter", "gauge", "histogram")
            types[name] = kind
        elif line.startswith("# HELP "):
            helped.add(line.split()[2])
        else:
            name, labels, value = SAMPLE.fullmatch(line).groups()
            family = re.sub("_(bucket|sum|count)$", "", name)
            assert name in types or types.get(family) == "histogram", line
            assert (name, labels) not in samples, line
            samples[name, labels or ""] = float(value)
    assert helped == set(types)
    return samples


def total(samples, name, *labels):
    """The sum of the samples of a name that have all of the labels."""
    return sum(value for (found, text), value in samples.items()
               if found == name and all(label in (text or "") for label in labels))


@pytest.mark.quick
def test_metrics_of_all_handlers_together(stack, client):
    before = metrics(stack)
    for _ in range(3):
        client.get("/api/tokens")
        client.get("/api/generations")
    client.get("/api/user")
    client.get("/api/usage")
    client.get("/api/health")
    client.get("/api/generations?limit=0")
    client.request("PUT", "/api/tokens")
    after = metrics(stack)

    def grown(*labels):
        return total(after, "http_requests_total", *labels) - total(
            before, "http_requests_total", *labels)
    assert grown('handler="tokens"', 'status="200"') == 3
    assert grown('handler="tokens"', 'status="405"') == 1
    assert grown('handler="generations"', 'status="200"') == 3
    assert grown('handler="generations"', 'status="400"') == 1
    assert grown('handler="user"') == grown('handler="usage"') == grown('handler="health"') == 1
    assert total(after, "db_query_duration_seconds_count", 'query="token_status"') > 0
    assert total(after, "db_query_duration_seconds_sum") > 0
    assert total(after, "metrics_overflow_total") == 0


def test_histograms_are_cumulative(stack, client):
    client.get("/api/tokens")
    samples = metrics(stack)
    buckets = {}
    for (name, labels), value in samples.items():
        if name.endswith("_bucket"):
            series, _, bound = labels.rpartition('le="')
            of_series = buckets.setdefault((name[:-7], series.rstrip(",")), [])
            of_series.append((bound.rstrip('"'), value))
    assert buckets
    for (name, series), values in buckets.items():
        bounds = [float(bound.replace("+Inf", "inf")) for bound, _ in values]
        counts = [count for _, count in values]
        assert bounds == sorted(bounds) and bounds[-1] == float("inf")
        assert counts == sorted(counts) and counts[-1] == samples[name + "_count", series]


def test_metrics_survive_a_restart(stack, client):
    for _ in range(3):
        client.get("/api/usage")
    before = total(metrics(stack), "http_requests_total", 'handler="usage"')
    assert stack.run("restart", "usage").returncode == 0
    client.get("/api/usage")
    assert total(metrics(stack), "http_requests_total", 'handler="usage"') == before + 1


def test_metrics_are_for_this_host_only(stack):
    client = stack.client(anonymous=True)
    for name in ("X-Forwarded-For", "Forwarded", "Via"):
        answer = client.get("/metrics", headers={name: "203.0.113.7"})
        assert (answer.status, answer.code) == (404, "not_found")


def test_clients_do_not_choose_labels(stack, client):
    before = len(metrics(stack))
    for number in range(50):
        client.request(f"ODD{number}", "/api/tokens")
        client.delete(f"/api/generations/none{number}")
        client.get(f"/api/generations?limit={number + 200}")
    assert len(metrics(stack)) < before + 80


# --- logs ---

def test_every_log_line_is_json(stack, client):
    client.get("/api/tokens")
    client.post("/api/generations", b"{")
    events = stack.all_events()
    assert {event["handler"] for event in events if "handler" in event} >= set(HANDLERS)
    for event in events:
        assert event["time"] and ("message" in event or "request_id" in event)


def test_a_slow_query_is_a_warning_without_values(make_stack, database, cluster):
    stack = make_stack(database)
    client = stack.client()
    client.get("/api/tokens")
    with cluster.connect(database, autocommit=False) as blocker:
        blocker.cursor().execute("SELECT 1 FROM user_tokens FOR UPDATE")
        claim = threading.Thread(target=lambda: answers.append(client.post("/api/tokens")))
        answers = []
        claim.start()
        waiting = """SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database OR
                     l.database IS NULL WHERE NOT granted AND locktype = 'transactionid'"""
        wait_until(lambda: cluster.value(database, waiting) > 0, 10, "the claim waits")
        time.sleep(0.15)  # what makes the query slow: SLOW_QUERY_MS is 100
        blocker.rollback()
    claim.join()
    assert answers[0].status == 200
    [warning] = [event for event in stack.events("tokens") if event["message"] == "slow query"]
    assert warning["level"] == "warning"
    assert warning["query"] == "token_claim_bonus"
    assert 100 <= warning["duration_ms"] < 5000
    assert warning["request_id"] == answers[0].headers["X-Request-Id"]
    assert set(warning) == {"time", "level", "handler", "pid", "request_id", "message", "query",
                            "duration_ms"}
    assert total(metrics(stack), "db_slow_queries_total", 'handler="tokens"') == 1


@pytest.mark.parametrize("level,expected", [("info", True), ("warning", False), ("error", False)])
def test_log_level(make_handler, database, level, expected):
    handler = make_handler("tokens", POSTGRES_URL=database, LOG_LEVEL=level)
    assert ("serving" in handler.log()) is expected


def test_no_secret_reaches_a_log(make_stack, database, cluster):
    """At the level that logs most, through requests that succeed, are refused and fail."""
    url = database.replace("dreamlens@", "dreamlens:hunter2-password@")
    stack = make_stack(url, LOG_LEVEL="debug", SLOW_QUERY_MS="1")
    client = stack.client()
    client.get("/api/tokens", headers={"Cookie": "__session=cookie-of-the-tests"})
    client.post("/api/generations", {"imageUrl": IMAGE + "?key=image-of-the-tests",
                                     "promptUsed": "prompt-of-the-tests"})
    client.post("/api/generations", {"imageUrl": 7, "promptUsed": "prompt-of-the-tests"})
    client.post("/api/generations", b'{"promptUsed":"prompt-of-the-tests"')
    client.get("/api/user/export")
    client.get(f"/api/init-db?secret={SECRET}")
    client.post("/api/init-db?secret=guess-of-the-tests", headers={"X-DB-Init-Secret": SECRET})
    client.get("/api/tokens?token=query-of-the-tests&" + "x" * 9000)
    client.get("/api/nothing?token=query-of-the-tests")
    client.delete("/api/user")
    with cluster.admin() as connection:
        connection.cursor().execute(
            f'ALTER DATABASE "{database_name(database)}" ALLOW_CONNECTIONS false')
        connection.cursor().execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                                    " WHERE datname = %s", (database_name(database),))
    assert client.post("/api/tokens").status == 503
    with cluster.admin() as connection:
        connection.cursor().execute(
            f'ALTER DATABASE "{database_name(database)}" ALLOW_CONNECTIONS true')
    assert client.post("/api/tokens").status == 200
    text = stack.all_logs()
    assert "statement failed" in text
    for word in (client.device, SECRET, "hunter2-password", "cookie-of-the-tests",
                 "image-of-the-tests", "prompt-of-the-tests", "guess-of-the-tests",
                 "query-of-the-tests", "Authorization", "Device device_"):
        assert word not in text, [line for line in text.splitlines() if word in line][:3]
