"""The edge: what nginx stops, what it never says, whom it believes."""

import contextlib
import os
import re
import secrets
import signal
import socket
import ssl
import time

import pytest

from tests.support import logs
from tests.support.process import wait_until
from tests.support.raw_http import answers, away, connect, exchange, quick, receive, request
from tests.support.stack import SECRET, Stack, new_device

HEADERS = {
    "strict-transport-security": "max-age=63072000",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "server": "nginx",
}
# What tells an attacker which hole to look for.
BANNER = re.compile(rb"(nginx|openresty|openssl|libfcgi|postgres\w*|libpq)[/ ]v?\d", re.IGNORECASE)
SMUGGLED = "/api/tokens/transactions"


# --- request smuggling ---

SECOND = request("GET", SMUGGLED)
CHUNKED = b"2\r\n{}\r\n0\r\n\r\n"
LENGTH_OF_SECOND = str(len(SECOND))

# name: (header lines, body, statuses that are right). Behind each comes a second request; whether
# the server takes it for one depends on whether both sides agree where the first one ends.
REFUSED = {
    "length and chunks": (("Content-Length: 4", "Transfer-Encoding: chunked"), CHUNKED),
    "chunks and length": (("Transfer-Encoding: chunked", "Content-Length: 4"), CHUNKED),
    "two lengths": (("Content-Length: 0", "Content-Length: " + LENGTH_OF_SECOND), b""),
    "the same length twice": (("Content-Length: 0", "Content-Length: 0"), b""),
    "a list of lengths": (("Content-Length: 0, " + LENGTH_OF_SECOND,), b""),
    "a negative length": (("Content-Length: -1",), b""),
    "a length with a sign": (("Content-Length: +0",), b""),
    "a hexadecimal length": (("Content-Length: 0x0",), b""),
    "a length beyond 64 bits": (("Content-Length: 18446744073709551617",), b""),
    "a blank before the colon": (("Content-Length : 0",), b""),
    "a tab before the colon": (("Transfer-Encoding\t: chunked",), CHUNKED),
    "an unknown coding": (("Transfer-Encoding: xchunked",), CHUNKED),
    "two codings": (("Transfer-Encoding: chunked, identity",), CHUNKED),
    "two coding headers": (("Transfer-Encoding: chunked", "Transfer-Encoding: identity"), CHUNKED),
    "a coding behind a vertical tab": (("Transfer-Encoding: \x0bchunked",), CHUNKED),
    "a folded coding": (("Transfer-Encoding:", " chunked"), CHUNKED),
    "a folded length": (("Content-Length:", " 0"), b""),
    "a fold in any header": (("X-Any: a", " Content-Length: 5"), b""),
    "a chunk without a length": (("Transfer-Encoding: chunked",), b"\r\n{}\r\n0\r\n\r\n"),
    "a chunk beyond 64 bits": (("Transfer-Encoding: chunked",), b"fffffffffffffffff\r\n{}\r\n"),
    "a negative chunk": (("Transfer-Encoding: chunked",), b"-2\r\n{}\r\n0\r\n\r\n"),
    "a chunk with a hexadecimal prefix": (("Transfer-Encoding: chunked",),
                                          b"0x2\r\n{}\r\n0\r\n\r\n"),
    "NUL in a header": ((b"X-Any: a\0b",), b""),
    "a carriage return alone": ((b"X-Any: a\rContent-Length: 5",), b""),
    "two hosts": (("Host: other.example",), b""),
}


@pytest.mark.parametrize("name", REFUSED)
def test_smuggling_refused(stack, name):
    """One answer, a refusal, and the connection is closed: nothing behind it is looked at."""
    lines, body = REFUSED[name]
    data = exchange(stack, request("POST", "/api/usage", *lines, body=body + SECOND))
    found = answers(data)
    assert len(found) == 1, data[:2000]
    status, headers, body = found[0]
    assert status in (400, 501), data[:2000]
    assert headers["connection"] == "close"
    assert b'"success":false' in body


# Allowed by the standard, or read by nginx in the only way it can be: each is exactly one request,
# and what follows is exactly one more.
TAKEN = {
    "a chunk extension": (("Transfer-Encoding: chunked",), b"2;a=b\r\n{}\r\n0;c\r\n\r\n"),
    "an extension that looks like a request": (
        ("Transfer-Encoding: chunked",),
        b"2;GET " + SMUGGLED.encode() + b" HTTP/1.1\r\n{}\r\n0\r\n\r\n"),
    "a trailer": (("Transfer-Encoding: chunked",), b"2\r\n{}\r\n0\r\nContent-Length: 99\r\n\r\n"),
    "a body that is a request": (("Content-Length: " + LENGTH_OF_SECOND,), SECOND),
    "leading zeros": (("Content-Length: 0002",), b"{}"),
}


