"""One handler on its socket, spoken to in FastCGI records: what the serve loop promises."""

import contextlib
import os
import random
import signal
import socket
import struct
import threading
import time

import pytest

from tests.handlers.test_generations import IMAGE
from tests.support.fastcgi import (ABORT_REQUEST, PARAMS, STDIN, Closed, Connection, Handler,
                                   begin, name_values, parameters, record, stream)
from tests.support.process import alive, resident_kib, wait_until
from tests.support.stack import new_device

GET_VALUES, DATA, UNKNOWN = 9, 8, 200


@pytest.fixture(scope="module")
def shared(cluster, template, binaries):
    """Handlers that the tests of this module do not harm: {name: Handler}."""
    url = cluster.create_database(template)
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(Handler(binaries, name, POSTGRES_URL=url))
               for name in ("tokens", "generations")}
    cluster.drop(url)


@pytest.fixture
def generations(shared):
    """The handler of generations, alive before and after."""
    yield shared["generations"]
    assert shared["generations"].process.poll() is None
    assert shared["generations"].request(
        "GET", "/api/generations", device=new_device()).status == 200


def request_bytes(method, path, body=b"", piece=65535, **options):
    """A whole request in records of at most piece bytes."""
    params = parameters(method, path, body=body, **options)
    return begin() + stream(PARAMS, name_values(params), piece=piece) + stream(
        STDIN, body, piece=piece)


def test_a_kept_connection_serves_many_requests(generations):
    device = new_device()
    with generations.connect() as connection:
        for _ in range(200):
            assert connection.request("GET", "/api/generations", device=device).status == 200


def test_a_connection_that_is_not_kept_is_closed(generations):
    with generations.connect() as connection:
        assert connection.request("GET", "/api/generations", device=new_device(),
                                  keep=False).status == 200
        assert connection.socket.recv(1) == b""


@pytest.mark.parametrize("piece", [1, 2, 7, 8, 9, 100, 4096])
def test_records_of_any_size(generations, piece):
    body = b'{"imageUrl":"' + IMAGE.encode() + b'","promptUsed":"' + b"p" * 2000 + b'"}'
    with generations.connect() as connection:
        for _ in range(2):
            connection.send(request_bytes("POST", "/api/generations", body, piece,
                                          device=new_device()))
            assert connection.receive().status == 201


def test_bytes_that_arrive_one_by_one(generations):
    with generations.connect() as connection:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
        for byte in request_bytes("POST", "/api/generations", b'{"imageUrl":"x"}',
                                  device=new_device()):
            connection.send(bytes([byte]))
        assert connection.receive().status == 201


@pytest.mark.parametrize("padding", [1, 7, 255])
def test_padding_is_skipped(generations, padding):
    body = b'{"imageUrl":"x"}'
    params = name_values(parameters("POST", "/api/generations", new_device(), body))
    with generations.connect() as connection:
        for _ in range(3):
            connection.send(begin() + record(PARAMS, params, padding=padding) + record(PARAMS)
                            + record(STDIN, body, padding=padding) + record(STDIN))
            assert connection.receive().status in (201, 429)


def test_any_request_id(generations):
    for number in (1, 2, 255, 256, 65535):
        params = name_values(parameters("GET", "/api/generations", new_device()))
        with generations.connect() as connection:
            connection.send(begin(number) + stream(PARAMS, params, number)
                            + stream(STDIN, b"", number))
            assert connection.receive(number).status == 200


@pytest.mark.parametrize("sent", [0, 1, 10])
def test_a_body_that_ends_early(generations, sent):
    """The connection closes before the declared length: nothing is done."""
    device = new_device()
    body = b'{"imageUrl":"x"}'
    params = parameters("POST", "/api/generations", device, body)
    with generations.connect() as connection:
        connection.send(begin() + stream(PARAMS, name_values(params)))
        if sent:
            connection.send(record(STDIN, body[:sent]))
    with generations.connect() as connection:  # the stream ends, the length says otherwise
        connection.send(begin() + stream(PARAMS, name_values(params)) + stream(STDIN, body[:sent]))
        try:
            assert connection.receive().status == 400
        except Closed:
            pass
    answer = generations.request("GET", "/api/generations", device=device)
    assert answer.data["total"] == 0


@pytest.mark.parametrize("length", [
    "0", "1", "15", "17", "-1", "+16", "16 ", "x", "1e1", "99999999999999999999999", "4294967312",
    "18446744073709551632", "9223372036854775807"])
def test_a_content_length_that_is_not_the_bodys(generations, length):
    device = new_device()
    body = b'{"imageUrl":"x"}'
    params = parameters("POST", "/api/generations", device, body, CONTENT_LENGTH=length)
    with generations.connect() as connection:
        connection.send(begin() + stream(PARAMS, name_values(params)) + stream(STDIN, body))
        try:
            assert connection.receive().status == 400
        except Closed:
            pass
    assert generations.request("GET", "/api/generations", device=device).data["total"] == 0


