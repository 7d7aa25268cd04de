"""Handlers that are killed, clients that leave, restarts, and the limits of the edge."""

import os
import shutil
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.handlers.test_generations import IMAGE
from tests.edge.test_operations import metrics, total
from tests.support.fastcgi import Closed
from tests.support.process import HANDLERS, alive, wait_until
from tests.support.stack import new_device



@pytest.mark.quick
def test_kill_9_of_every_handler_under_load(make_stack, database, cluster):
    """Each is back at once; what was running fails, and nothing is half done."""
    stack = make_stack(database)
    stack.deaths_expected = True
    stop, odd, good = threading.Event(), [], [0]

    def work():
        client = stack.client()
        while not stop.is_set():
            client.device = new_device()
            for method, path, body in (("POST", "/api/tokens", None), ("GET", "/api/user", None),
                                       ("POST", "/api/generations", {"imageUrl": IMAGE}),
                                       ("POST", "/api/usage", {"action": "download"})):
                answer = client.request(method, path, body=body)
                if answer.status in (200, 201):
                    good[0] += 1
                elif answer.status != 502 or answer.code != "bad_gateway" or not (
                        answer.headers["Retry-After"]):
                    odd.append(answer)
    workers = [threading.Thread(target=work) for _ in range(6)]
    for worker in workers:
        worker.start()
    for name in HANDLERS:
        seen = good[0]
        wait_until(lambda: good[0] > seen + 20, 20, "requests are served")
        pid = stack.pids()[name]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: stack.status()[name]["state"] == "ready"
                   and int(stack.status()[name]["pid"]) != pid, 10, f"{name} is back")
    seen = good[0]
    wait_until(lambda: good[0] > seen + 100, 20, "requests are served again")
    stop.set()
    for worker in workers:
        worker.join()
    assert not odd, odd[:3]
    killed = {event["process"] for event in stack.deaths()
              if event["message"] == "killed by signal"}
    assert killed == set(HANDLERS)
    assert cluster.query(database, """
        SELECT t.user_id FROM user_tokens t WHERE t.balance <>
        (SELECT coalesce(sum(amount), 0) FROM token_transactions e WHERE e.user_id = t.user_id)
        """) == []
    client = stack.client()
    for _ in range(20):
        client.device = new_device()
        claimed = client.post("/api/tokens").data["balance"]
        assert client.get("/api/tokens").data["balance"] == claimed


def test_killed_in_the_middle_of_a_write_the_cache_is_not_stale(make_handler, database, cluster):
    """kill -9 between the write's begin and its end: whoever reads then reads the database."""
    reader = make_handler("tokens", POSTGRES_URL=database)
    device = new_device()
    for turn in range(5):
        writer = make_handler("tokens", POSTGRES_URL=database, shared_memory=reader.shared_memory)
        assert reader.request("GET", "/api/tokens", device=device).status == 200
        with cluster.connect(database, autocommit=False) as blocker:
            blocker.cursor().execute("UPDATE user_tokens SET balance = balance")
            thread = threading.Thread(target=lambda: _quietly(
                lambda: writer.request("POST", "/api/tokens", device=device)))
            thread.start()
            wait_until(lambda: cluster.value(database, """
                SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
                AND datname = current_database()""") > 0, 10, "the write is under way")
            writer.process.kill()
            writer.process.wait()
            thread.join()
            blocker.commit()
        # The server carries the statement out, or not; the reader says what is so.
        wait_until(lambda: cluster.value(database, """
            SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
            AND state = 'active' AND pid <> pg_backend_pid()""") == 0, 10, "it has settled")
        stored = cluster.value(database, "SELECT balance FROM user_tokens")
        assert reader.request("GET", "/api/tokens", device=device).data["balance"] == stored, turn
        cluster.query(database, "UPDATE user_tokens SET last_bonus_date = NULL")
        writer.start()


def _quietly(job):
    try:
        job()
    except (Closed, OSError):
        pass


@pytest.mark.quick
def test_restarts_under_load_cost_no_request(make_stack, database):
    """scripts/restart of every handler in turn; scripts/restart-drill does it longer."""
    stack = make_stack(database)
    stop, bad, count = threading.Event(), [], [0]
    paths = ["/api/tokens", "/api/user", "/api/generations", "/api/usage", "/api/health"]

    def work(index):
        client = stack.client()
        number = index
        while not stop.is_set():
            number += 1
            if number % 9 == 0:
                client.device = new_device()
                answer = client.post("/api/tokens")
            else:
                answer = client.get(paths[number % len(paths)])
            count[0] += 1
            if answer.status != 200:
                bad.append(answer)
    workers = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for worker in workers:
        worker.start()
    before = stack.pids()
    for name in before:
        done = stack.run("restart", name)
        assert done.returncode == 0, done.stdout + done.stderr
    seen = count[0]
    wait_until(lambda: count[0] > seen + 200, 20, "requests go on")
    # The old processes leave while requests go on: nginx closes their connections.
    wait_until(lambda: not any(alive(pid) for pid in before.values()), 20, "the old ones are gone")
    stop.set()
    for worker in workers:
        worker.join()
    assert not bad, f"{len(bad)} of {count[0]}: {bad[:3]}"
    after = stack.pids()
    assert set(after) == set(before) and not set(after.values()) & set(before.values())


def test_a_handler_that_refuses_its_new_configuration_keeps_the_old_one(make_stack, database):
    stack = make_stack(database)
    before = stack.pids()
    stack.environment["THREADS"] = "0"
    done = stack.run("up")
    assert done.returncode != 0 and "THREADS" in done.stdout + done.stderr
    assert stack.client().get("/api/tokens").status == 200
    assert stack.pids()["tokens"] == before["tokens"]
    del stack.environment["THREADS"]
    assert stack.run("up").returncode == 0
    stack.deaths_expected = True


