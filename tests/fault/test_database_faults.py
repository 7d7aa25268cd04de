"""The database down, restarted, killed, read-only, full, frozen, or its answer lost."""

import contextlib
import os
import signal
import threading
import time

import pytest

from tests.handlers.test_generations import IMAGE
from tests.support.postgres import Cluster, Template, database_name
from tests.support.process import wait_until
from tests.support.proxy import PostgresProxy, bind_of
from tests.support.stack import new_device

WRITES = [("/api/tokens", None), ("/api/generations", {"imageUrl": IMAGE}),
          ("/api/usage", {"action": "download"})]
READS = ["/api/user", "/api/user/stats", "/api/generations", "/api/usage",
         "/api/tokens/transactions", "/api/user/export"]


@pytest.fixture(scope="module")
def server(binaries):
    """A cluster that these tests may stop; it keeps what it acknowledged."""
    made = Cluster(durable=True)
    made.template = Template(made, f"{binaries}/init-db").name
    yield made
    made.close()


@pytest.fixture
def url(server):
    """A fresh database of that cluster, which runs again after the test."""
    made = server.create_database(server.template)
    yield made
    if server.process is None:
        server.start()
    server.drop(made)


def assert_unavailable(answer):
    assert (answer.status, answer.code) == (503, "database_unavailable"), answer
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert b"sql" not in answer.body.lower() and b"/tmp" not in answer.body


def assert_books_are_right(server, url):
    """Every balance is the sum of its entries, and no entry is there twice."""
    assert server.query(url, """
        SELECT t.user_id FROM user_tokens t WHERE t.balance <>
        (SELECT coalesce(sum(amount), 0) FROM token_transactions e WHERE e.user_id = t.user_id)
        """) == []
    assert server.query(url, """
        SELECT user_id FROM token_transactions WHERE description = 'Ежедневный бонус'
        GROUP BY user_id HAVING count(*) > 1""") == []


@pytest.mark.quick
@pytest.mark.parametrize("how", ["fast", "immediate", "kill9"])
def test_down_and_up_again(make_stack, server, url, how):
    """503 while it is down, served again by the same processes when it is back."""
    stack = make_stack(url)
    pids = stack.pids()
    client = stack.client()
    before = client.get("/api/tokens").data
    if how == "kill9":
        server.kill9()
    else:
        server.stop(how)
    for path in READS:
        assert_unavailable(client.get(path))
    for path, body in WRITES:
        assert_unavailable(client.post(path, body))
    assert_unavailable(client.delete("/api/user"))
    assert_unavailable(stack.client().get("/api/tokens"))
    health = client.get("/api/health")
    assert health.status == 503 and health.json["data"]["status"] == "unhealthy"
    assert client.get("/api/health/live").status == client.get("/metrics").status == 200
    server.start()
    data = client.get("/api/tokens").data
    assert data["balance"] == before["balance"]
    for path in READS:
        assert client.get(path).status == 200, path
    for path, body in WRITES:
        assert client.post(path, body).status in (200, 201), path
    assert client.get("/api/health").data["status"] == "healthy"
    assert stack.pids() == pids
    assert_books_are_right(server, url)


def test_a_short_restart_is_waited_out(make_handler, server, url):
    """Three attempts, 100 ms and 200 ms apart: a restart within them costs no request."""
    handler = make_handler("tokens", POSTGRES_URL=url)
    device = new_device()
    assert handler.request("GET", "/api/tokens", device=device).status == 200
    for _ in range(3):
        server.stop("immediate")
        server.start()
        assert handler.request("POST", "/api/tokens", device=device).status in (200, 400)
        assert handler.request("GET", "/api/tokens/transactions", device=device).status == 200


@pytest.mark.parametrize("how", ["fast", "immediate", "kill9"])
def test_restarted_under_load(make_stack, server, url, how):
    """Nothing but 2xx and 503, nothing is paid twice, and what was acknowledged is there."""
    stack = make_stack(url)
    stop, lock = threading.Event(), threading.Lock()
    odd, acknowledged = [], {}

    def work():
        client = stack.client()
        while not stop.is_set():
            client.device = new_device()
            answer = client.post("/api/tokens")
            with lock:
                if answer.status == 200:
                    acknowledged[client.device] = answer.data["balance"]
                elif answer.status != 503:
                    odd.append(answer)
        client.close()
    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for _ in range(2):
        seen = len(acknowledged)
        wait_until(lambda: len(acknowledged) > seen + 50, 20, "work is done")
        if how == "kill9":
            server.kill9()
        else:
            server.stop(how)
        time.sleep(0.3)  # the outage
        server.start()
    seen = len(acknowledged)
    wait_until(lambda: len(acknowledged) > seen + 50, 20, "work is done again")
    stop.set()
    for worker in workers:
        worker.join()
    assert not odd, odd[:3]
    assert_books_are_right(server, url)
    stored = dict(server.query(
        url, "SELECT u.device_id, t.balance FROM users u JOIN user_tokens t ON t.user_id = u.id"))
    lost = {device for device, balance in acknowledged.items() if stored.get(device) != balance}
    assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged bonuses are not there"