@pytest.mark.parametrize("name", TAKEN)
def test_boundaries(stack, name):
    """The request and the one behind it, no more and no fewer."""
    lines, body = TAKEN[name]
    last = request("GET", "/api/health/live", "Connection: close")
    data = exchange(stack, request("POST", "/api/usage", *lines, body=body) + last)
    assert [status for status, *_ in answers(data)] == [401, 200], data[:2000]


def test_bare_line_feeds(stack):
    """nginx takes a line feed alone for the end of a line, as the standard allows; no part behind
    it reads the text again, so there is nobody to disagree with."""
    data = exchange(stack, request("GET", "/api/health/live", "Connection: close", ending=b"\n"))
    assert quick(data) == 200
    chunks = request("POST", "/api/usage", "Transfer-Encoding: chunked", "Connection: close",
                     body=b"2\n{}\n0\n\n" + SECOND)
    assert quick(exchange(stack, chunks)) in (400, 401)


def test_names_that_look_alike(stack):
    """A header with underscores becomes the same parameter; nginx drops it."""
    device = f"Authorization: Device {new_device()}"
    bad_key = "a" * 300
    taken = exchange(stack, request("POST", "/api/tokens", device, "Connection: close",
                                    "Content-Length: 0", f"Idempotency-Key: {bad_key}"))
    dropped = exchange(stack, request("POST", "/api/tokens", device, "Connection: close",
                                      "Content-Length: 0", f"Idempotency_Key: {bad_key}"))
    assert (quick(taken), quick(dropped)) == (400, 200)
    spoofed = exchange(stack, request("GET", "/api/tokens", "Connection: close",
                                      f"HTTP_AUTHORIZATION: Device {new_device()}"))
    assert quick(spoofed) == 401


# --- slow and oversized ---

def lower_timeouts(stack):
    """The same files with the time-outs of a hurry."""
    path = f"{stack.run_dir}/nginx/nginx.conf"
    text = logs.read(path)
    for name in ("client_header_timeout", "client_body_timeout"):
        assert f"{name} 10s;" in text
        text = text.replace(f"{name} 10s;", f"{name} 1s;")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    pid = int(logs.read(f"{stack.run_dir}/run/nginx.pid"))
    old = logs.read(f"/proc/{pid}/task/{pid}/children").split()
    os.kill(pid, signal.SIGHUP)
    wait_until(lambda: not set(old) & set(logs.read(f"/proc/{pid}/task/{pid}/children").split()),
               40, "nginx has new workers only")


@pytest.fixture(scope="module")
def hasty(cluster, template, binaries):
    """An instance whose edge waits for one second."""
    url = cluster.create_database(template)
    with Stack(url, binaries) as made:
        lower_timeouts(made)
        yield made
    cluster.drop(url)


def dribble(connection, first, piece, seconds_max):
    """Sends a bit every 0.2 s until the other side closes; returns how long it took."""
    start = time.monotonic()
    connection.sendall(first)
    connection.settimeout(0.2)
    while time.monotonic() - start < seconds_max:
        try:
            data = connection.recv(65536)
            if not data:
                return time.monotonic() - start
            continue
        except TimeoutError:
            pass
        except (ConnectionError, ssl.SSLError):
            return time.monotonic() - start
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            connection.sendall(piece)
    raise AssertionError(f"still open after {seconds_max} s")


def test_dribbled_headers(hasty):
    """The time-out is for the whole head, so a byte now and then gains nothing."""
    with connect(hasty) as connection:
        taken = dribble(connection, b"GET /api/tokens HTTP/1.1\r\nHost: localhost\r\n",
                        b"X-A: b\r\n", 10)
    assert 0.8 < taken < 5


def test_many_slow_clients(hasty):
    """While 300 clients dribble, another one is served as ever; and all of them are closed."""
    with contextlib.ExitStack() as held:
        slow = [held.enter_context(connect(hasty)) for _ in range(300)]
        for connection in slow:
            connection.sendall(b"POST /api/usage HTTP/1.1\r\nHost: localhost\r\nX-")
        client = hasty.client()
        start = time.monotonic()
        for _ in range(20):
            assert client.get("/api/tokens").status == 200
        assert time.monotonic() - start < 3
        client.close()
        for connection in slow:
            connection.settimeout(5)
            assert receive(connection) == b""