def test_an_upgrade_restarts_what_changed(make_stack, database, binaries, tmp_path):
    """A handler with another executable, and nothing for a tool."""
    folder = tmp_path / "bin"
    shutil.copytree(binaries, folder)
    stack = make_stack(database, BIN_DIR=str(folder))
    before = stack.pids()
    for name in ("usage", "service-key"):
        with open(folder / name, "ab") as file:
            file.write(b"another build")
    done = stack.run("up")
    assert done.returncode == 0, done.stdout + done.stderr
    wait_until(lambda: stack.pids()["usage"] != before["usage"], 20, "usage is another process")
    after = stack.pids()
    assert {name for name in before if before[name] != after[name]} == {"usage"}
    with open(f"{stack.run_dir}/bin/service-key", "rb") as file:
        assert file.read().endswith(b"another build")


def test_clients_that_leave_half_way(make_stack, database, cluster):
    """While they send, while they wait: nothing is half done, the workers live."""
    stack = make_stack(database, THREADS="4")
    pids = stack.pids()
    body = b'{"imageUrl":"' + b"x" * 5000 + b'"}'

    def leave(index):
        head = (f"POST /api/generations HTTP/1.1\r\nHost: x\r\nAuthorization: Device {new_device()}"
                f"\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                ).encode()
        whole = head + body
        with socket.create_connection(("127.0.0.1", stack.https_port), 10) as plain:
            with stack.tls.wrap_socket(plain, server_hostname="localhost") as connection:
                connection.sendall(whole[: len(whole) * (index % 10 + 1) // 10])
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                      b"\x01\0\0\0\0\0\0\0")  # reset, not an orderly end
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(leave, range(200)))
    client = stack.client()
    for _ in range(20):
        assert client.get("/api/generations").status == 200
    assert stack.pids() == pids
    wrong = cluster.value(database, """
        SELECT count(*) FROM users u WHERE (SELECT count(*) FROM generations g
        WHERE g.user_id = u.id) <> (SELECT count(*) FROM usage_logs l WHERE l.user_id = u.id)""")
    assert wrong == 0


def test_a_frozen_handler_holds_up_no_other(make_stack, database):
    """SIGSTOP: the others are served meanwhile."""
    stack = make_stack(database)
    pid = stack.pids()["user"]
    client = stack.client()
    client.get("/api/tokens")
    os.kill(pid, signal.SIGSTOP)
    try:
        for path in ("/api/tokens", "/api/generations", "/api/usage", "/api/health"):
            assert client.get(path).status == 200
    finally:
        os.kill(pid, signal.SIGCONT)
    assert client.get("/api/user").status == 200


# --- the edge ---

def test_requests_above_the_rate_of_an_address(make_stack, database):
    stack = make_stack(database, EDGE_RATE="10r/s", EDGE_BURST="5")
    client = stack.client()
    answers = [client.get("/api/tokens") for _ in range(60)]
    refused = [answer for answer in answers if answer.status == 429]
    assert refused and len(refused) < 60
    for answer in refused:
        assert answer.json == {"success": False, "error": "Rate limit exceeded",
                               "code": "rate_limited", "message": "Please wait 1 seconds",
                               "waitTime": 1}
        assert answer.headers["Retry-After"] == "1" and answer.headers["X-Request-Id"]
    # A load balancer may ask as often as it likes.
    assert {client.get("/api/health/live").status for _ in range(60)} == {200}
    # Another identity is no other address.
    other = stack.client()
    assert 429 in {other.get("/api/tokens").status for _ in range(20)}


def test_connections_above_the_limit_of_an_address(make_stack, database):
    stack = make_stack(database, EDGE_CONNECTIONS="3")
    client = stack.client()
    with ThreadPoolExecutor(24) as pool:
        clients = [stack.client() for _ in range(24)]
        for each in clients:
            each.address = "10.9.9.9"
        statuses = set()
        end = time.monotonic() + 10
        while 429 not in statuses and time.monotonic() < end:
            statuses |= set(pool.map(lambda c: c.get("/api/user/export").status, clients))
    assert statuses == {200, 429}
    assert client.get("/api/tokens").status == 200


def test_a_handler_that_is_gone_is_502_as_json(make_stack, database):
    """Its socket's name with it, as when an operator removes it."""
    stack = make_stack(database)
    os.unlink(stack.socket_path("usage"))
    answer = stack.client().get("/api/usage")
    assert (answer.status, answer.code) == (502, "bad_gateway")
    assert answer.headers["Retry-After"] and answer.headers["X-Request-Id"]
    assert stack.client().get("/api/tokens").status == 200


def test_what_the_edge_refuses_reaches_no_handler(make_stack, database):
    stack = make_stack(database)
    client = stack.client()
    client.get("/api/tokens")
    before = total(metrics(stack), "http_requests_total", 'handler="generations"')
    client.post("/api/generations", b" " * 200_000)
    client.close()
    client.get("/api/generations/a/b")
    client.get("/api/generations?" + "x" * 9000)
    assert total(metrics(stack), "http_requests_total", 'handler="generations"') == before


def test_two_instances_side_by_side(make_stack, database):
    """/metrics and the cache are files of the instance: two instances do not share them."""
    one, other = make_stack(database), make_stack(database)
    assert one.instance["SHARED_MEMORY"] != other.instance["SHARED_MEMORY"]
    for _ in range(5):
        one.client().get("/api/tokens")
    assert total(metrics(other), "http_requests_total", 'handler="tokens"') == 0
