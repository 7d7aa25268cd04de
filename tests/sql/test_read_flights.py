"""Reads that travel together: a statement for many requests answers each of them its own."""

import fcntl
import struct
import termios

import pytest

from tests.support.fastcgi import PARAMS, STDIN, Handler, begin, name_values, parameters, stream
from tests.support.process import wait_until
from tests.support.sessions import ERASE
from tests.support.stack import new_device

KNOWN = 6
FIRST_BALANCE = 1000


def ask(handler, device):
    """Sends a request for the balance of a device; returns the connection."""
    connection = handler.connect()
    params = parameters("GET", "/api/tokens", device)
    connection.send(begin() + stream(PARAMS, name_values(params)) + stream(STDIN, b""))
    return connection


def was_read(connection):
    """Whether the handler has taken all that was sent."""
    left = fcntl.ioctl(connection.socket, termios.TIOCOUTQ, b"\0" * 4)
    return struct.unpack("i", left)[0] == 0


def flights(binaries, handler, query):
    """How many statements of that name the handler has run."""
    with Handler(binaries, "metrics", shared_memory=handler.shared_memory) as metrics:
        text = metrics.request("GET", "/metrics", REMOTE_ADDR="127.0.0.1").body.decode()
    start = f'db_query_duration_seconds_count{{query="{query}"}} '
    return sum(int(line.removeprefix(start)) for line in text.splitlines()
               if line.startswith(start))


def prepare(cluster, database, handler):
    """Accounts whose identities are cached and their balances not. Returns what to expect: known
    people, some of them twice; one whose account was erased behind the handler's back, who gets a
    new one; new people."""
    known = [new_device() for _ in range(KNOWN)]
    with handler.connect() as connection:
        for device in known:
            connection.request("GET", "/api/tokens/transactions", device=device)
    for number, device in enumerate(known):
        cluster.query(database, "UPDATE user_tokens SET balance = %s WHERE user_id ="
                      " (SELECT id FROM users WHERE device_id = %s)",
                      (FIRST_BALANCE + number, device))
    erase_device = ERASE.replace("%s::uuid", "(SELECT id FROM users WHERE device_id = %s)")
    cluster.query(database, erase_device, (known[0],))
    # The plan is kept while the renewal of a period that is over is tried again.
    cluster.query(database, """
        INSERT INTO subscriptions (user_id, plan, status, current_period_end, payment_method_id)
        SELECT id, 'pro', 'active', (now() AT TIME ZONE 'utc') - interval '1 hour', 'method'
        FROM users WHERE device_id = %s""", (known[1],))
    expected = [(device, FIRST_BALANCE + number) for number, device in enumerate(known)][1:]
    return [(new_device(), 5), *expected, *expected[1:4], (known[0], 5), (new_device(), 5)]


@pytest.mark.parametrize("table, query", [
    ("user_identities", "identity_find_flight"), ("user_tokens", "token_status_flight")])
def test_each_gets_its_own(cluster, database, make_handler, binaries, table, query):
    """Requests that queued behind a locked table are answered as if each had come alone."""
    options = {"POSTGRES_URL": database, "THREADS": "64"}
    handler = make_handler("tokens", **options)
    expected = prepare(cluster, database, handler)
    if table == "user_identities":
        handler = make_handler("tokens", **options)  # with a cache of its own, which is empty
    before = flights(binaries, handler, query)
    with cluster.connect(database, autocommit=False) as blocker:
        blocker.cursor().execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        connections = [ask(handler, device) for device, _ in expected]
        wait_until(lambda: all(map(was_read, connections)), 10, "every request is read")
        blocker.rollback()
        answers = [connection.receive() for connection in connections]
    for connection in connections:
        connection.close()
    assert [answer.data["balance"] for answer in answers] == [money for _, money in expected]
    assert [answer.data["plan"] for answer in answers] == [
        "pro" if money == FIRST_BALANCE + 1 else "free" for _, money in expected]
    assert flights(binaries, handler, query) > before