def logged_as(stack, path, status):
    """How many requests of a path nginx's access log has with a status."""
    return sum(event["path"] == path and event["status"] == status
               for event in stack.events("nginx-access"))


def test_slow_headers(hasty):
    """Headers that stop: closed without an answer, which nginx does not have for it."""
    with connect(hasty, timeout=10) as connection:
        connection.sendall(b"GET /api/slow-headers HTTP/1.1\r\nHost: localhost\r\nX-")
        assert receive(connection) == b""
    wait_until(lambda: logged_as(hasty, "/api/slow-headers", 408) == 1, 5, "the log says 408")


def test_slow_body(hasty):
    """A body that stops: closed without an answer, and no handler ever saw it."""
    before = logged_as(hasty, "/api/usage", 408)
    with connect(hasty, timeout=10) as connection:
        connection.sendall(request("POST", "/api/usage", f"Authorization: Device {new_device()}",
                                   "Content-Length: 100", body=b"{"))
        assert receive(connection) == b""
    wait_until(lambda: logged_as(hasty, "/api/usage", 408) == before + 1, 5, "the log says 408")
    assert not [event for event in hasty.events("usage") if event.get("path") == "/api/usage"]


def frame(kind, flags, stream, payload):
    """A frame of HTTP/2 (RFC 9113, section 4.1)."""
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
    return head + payload


def frames(data):
    """[(kind, stream, payload)] of what came back."""
    found = []
    while len(data) >= 9:
        length = int.from_bytes(data[:3], "big")
        found.append((data[3], int.from_bytes(data[5:9], "big"), data[9:9 + length]))
        data = data[9 + length:]
    return found


def test_slow_body_over_http2(hasty):
    """The stream is reset, and no headers of an answer came before."""
    headers, data, reset, settings = 0, 1, 3, 4
    context = ssl.create_default_context(cafile=f"{hasty.run_dir}/tls/certificate.pem")
    context.set_alpn_protocols(["h2"])
    # POST and https of the static table; path, authority and length as literals (RFC 7541).
    block = b"\x83\x87" + b"\x04\x0a/api/usage" + b"\x01\x09localhost" + b"\x0f\x0d\x03100"
    with socket.create_connection(("127.0.0.1", hasty.https_port), 10) as plain, \
            context.wrap_socket(plain, server_hostname="localhost") as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(settings, 0, 0, b"")
                           + frame(headers, 4, 1, block) + frame(data, 0, 1, b"{"))
        received = b""
        while not any(kind == reset for kind, *_ in frames(received)):
            piece = connection.recv(65536)
            assert piece, received
            received += piece
    assert (headers, 1) not in [(kind, stream) for kind, stream, _ in frames(received)]


def test_slow_handshake(hasty):
    """A client that never begins TLS is closed as well."""
    with socket.create_connection(("127.0.0.1", hasty.https_port), 10) as connection:
        start = time.monotonic()
        receive(connection)
        assert time.monotonic() - start < 5


OVERSIZED = {
    "a 10 MB query": (lambda: request("GET", "/api/tokens?q=" + "a" * 10_000_000), 414),
    "a 10 MB path": (lambda: request("GET", "/" + "a" * 10_000_000), 414),
    "a 10 MB header": (lambda: request("GET", "/api/tokens", "X-Any: " + "a" * 10_000_000), 431),
    "endless headers": (lambda: request("GET", "/api/tokens",
                                        *(f"X-{n}: {'a' * 60}" for n in range(100_000))), 431),
    "a 10 MB method": (lambda: request("A" * 10_000_000, "/"), (400, 414)),
    "a length of 1 TB": (lambda: request("POST", "/api/usage",
                                         "Content-Length: 1000000000000"), 413),
    "10 MB in chunks": (lambda: request("POST", "/api/usage", "Transfer-Encoding: chunked",
                                        body=b"10000\r\n" + b"a" * 65536 + b"\r\n"
                                        + b"989680\r\n" + b"a" * 10_000_000), 413),
    "endless chunk extensions": (lambda: request("POST", "/api/usage",
                                                 "Transfer-Encoding: chunked",
                                                 body=b"2;" + b"a" * 10_000_000), (400, 413)),
}


@pytest.mark.parametrize("name", OVERSIZED)
def test_oversized(hasty, name):
    """Refused as JSON; never taken in, and the next request is served."""
    make, expected = OVERSIZED[name]
    data = exchange(hasty, make(), timeout=15)
    found = answers(data)
    # An extension is skipped byte by byte and never kept: it ends with the time-out of the body.
    if name == "endless chunk extensions" and not found:
        return
    assert len(found) == 1, data[:500]
    status, _, body = found[0]
    assert status in (expected if isinstance(expected, tuple) else (expected,)), data[:500]
    assert b'"success":false' in body
    assert hasty.client().get("/api/tokens").status == 200