def test_a_body_without_content_length_is_read_to_its_end(generations):
    body = b'{"imageUrl":"x"}'
    for missing in (None, ""):
        params = parameters("POST", "/api/generations", new_device(), body, CONTENT_LENGTH=missing)
        with generations.connect() as connection:
            connection.send(begin() + stream(PARAMS, name_values(params)) + stream(STDIN, body))
            assert connection.receive().status == 201


@pytest.mark.parametrize("size", [192 * 1024 + 1, 300_000, 5_000_000])
def test_a_body_above_the_cap(generations, size):
    """Answered, and the next request on whatever connection is not out of step."""
    device = new_device()
    with generations.connect() as connection:
        sender = threading.Thread(target=lambda: _send_all(
            connection, request_bytes("POST", "/api/generations", b" " * size, device=device)))
        sender.start()
        answer = connection.receive()
        assert (answer.status, answer.code) == (413, "body_too_large")
        sender.join(10)
    assert generations.request("GET", "/api/generations", device=device).data["total"] == 0


def _send_all(connection, data):
    try:
        connection.send(data)
    except OSError:
        pass


def test_a_client_that_leaves_before_its_answer(generations):
    device = new_device()
    for _ in range(20):
        with generations.connect() as connection:
            connection.send(request_bytes("GET", "/api/generations", device=device))
    assert generations.request("GET", "/api/generations", device=device).status == 200


def test_an_aborted_request(generations):
    """FastCGI specification 5.4. nginx closes instead, and that is served as well."""
    params = name_values(parameters("POST", "/api/generations", new_device(), b"x" * 16))
    with generations.connect() as connection:
        connection.send(begin() + stream(PARAMS, params) + record(STDIN, b"x")
                        + record(ABORT_REQUEST))
        connection.socket.settimeout(8)
        try:
            connection.receive()
        except Closed:
            pass


GARBAGE = {
    "not a record": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "zeros": b"\0" * 4096,
    "ones": b"\xff" * 4096,
    "another version": struct.pack(">BBHHBx", 2, 1, 1, 8, 0) + b"\0" * 8,
    "begin too short": record(1, b"\0\1"),
    "begin twice": begin() + begin(2),
    "no begin": stream(PARAMS, b"") + stream(STDIN, b""),
    "an authorizer": begin(role=2) + stream(PARAMS, b"") + stream(STDIN, b""),
    "a filter": begin(role=3) + stream(PARAMS, b"") + stream(STDIN, b""),
    "an unknown role": begin(role=77) + stream(PARAMS, b"") + stream(STDIN, b""),
    "an unknown type": begin() + record(UNKNOWN, b"x") + stream(PARAMS, b"") + stream(STDIN, b""),
    "a name beyond the record": begin() + stream(PARAMS, b"\x7f\x01AB") + stream(STDIN, b""),
    "a name of 2 GB": begin() + stream(PARAMS, b"\xff\xff\xff\xff\x01A") + stream(STDIN, b""),
    "a value of 2 GB": begin() + stream(PARAMS, b"\x01\xff\xff\xff\xffA") + stream(STDIN, b""),
    "a name of nearly 2 GB": begin() + stream(PARAMS, b"\xff\xff\xff\xfe\x00"),
    "2 GB together": begin() + stream(PARAMS, b"\xc0\x00\x00\x00\xc0\x00\x00\x00A"),
    "half a length": begin() + stream(PARAMS, b"\x80\x00") + stream(STDIN, b""),
    "empty names": begin() + stream(PARAMS, b"\0\0" * 500) + stream(STDIN, b""),
    "NUL in a value": begin() + stream(PARAMS, b"\x01\x02A\0b") + stream(STDIN, b""),
    "data records": begin() + stream(PARAMS, b"") + stream(DATA, b"x") + stream(STDIN, b""),
    "values asked for": record(GET_VALUES, b"\x0f\0FCGI_MAX_CONNS\0", 0),
    "a header cut off": b"\x01\x01\x00",
    "content cut off": begin()[:-3],
    "parameters cut off": begin() + record(PARAMS, b"\x05\x05HELLO")[:-2],
}


@pytest.mark.parametrize("name", GARBAGE)
def test_what_is_no_request(generations, name):
    """Some answer or a closed connection, soon; the worker lives and no memory is touched."""
    for _ in range(3):
        with generations.connect(timeout=8) as connection:
            try:
                connection.send(GARBAGE[name])
                connection.socket.shutdown(socket.SHUT_WR)
                while connection.socket.recv(65536):
                    pass
            except OSError as problem:
                assert not isinstance(problem, TimeoutError)