@pytest.mark.quick
def test_read_only(make_stack, server, url):
    """A failover left a standby behind the address: writes are refused, then served again."""
    stack = make_stack(url)
    pids = stack.pids()
    client = stack.client()
    client.get("/api/tokens")
    server.write_settings(default_transaction_read_only="on")
    server.restart()
    try:
        assert_unavailable(client.post("/api/tokens"))
        assert_unavailable(client.post("/api/usage", {"action": "download"}))
        assert_unavailable(client.post("/api/generations", {"imageUrl": IMAGE}))
        assert_unavailable(client.delete("/api/user"))
        assert_unavailable(stack.client().get("/api/tokens"))  # whose account is to be opened
        assert client.get("/api/generations").status == 200  # what is known can be read
        assert client.get("/api/health").json["data"]["status"] == "degraded"
    finally:
        server.write_settings(default_transaction_read_only="off")
        server.reload()
    wait_until(lambda: client.post("/api/usage", {"action": "download"}).status == 201, 5,
               "writes are taken again")
    assert client.post("/api/tokens").status == 200
    assert stack.pids() == pids


def test_out_of_connections(make_stack, server, url):
    """53300: somebody else has them all. Served again as soon as there are some."""
    stack = make_stack(url)
    pids = stack.pids()
    clients = [stack.client() for _ in range(4)]
    assert clients[0].get("/api/user").status == 200
    with contextlib.ExitStack() as hoard:
        # As a role of its own, so that the superuser's reserve stays for the test.
        with server.admin() as admin:
            admin.cursor().execute(
                f'ALTER DATABASE "{database_name(url)}" CONNECTION LIMIT 3')
            admin.cursor().execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                                   " WHERE datname = %s", (database_name(url),))
        for _ in range(3):
            hoard.enter_context(server.connect(url))
        for client in clients:
            assert_unavailable(client.post("/api/tokens"))
            assert_unavailable(client.get("/api/user"))
    for client in clients:
        wait_until(lambda c=client: c.get("/api/user").status == 200, 5, "served again")
        assert client.post("/api/tokens").status == 200
    assert stack.pids() == pids


def test_a_database_that_does_not_exist_yet(make_handler, server):
    """Made while the handler runs: the first request after that bootstraps it."""
    name = f"late_{os.getpid()}"
    handler = make_handler("tokens", POSTGRES_URL=server.url(name))
    device = new_device()
    answer = handler.request("GET", "/api/tokens", device=device)
    assert answer.status == 503, answer
    with server.admin() as admin:
        admin.cursor().execute(f'CREATE DATABASE "{name}" OWNER dreamlens')
    assert handler.request("GET", "/api/tokens", device=device).data["balance"] == 5
    server.drop(server.url(name))


# --- an answer that is lost ---

@pytest.mark.quick
@pytest.mark.parametrize("prepared", ["prepared", "params"])
@pytest.mark.parametrize("times", [1, 2])
def test_the_answer_to_a_bonus_is_lost(make_handler, server, url, prepared, times):
    """Committed, and nobody learned of it: one entry, and the client gets its 200."""
    with PostgresProxy(server) as proxy:
        handler = make_handler("tokens", POSTGRES_URL=proxy.url(url), DB_PREPARED=prepared)
        pattern = bind_of("token_claim_bonus") if prepared == "prepared" else b"token_claim_bonus"
        for _ in range(5):
            device = new_device()
            handler.request("GET", "/api/tokens", device=device)
            before = proxy.cuts
            proxy.cut_answer_to(pattern, times)
            answer = handler.request("POST", "/api/tokens", device=device)
            assert proxy.cuts == before + times
            assert answer.status == 200, answer
            assert server.query(url, """
                SELECT count(*), sum(amount) FROM token_transactions e JOIN users u
                ON u.id = e.user_id WHERE u.device_id = %s""", (device,)) == [
                    (2, answer.data["balance"])]
            again = handler.request("POST", "/api/tokens", device=device)
            assert again.code == "bonus_already_claimed"
            balance = handler.request("GET", "/api/tokens", device=device).data["balance"]
            assert balance == answer.data["balance"] == 5 + answer.data["tokensAwarded"]