# --- what every answer says and does not say ---

def kinds(stack):
    """Yields (what, expected status, what came back): an answer of each kind there is."""
    device = f"Authorization: Device {new_device()}"
    secret = f"X-DB-Init-Secret: {SECRET}"
    close = "Connection: close"
    table = (
        ("success", 200, "GET", "/api/tokens", (device,), b""),
        ("created", 201, "POST", "/api/usage", (device, "Content-Length: 21"),
         b'{"action":"download"}'),
        ("export", 200, "GET", "/api/user/export", (device,), b""),
        ("no content", 204, "DELETE", "/api/user", (device,), b""),
        ("preflight", 204, "OPTIONS", "/api/tokens",
         ("Origin: https://app.example", "Access-Control-Request-Method: GET"), b""),
        ("schema", 200, "POST", "/api/init-db", (secret, "Content-Length: 0"), b""),
        ("health", 200, "GET", "/api/health?metrics=true", (), b""),
        ("metrics", 200, "GET", "/metrics", (), b""),
        ("handler 400", 400, "GET", "/api/generations?limit=0", (device,), b""),
        ("handler 401", 401, "GET", "/api/tokens", (), b""),
        ("handler 404", 404, "DELETE", "/api/generations/00000000-0000-7000-8000-000000000000",
         (device,), b""),
        ("handler 405", 405, "PUT", "/api/tokens", (device, "Content-Length: 0"), b""),
        ("nginx 400", 400, "GET", "/api/tokens", ("Content-Length: x",), b""),
        ("nginx 404", 404, "GET", "/.git/config", (), b""),
        ("nginx 405", 405, "TRACE", "/api/tokens", (), b""),
        ("nginx 413", 413, "POST", "/api/usage", ("Content-Length: 1000000",), b""),
        ("nginx 414", 414, "GET", "/?" + "a" * 20000, (), b""),
        ("nginx 431", 431, "GET", "/", ("X-Any: " + "a" * 20000,), b""),
        ("nginx 501", 501, "POST", "/api/usage", ("Transfer-Encoding: gzip",), b""),
    )
    for what, status, method, path, lines, body in table:
        yield what, status, exchange(stack, request(method, path, *lines, close, body=body))
    with away(stack.socket_path("usage")):
        yield "nginx 502", 502, exchange(stack, request("GET", "/api/usage", device, close))
    yield "no request line", 400, exchange(stack, b"\x16\x03\x01 nonsense\r\n\r\n")
    yield "version", 400, exchange(stack, b"GET / HTTP/7.7\r\nHost: a\r\n\r\n")
    yield "redirect", 308, exchange(stack, request("GET", "/api/tokens", close), tls=False)
    plain = socket.create_connection(("127.0.0.1", stack.https_port), 5)
    with plain:
        plain.sendall(request("GET", "/api/tokens"))
        yield "plain HTTP to the TLS port", 400, receive(plain)


def test_every_answer(stack):
    """Security headers and a request id on each; no version of anything anywhere."""
    seen = set()
    for what, expected, data in kinds(stack):
        found = answers(data)
        assert len(found) == 1, f"{what}: {data[:500]}"
        status, headers, body = found[0]
        assert status == expected, f"{what}: {data[:500]}"
        for name, value in HEADERS.items():
            assert headers.get(name) == value, f"{what}: {name}: {headers.get(name)}"
        assert re.fullmatch("[0-9a-f]{32}", headers.get("x-request-id", "")), what
        assert not {"x-powered-by", "via", "x-aspnet-version", "status"} & set(headers), what
        assert what == "metrics" or not BANNER.search(data), f"{what}: {BANNER.search(data)}"
        # nginx has no other body for a redirect; it names no version.
        assert what == "redirect" or b"<html" not in body.lower(), what
        if status >= 400:
            assert headers["content-type"].startswith("application/json"), what
            assert b'"success":false' in body and b'"code":"' in body, f"{what}: {body}"
        seen.add(headers["x-request-id"])
    assert len(seen) >= 20


def test_rate_limited_answer(make_stack, database):
    """nginx's 429 has the headers too."""
    stack = make_stack(database, EDGE_RATE="1r/m", EDGE_BURST="5")
    limited = []
    for _ in range(20):
        data = exchange(stack, request("GET", "/api/health", "Connection: close"))
        limited += [answer for answer in answers(data) if answer[0] == 429]
    assert limited
    for _, headers, body in limited:
        assert {name: headers.get(name) for name in HEADERS} == HEADERS
        assert headers["retry-after"] == "1" and b'"rate_limited"' in body