def test_random_bytes(generations):
    """Nothing a random number generator sends takes the handler down."""
    source = random.Random(20240229)
    whole = request_bytes("POST", "/api/generations", b'{"imageUrl":"x"}', device=new_device())
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(source.randint(1, 12)):
            data[source.randrange(len(data))] = source.randrange(256)
        if source.random() < 0.3:
            del data[source.randrange(len(data)):]
        with generations.connect(timeout=8) as connection:
            try:
                connection.send(bytes(data))
                connection.socket.shutdown(socket.SHUT_WR)
                while connection.socket.recv(65536):
                    pass
            except OSError as problem:
                assert not isinstance(problem, TimeoutError), bytes(data)


def test_no_parameters_at_all(generations):
    with generations.connect() as connection:
        connection.send(begin() + stream(PARAMS, b"") + stream(STDIN, b""))
        assert connection.receive().status == 401  # GET of the first route, without an identity


@pytest.mark.parametrize("missing", ["REQUEST_METHOD", "DOCUMENT_URI", "QUERY_STRING",
                                     "CONTENT_TYPE", "REMOTE_ADDR", "REQUEST_ID"])
def test_a_missing_parameter(generations, missing):
    params = {missing: None}
    answer = generations.request("GET", "/api/generations", device=new_device(), **params)
    assert answer.status == 200
    answer = generations.request("POST", "/api/generations", device=new_device(),
                                 body={"imageUrl": "x"}, **params)
    assert answer.status == (200 if missing == "REQUEST_METHOD" else 201)


def test_huge_parameters(generations):
    """nginx refuses them; a handler on its own survives them."""
    for name in ("QUERY_STRING", "HTTP_AUTHORIZATION", "REQUEST_ID", "REMOTE_ADDR", "DOCUMENT_URI",
                 "HTTP_ORIGIN", "HTTP_ACCEPT_LANGUAGE", "REQUEST_METHOD"):
        answer = generations.request("GET", "/api/generations", **{name: "a" * 500_000})
        assert answer.status in (200, 401, 404, 405)
    many = {f"HTTP_X_{number}": "v" * 100 for number in range(3000)}
    assert generations.request("GET", "/api/generations", device=new_device(),
                               **many).status == 200


def test_a_second_request_sent_before_the_first_answer(generations):
    """nginx does not do it; both are answered in order, or the second is not read."""
    device = new_device()
    with generations.connect(timeout=1) as connection:
        connection.send(request_bytes("GET", "/api/generations", device=device) * 2)
        assert connection.receive().status == 200
        try:
            assert connection.receive().status == 200
        except (Closed, TimeoutError):
            pass


# --- threads ---

@pytest.mark.quick
def test_idle_connections_pin_no_thread(make_handler, database):
    """Stock libfcgi: 2 threads and 8 kept connections, and 8 of 8 later requests time out."""
    handler = make_handler("tokens", POSTGRES_URL=database, THREADS="2")
    device = new_device()
    kept = [handler.connect() for _ in range(64)]
    for connection in kept:
        assert connection.request("GET", "/api/tokens", device=device).status == 200
    silent = [handler.connect() for _ in range(64)]  # have not said anything yet
    start = time.monotonic()
    for _ in range(8):
        assert handler.request("GET", "/api/tokens", device=device).status == 200
    for connection in kept + silent:
        assert connection.request("GET", "/api/tokens", device=device).status == 200
        connection.close()
    assert time.monotonic() - start < 2


def test_half_a_request_holds_a_thread_for_a_while_only(make_handler, database):
    handler = make_handler("tokens", POSTGRES_URL=database, THREADS="2")
    half = [handler.connect() for _ in range(2)]
    for connection in half:
        connection.send(begin()[:12])
    start = time.monotonic()
    with handler.connect(timeout=25) as connection:
        assert connection.request("GET", "/api/tokens", device=new_device()).status == 200
    assert time.monotonic() - start < 20
    for connection in half:
        connection.close()


def test_a_reader_that_does_not_read_holds_a_thread_for_a_while_only(make_handler, database,
                                                                     cluster):
    """An answer larger than the socket's buffer, and nobody takes it."""
    handler = make_handler("user", POSTGRES_URL=database, THREADS="2")
    device = new_device()
    handler.request("GET", "/api/user", device=device)
    cluster.query(database, """
        INSERT INTO generations (user_id, id, image_url)
        SELECT id, gen_random_uuid(), repeat('u', 4000) FROM users, generate_series(1, 3000)""")
    lazy = [handler.connect() for _ in range(2)]
    for connection in lazy:
        connection.send(request_bytes("GET", "/api/user/export", device=device))
    start = time.monotonic()
    with handler.connect(timeout=25) as connection:
        assert connection.request("GET", "/api/user", device=device).status == 200
    assert time.monotonic() - start < 20
    for connection in lazy:
        connection.close()


