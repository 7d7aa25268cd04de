"""Debian's PgBouncer 1.18 in transaction mode: a statement may meet another server connection."""

import threading

import pytest

from tests.handlers.test_generations import IMAGE
from tests.support.fastcgi import Handler
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import database_name
from tests.support.stack import SECRET, new_device


@pytest.fixture(scope="module")
def pooler(cluster):
    """Two server connections a database, for handlers that open four each."""
    with PgBouncer(cluster, pool_size=2) as made:
        yield made


def load(handlers, rounds):
    """Reads and writes through every handler at once; returns the answers that were not good."""
    bad = []

    def work(name, handler, index):
        with handler.connect() as connection:
            for number in range(rounds):
                device = f"device_pooled_{index:02}_{number % 7:06}_{name}"
                requests = {
                    "tokens": [("GET", "/api/tokens", None), ("POST", "/api/tokens", None),
                               ("GET", "/api/tokens/transactions", None)],
                    "generations": [("GET", "/api/generations", None),
                                    ("POST", "/api/generations", {"imageUrl": IMAGE})],
                }[name]
                for method, path, body in requests:
                    answer = connection.request(method, path, device=device, body=body)
                    expected = (200, 201, 429) if method == "POST" else (200,)
                    again = answer.status == 400 and answer.code == "bonus_already_claimed"
                    if answer.status not in expected and not again:
                        bad.append((name, method, path, answer))
    threads = [threading.Thread(target=work, args=(handler.name, handler, index))
               for index, handler in enumerate(handlers * 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return bad


def assert_books_are_right(cluster, url):
    """Balances are the sums of their entries, and nobody was paid twice."""
    assert cluster.value(url, """
        SELECT count(*) FROM user_tokens t WHERE t.balance <>
        (SELECT coalesce(sum(amount), 0) FROM token_transactions e WHERE e.user_id = t.user_id)
        """) == 0
    assert cluster.value(url, """
        SELECT count(*) FROM (SELECT user_id FROM token_transactions GROUP BY user_id
                              HAVING count(*) > 2) x""") == 0


@pytest.mark.parametrize("prepared", ["params", "auto"])
def test_no_request_fails_behind_the_pooler(cluster, template, binaries, pooler, prepared):
    """Two handlers on one database and two on another, all through the same two connections."""
    urls = [cluster.create_database(template) for _ in range(2)]
    handlers = [Handler(binaries, name, POSTGRES_URL=pooler.url(database_name(url)),
                        DB_PREPARED=prepared)
                for url in urls for name in ("tokens", "generations")]
    try:
        assert load(handlers, 25) == []
        for url in urls:
            assert_books_are_right(cluster, url)
        told = [event for handler in handlers for event in handler.events()
                if event["message"].startswith("prepared statements do not last")]
        assert len(told) <= len(handlers)  # once a process
        assert bool(told) is (prepared == "auto")
    finally:
        for handler in handlers:
            handler.close()
        for url in urls:
            cluster.drop(url)


def test_prepared_without_a_pooler(database, make_handler, cluster):
    """Prepared statements are used where they last, and named once a connection."""
    handler = make_handler("tokens", POSTGRES_URL=database, DB_PREPARED="prepared")
    assert load([handler], 30) == []
    assert_books_are_right(cluster, database)


def test_prepared_behind_the_pooler_is_never_wrong(database, make_handler, cluster, pooler):
    """The operator insisted: a request may have to be repeated, nothing is counted twice."""
    handler = make_handler("tokens", POSTGRES_URL=pooler.url(database_name(database)),
                           DB_PREPARED="prepared")
    bad = load([handler], 10)
    assert {answer.status for *_, answer in bad} <= {503}
    assert_books_are_right(cluster, database)


def test_auto_notices_once_and_stays(database, make_handler, pooler, cluster):
    """A name that another process prepared on the same server connection."""
    url = pooler.url(database_name(database))
    handlers = [make_handler("tokens", POSTGRES_URL=url, DB_PREPARED="auto") for _ in range(2)]
    assert load(handlers, 20) == []
    for handler in handlers:
        told = [event for event in handler.events() if "prepared" in event["message"]]
        assert len(told) <= 1
    assert_books_are_right(cluster, database)


@pytest.mark.parametrize("direct", [True, False])
def test_bootstrap_of_a_database_behind_a_pooler(cluster, empty_database, binaries, direct):
    """Over POSTGRES_URL_NON_POOLING where it is set; through the pooler it works as well."""
    with PgBouncer(cluster) as pooler:
        environment = {"POSTGRES_URL": pooler.url(database_name(empty_database))}
        if direct:
            environment["POSTGRES_URL_NON_POOLING"] = empty_database
        with Handler(binaries, "tokens", **environment) as handler:
            answer = handler.request("GET", "/api/tokens", device=new_device())
            assert answer.data["balance"] == 5
            assert handler.request("POST", "/api/tokens", device=new_device()).status == 200
        with Handler(binaries, "init-db", **environment) as handler:
            answer = handler.request("POST", f"/api/init-db?secret={SECRET}")
            assert answer.data["applied"] == []


def test_schema_work_goes_past_the_pooler(cluster, empty_database, binaries, pooler):
    """Seen by the name of the database: the direct URL leads to another one."""
    other = cluster.create_database()
    with Handler(binaries, "init-db", POSTGRES_URL=pooler.url(database_name(empty_database)),
                 POSTGRES_URL_NON_POOLING=other) as handler:
        assert handler.request("POST", f"/api/init-db?secret={SECRET}").status == 200
    count = "SELECT count(*) FROM pg_class WHERE relname = 'users'"
    assert (cluster.value(other, count), cluster.value(empty_database, count)) == (1, 0)
    cluster.drop(other)


def test_a_pooler_that_restarts(cluster, database, binaries):
    pooler = PgBouncer(cluster)
    with Handler(binaries, "tokens", POSTGRES_URL=pooler.url(database_name(database))) as handler:
        device = new_device()
        assert handler.request("GET", "/api/tokens", device=device).status == 200
        pooler.close()
        answer = handler.request("POST", "/api/tokens", device=device)
        assert answer.status == 503 and answer.headers["Retry-After"]