# --- who the client is ---

def believed_address(cluster, url, stack, forwarded):
    """The address that is stored with an action of a new device."""
    device = new_device()
    client = stack.client(device)
    answer = client.post("/api/usage", {"action": "download"},
                         headers={"X-Forwarded-For": forwarded, "X-Real-IP": "203.0.113.66",
                                  "Forwarded": "for=203.0.113.67", "Remote-Addr": "203.0.113.68"})
    assert answer.status == 201, answer
    user = client.get("/api/user").data["user"]["id"]
    return cluster.value(url, "SELECT ip_address FROM usage_logs WHERE user_id = %s", (user,))


def test_forwarded_for_is_not_believed(cluster, database, make_stack):
    """Without TRUSTED_PROXIES the address is the connection's, whatever the headers say."""
    stack = make_stack(database, TRUSTED_PROXIES="")
    assert believed_address(cluster, database, stack, "203.0.113.7") == "127.0.0.1"


def test_forwarded_for_of_a_trusted_proxy(cluster, database, make_stack):
    """From a trusted proxy: the last address in the list that is not a trusted proxy's; what the
    client itself put before it is never believed."""
    stack = make_stack(database, TRUSTED_PROXIES="127.0.0.1,10.0.0.0/8")
    for forwarded, expected in (
        ("198.51.100.7", "198.51.100.7"),
        ("203.0.113.7, 198.51.100.7", "198.51.100.7"),
        ("203.0.113.7, 198.51.100.7, 10.1.2.3", "198.51.100.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("nonsense", "127.0.0.1"),
        ("203.0.113.7, nonsense", "127.0.0.1"),
    ):
        assert believed_address(cluster, database, stack, forwarded) == expected, forwarded


def test_forwarded_for_of_another_address(cluster, database, make_stack):
    """The connection's address is no trusted proxy's: not believed."""
    stack = make_stack(database, TRUSTED_PROXIES="10.0.0.0/8")
    assert believed_address(cluster, database, stack, "10.1.2.3, 198.51.100.7") == "127.0.0.1"


# --- secrets ---

def test_secrets_are_in_no_log(cluster, database, make_stack):
    """Every way a secret can come in, asked well and badly, at every log level: no log has it."""
    word = secrets.token_hex(8)
    init = "init-" + word
    stack = make_stack(database, LOG_LEVEL="debug", DB_INIT_SECRET=init)
    key = stack.run("service-key", "create", "edge-test", check=True).stdout.split()[-1]
    device = "device_edge_" + word
    token, cookie = f"eyJhbGciOiJSUzI1NiJ9.{word}.token", f"eyJhbGciOiJSUzI1NiJ9.{word}.cookie"
    close = "Connection: close"
    long = "a" * 9000
    wrong = "wrong-" + word
    for path in (f"/api/init-db?secret={init}", f"/api/init-db?secret={wrong}",
                 f"/api/init-db/?secret={init}", f"//api/init-db?secret={init}",
                 f"/api/init-db?secret={init}&x={long}"):
        exchange(stack, request("GET", path, close))
        exchange(stack, request("POST", path, close, "Content-Length: 1000000"), timeout=0.5)
        exchange(stack, request("GET", path, close), tls=False)
        exchange(stack, request("GET", path, close, "Content-Length: x"))
    with away(stack.socket_path("init-db")):
        assert quick(exchange(stack, request("GET", f"/api/init-db?secret={init}", close))) == 502
    for line in (f"X-DB-Init-Secret: {init}", f"X-DB-Init-Secret: {wrong}"):
        exchange(stack, request("POST", "/api/init-db", line, close, "Content-Length: 0"))
    for path in ("/api/tokens", "/api/tokens?limit=0", "/api/ledger/verify", "/api/user",
                 "/api/nothing", "/api/user/export"):
        for line in (f"Authorization: Device {device}", f"Authorization: Bearer {token}",
                     f"Authorization: Service {key}", f"Authorization: Service {wrong}",
                     f"Cookie: __session={cookie}", f"X-Device-Id: {device}"):
            exchange(stack, request("GET", path, line, close))
    with away(stack.socket_path("tokens")):
        exchange(stack, request("GET", "/api/tokens", f"Authorization: Device {device}", close))
    stack.close()
    everything = "\n".join(stack.saved_logs.values())
    assert len(everything) > 5000
    for secret in (word, key, init, database):
        lines = [line for line in everything.splitlines() if secret in line]
        assert not lines, f"{secret}: {lines[0][:400]}"