@pytest.mark.parametrize("name,method,path,body,query,count", [
    ("tokens", "GET", "/api/tokens", None, "account_open",
     "SELECT count(*) FROM users"),
    ("generations", "POST", "/api/generations", {"imageUrl": IMAGE}, "generation_record",
     "SELECT count(*) FROM generations"),
    ("usage", "POST", "/api/usage", {"action": "download"}, "usage_record",
     "SELECT count(*) FROM usage_logs"),
])
def test_the_answer_to_another_write_is_lost(make_handler, server, url, name, method, path, body,
                                             query, count):
    """Repeated with the same id: there once."""
    with PostgresProxy(server) as proxy:
        handler = make_handler(name, POSTGRES_URL=proxy.url(url), DB_PREPARED="prepared")
        device = new_device()
        if query == "account_open":
            # Prepared by somebody else's first request, so that only the execution is cut.
            handler.request("GET", path, device=new_device())
        else:
            handler.request(method, path, device=new_device(), body=body)
            handler.request("GET", path, device=device)
        before, cuts = server.value(url, count), proxy.cuts
        proxy.cut_answer_to(bind_of(query))
        answer = handler.request(method, path, device=device, body=body)
        assert proxy.cuts == cuts + 1
        assert answer.status in (200, 201), answer
        assert server.value(url, count) == before + 1
        if "generation" in answer.data:
            assert server.value(url, "SELECT id::text FROM generations ORDER BY created_at DESC"
                                     " LIMIT 1") == answer.data["generation"]["id"]
        if name == "usage":
            assert answer.data["remaining"] == 59


def test_the_answer_to_an_erasure_or_deletion_is_lost(make_handler, server, url):
    with PostgresProxy(server) as proxy:
        generations = make_handler("generations", POSTGRES_URL=proxy.url(url),
                                   DB_PREPARED="prepared")
        user = make_handler("user", POSTGRES_URL=proxy.url(url), DB_PREPARED="prepared",
                            shared_memory=generations.shared_memory)
        device = new_device()
        made = [generations.request("POST", "/api/generations", device=device,
                                    body={"imageUrl": IMAGE}).data["generation"]["id"]
                for _ in range(2)]
        generations.request("DELETE", f"/api/generations/{made[0]}", device=device)
        proxy.cut_answer_to(bind_of("generation_delete"))
        answer = generations.request("DELETE", f"/api/generations/{made[1]}", device=device)
        assert answer.status in (204, 404), answer  # gone, and the contract has no third answer
        assert server.value(url, "SELECT count(*) FROM generations") == 0
        user.request("DELETE", "/api/user", device=new_device())
        proxy.cut_answer_to(bind_of("user_erase"))
        answer = user.request("DELETE", "/api/user", device=device)
        assert answer.status == 204, answer
        assert server.value(url, "SELECT count(*) FROM user_identities") == 0


def test_a_request_that_never_reached_the_server(make_handler, server, url):
    with PostgresProxy(server) as proxy:
        handler = make_handler("tokens", POSTGRES_URL=proxy.url(url), DB_PREPARED="prepared")
        device = new_device()
        handler.request("POST", "/api/tokens", device=new_device())
        handler.request("GET", "/api/tokens", device=device)
        proxy.cut_request_with(bind_of("token_claim_bonus"), 2)
        assert handler.request("POST", "/api/tokens", device=device).status == 200
        assert_books_are_right(server, url)


def test_lost_three_times_is_told_as_unknown_and_never_doubled(make_handler, server, url):
    with PostgresProxy(server) as proxy:
        handler = make_handler("tokens", POSTGRES_URL=proxy.url(url), DB_PREPARED="params")
        device = new_device()
        handler.request("GET", "/api/tokens", device=device)
        proxy.cut_answer_to(b"token_claim_bonus", 3)
        assert_unavailable(handler.request("POST", "/api/tokens", device=device))
        assert_books_are_right(server, url)
        # The balance is the stored one, not a cached one from before.
        data = handler.request("GET", "/api/tokens", device=device).data
        assert data["balance"] == server.value(url, "SELECT balance FROM user_tokens")
        assert data["canClaimBonus"] is False