@pytest.mark.quick
def test_the_loop_batches_until_it_has_to_wait(make_handler, database):
    """The thread that serves what is cached does not preempt nginx; one that waits for the database
    is no such thread any more."""
    handler = make_handler("tokens", POSTGRES_URL=database)
    device = new_device()

    def batching():
        return sum(os.sched_getscheduler(int(thread)) == os.SCHED_BATCH
                   for thread in os.listdir(f"/proc/{handler.process.pid}/task"))
    assert batching() == 0
    with handler.connect() as connection:
        for _ in range(5):
            connection.request("GET", "/api/tokens", device=device)
        wait_until(lambda: batching() == 1, what="the loop stayed with its thread")
        connection.request("GET", "/api/tokens", device=new_device())
        wait_until(lambda: batching() == 0, what="the loop went to another thread")


@pytest.mark.quick
def test_many_connections_leave_nothing_behind(make_handler, database):
    handler = make_handler("tokens", POSTGRES_URL=database)
    device = new_device()
    folder = f"/proc/{handler.process.pid}/fd"

    def turn(count):
        for _ in range(count):
            assert handler.request("GET", "/api/tokens", device=device).status == 200
            handler.connect().close()
    turn(100)
    wait_until(lambda: len(os.listdir(folder)) < 40, 5, "closed connections are closed")
    descriptors, memory = len(os.listdir(folder)), resident_kib(handler.process.pid)
    turn(1500)
    wait_until(lambda: len(os.listdir(folder)) <= descriptors + 4, 5, "no descriptor is left")
    # AddressSanitizer keeps freed memory aside, 256 MB at most.
    room = 300 if "/asan/" in handler.binary else 8
    assert resident_kib(handler.process.pid) < memory + room * 1024


# --- signals ---

@pytest.mark.quick
def test_sigterm_ends_an_idle_handler_within_a_second(make_handler, database):
    handler = make_handler("tokens", POSTGRES_URL=database)
    handler.request("GET", "/api/tokens", device=new_device())
    assert handler.stop(5) < 1
    assert [event["message"] for event in handler.events()][-1] == "stopped"


def test_sigterm_right_after_the_start(make_handler, database):
    for _ in range(5):
        assert make_handler("health", POSTGRES_URL=database).stop(5) < 1


def test_sigint_does_the_same(make_handler, database):
    handler = make_handler("tokens", POSTGRES_URL=database)
    handler.process.send_signal(signal.SIGINT)
    assert handler.process.wait(2) == 0


def test_what_runs_is_finished_after_sigterm(make_handler, database, cluster):
    """And a request that nginx sends on a kept connection meanwhile is served."""
    handler = make_handler("tokens", POSTGRES_URL=database)
    device = new_device()
    with handler.connect() as running, handler.connect() as kept:
        for connection in (running, kept):
            connection.request("GET", "/api/tokens", device=device)
        with cluster.connect(database, autocommit=False) as blocker:
            blocker.cursor().execute("SELECT 1 FROM user_tokens FOR UPDATE")
            running.send(request_bytes("POST", "/api/tokens", device=device))
            wait_until(lambda: cluster.value(database, """
                SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
                AND datname = current_database()""") > 0, 10, "the claim waits")
            handler.process.send_signal(signal.SIGTERM)
            time.sleep(0.1)  # nothing to wait for: it must not have ended by then
            assert alive(handler.process.pid)
            assert kept.request("GET", "/api/tokens", device=device).status == 200
            blocker.rollback()
        assert running.receive().status == 200
    start = time.monotonic()
    assert handler.process.wait(5) == 0
    assert time.monotonic() - start < 1


def test_connections_that_come_after_sigterm_wait_for_the_next_process(make_handler, database):
    handler = make_handler("tokens", POSTGRES_URL=database)
    device = new_device()
    old = handler.process
    with handler.connect() as kept:
        kept.request("GET", "/api/tokens", device=device)
        old.send_signal(signal.SIGTERM)
        wait_until(lambda: not _accepts(handler), 5, "it accepts no more")
        waiting = Connection(handler.path)
        waiting.send(request_bytes("GET", "/api/tokens", device=device))
        handler.start()
        assert waiting.receive().status == 200
        waiting.close()
        assert kept.request("GET", "/api/tokens", device=device).status == 200
    assert old.wait(5) == 0


def _accepts(handler):
    """Whether a connection is answered at once."""
    try:
        with handler.connect(timeout=0.1) as connection:
            connection.request("GET", "/api/nothing")
            return True
    except TimeoutError:
        return False


def test_a_silent_connection_does_not_hold_up_the_end_for_ever(make_handler, database):
    handler = make_handler("tokens", POSTGRES_URL=database)
    with handler.connect() as kept:
        kept.request("GET", "/api/tokens", device=new_device())
        assert handler.stop(12) < 10