def test_connections_cut_while_idle(make_handler, server, url):
    """A dead connection shows OK until it is used: the request does not fail of it."""
    with PostgresProxy(server) as proxy:
        handler = make_handler("tokens", POSTGRES_URL=proxy.url(url))
        for _ in range(5):
            device = new_device()
            assert handler.request("GET", "/api/tokens", device=device).status == 200
            proxy.drop_all()
            assert handler.request("POST", "/api/tokens", device=device).status == 200


# --- deadlines ---

@pytest.mark.parametrize("milliseconds", [500, 1500])
def test_a_frozen_server_costs_the_deadline_and_no_more(make_handler, server, url, milliseconds):
    handler = make_handler("tokens", POSTGRES_URL=url, DB_TIMEOUT_MS=str(milliseconds))
    device = new_device()
    handler.request("GET", "/api/tokens", device=device)
    frozen = server.freeze(database_name(url))
    assert frozen
    # The postmaster too: a new connection gets no answer either.
    server.process.send_signal(signal.SIGSTOP)
    try:
        start = time.monotonic()
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(
            handler.request("POST", "/api/tokens", device=device))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - start
    finally:
        server.process.send_signal(signal.SIGCONT)
        for pid in frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    assert {answer.status for answer in answers} == {503}, answers
    assert all(answer.headers["Retry-After"] for answer in answers)
    # A connection attempt has connect_timeout, which is 3 s and at least 2 s in libpq.
    assert milliseconds / 1000 * 0.9 <= took < milliseconds / 1000 + 4.5, took
    answer = handler.request("POST", "/api/tokens", device=device)
    assert answer.status in (200, 400)
    assert_books_are_right(server, url)


def test_a_proxy_that_says_nothing(make_handler, server, url):
    """Neither an answer nor an end: the deadline ends it, and the next request is served."""
    with PostgresProxy(server) as proxy:
        handler = make_handler("tokens", POSTGRES_URL=proxy.url(url), DB_TIMEOUT_MS="700")
        device = new_device()
        handler.request("GET", "/api/tokens", device=device)
        proxy.silent = True
        start = time.monotonic()
        assert_unavailable(handler.request("POST", "/api/tokens", device=device))
        assert time.monotonic() - start < 6
        proxy.silent = False
        proxy.drop_all()
        assert handler.request("POST", "/api/tokens", device=device).status in (200, 400)
        assert_books_are_right(server, url)


def test_a_lock_that_is_never_given_up(make_handler, server, url):
    """Other accounts are served meanwhile, although the pool is small."""
    handler = make_handler("tokens", POSTGRES_URL=url, DB_TIMEOUT_MS="800", DB_POOL_SIZE="2")
    blocked, other = new_device(), new_device()
    for device in (blocked, other):
        handler.request("GET", "/api/tokens", device=device)
    with server.connect(url, autocommit=False) as blocker:
        blocker.cursor().execute("""
            SELECT 1 FROM user_tokens t JOIN users u ON u.id = t.user_id WHERE u.device_id = %s
            FOR UPDATE OF t""", (blocked,))
        start = time.monotonic()
        answer = handler.request("POST", "/api/tokens", device=blocked)
        took = time.monotonic() - start
        assert_unavailable(answer)
        assert 0.7 < took < 3, took
        assert handler.request("POST", "/api/tokens", device=other).status == 200
        blocker.rollback()
    # What the handler gave up may still have been carried out once the lock was free.
    assert handler.request("POST", "/api/tokens", device=blocked).status in (200, 400)
    assert_books_are_right(server, url)


def test_more_requests_than_connections(make_handler, server, url):
    """32 at once over a pool of one: each waits its turn."""
    handler = make_handler("tokens", POSTGRES_URL=url, DB_POOL_SIZE="1", THREADS="32")
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(
        handler.request("POST", "/api/tokens", device=new_device()))) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status for answer in answers] == [200] * 32
    assert server.value(url, "SELECT count(*) FROM pg_stat_activity WHERE datname ="
                             " current_database() AND application_name LIKE '%%tokens%%'") <= 1


def test_retries_are_counted_and_the_failure_is_logged_once(make_handler, server, url):
    handler = make_handler("tokens", POSTGRES_URL=url)
    device = new_device()
    handler.request("GET", "/api/tokens", device=device)
    server.stop("immediate")
    start = time.monotonic()
    assert_unavailable(handler.request("POST", "/api/tokens", device=device))
    assert 0.15 < time.monotonic() - start < 3  # 100 ms and 200 ms, half of each at random
    errors = [event for event in handler.events() if event["level"] == "error"]
    assert len(errors) == 1 and errors[0]["query"] == "token_claim_bonus", errors
    assert errors[0]["request_id"]
