"""CORS on every answer, whoever makes it: nginx's own carry what a handler's do."""

import http.client
import shutil
import ssl
import subprocess

import pytest

from tests.support.raw_http import answers, away, exchange, request
from tests.support.stack import Stack, new_device

ORIGIN = "https://app.example"
# Of ALLOWED_ORIGINS (tests/support/stack.py), and what only looks like one of them.
LISTED = [ORIGIN, "https://other.example"]
STRANGERS = ["https://evil.example", "https://app.example.evil.example", "https://appxexample",
             "https://evil.example/https://app.example", "http://app.example",
             "https://APP.example", "https://app.example/", "https://app.example:8443",
             "null", "*", ""]
NAMES = ("access-control-allow-origin", "access-control-allow-credentials",
         "access-control-expose-headers", "vary")


def cors(headers):
    """The headers of CORS that an answer has."""
    return {name: headers[name] for name in NAMES if name in headers}


def ask(stack, origin, method, path, *lines, **options):
    """Sends one request with an Origin; (status, headers in small letters)."""
    data = exchange(stack, request(method, path, f"Origin: {origin}", *lines, "Connection: close"),
                    **options)
    found = answers(data)
    assert len(found) == 1, data[:500]
    return found[0][:2]


@pytest.fixture(scope="module")
def of_a_handler(stack):
    """What a handler says to a listed origin: the right value of all others."""
    status, headers = ask(stack, ORIGIN, "GET", "/api/tokens")
    assert status == 401
    expected = cors(headers)
    assert set(expected) == set(NAMES) and expected["vary"] == "Origin"
    assert expected["access-control-allow-origin"] == ORIGIN
    return expected


# What nginx answers by itself: (status, method, path, header lines).
OWN = [
    (400, "GET", "/api/tokens", ["Content-Length: x"]),
    (404, "GET", "/api/nothing", []),
    (404, "GET", "/api/tokens/", []),
    (404, "GET", "/metrics", ["Via: 1.1 somebody"]),
    (405, "TRACE", "/api/tokens", []),
    (413, "POST", "/api/usage", ["Content-Length: 1000000"]),
    (413, "POST", "/api/usage", ["Transfer-Encoding: chunked\r\n\r\n20000"]),
    (431, "GET", "/api/tokens", ["X-Any: " + "a" * 20000]),
    (501, "POST", "/api/usage", ["Transfer-Encoding: gzip"]),
    (403, "POST", "/api/payments/webhook", ["X-Forwarded-For: 198.51.100.7"]),
]


@pytest.mark.parametrize("status,method,path,lines", OWN)
@pytest.mark.parametrize("origin", [ORIGIN, "https://evil.example"])
def test_answers_of_nginx(stack, of_a_handler, origin, status, method, path, lines):
    found, headers = ask(stack, origin, method, path, *lines)
    assert found == status
    assert cors(headers) == (of_a_handler if origin == ORIGIN else {"vary": "Origin"})


def test_a_handler_that_is_away(stack, of_a_handler):
    with away(stack.socket_path("usage")):
        status, headers = ask(stack, ORIGIN, "GET", "/api/usage")
    assert (status, cors(headers)) == (502, of_a_handler)


def test_without_an_origin(stack):
    """The answer still depends on it, for caches."""
    sent = request("GET", "/nothing", "Connection: close")
    [(status, headers, _)] = answers(exchange(stack, sent))
    assert (status, cors(headers)) == (404, {"vary": "Origin"})


def test_a_request_line_that_was_not_read(stack):
    """nginx refuses it before it has read any header: nobody knows the origin."""
    status, headers = ask(stack, ORIGIN, "GET", "/?" + "a" * 20000)
    assert (status, cors(headers)) == (414, {"vary": "Origin"})


def test_the_redirect_to_https(stack, of_a_handler):
    status, headers = ask(stack, ORIGIN, "GET", "/api/tokens", tls=False)
    assert (status, cors(headers)) == (308, of_a_handler)


@pytest.mark.parametrize("origin", LISTED)
def test_every_listed_origin(stack, of_a_handler, origin):
    for path, expected in (("/api/tokens", 401), ("/api/nothing", 404)):
        status, headers = ask(stack, origin, "GET", path)
        assert status == expected
        assert cors(headers) == {**of_a_handler, "access-control-allow-origin": origin}


@pytest.mark.parametrize("origin", STRANGERS)
def test_other_origins(stack, origin):
    """Handler and nginx agree on who is not listed, to the byte."""
    for path in ("/api/tokens", "/api/nothing"):
        assert cors(ask(stack, origin, "GET", path)[1]) == {"vary": "Origin"}, path


def test_http2(stack, of_a_handler):
    """What browsers speak."""
    curl = shutil.which("curl")
    large = ["--data", "a" * 70000]
    for path, extra, expected in (("/api/nothing", [], "404"), ("/api/usage", large, "413")):
        done = subprocess.run(
            [curl, "--silent", "--http2", "--dump-header", "-", "--output", "/dev/null",
             "--noproxy", "*", "--cacert", f"{stack.run_dir}/tls/certificate.pem",
             "-H", f"Origin: {ORIGIN}", *extra, f"https://127.0.0.1:{stack.https_port}{path}"],
            capture_output=True, text=True, check=True)
        first, *lines = done.stdout.strip().splitlines()
        assert first.split() == ["HTTP/2", expected]
        headers = {name.lower(): value.strip()
                   for name, _, value in (line.partition(":") for line in lines)}
        assert cors(headers) == of_a_handler


def test_no_origins_no_headers(make_stack, database):
    stack = make_stack(database, ALLOWED_ORIGINS="")
    for path in ("/api/tokens", "/api/nothing"):
        assert cors(ask(stack, ORIGIN, "GET", path)[1]) == {}, path


def test_the_header_is_there_once(stack):
    """nginx adds nothing to what a handler has said."""
    connection = http.client.HTTPSConnection(
        "127.0.0.1", stack.https_port,
        context=ssl.create_default_context(cafile=f"{stack.run_dir}/tls/certificate.pem"))
    for path in ("/api/tokens", "/api/nothing"):
        connection.request("GET", path, headers={"Origin": ORIGIN})
        response = connection.getresponse()
        response.read()
        for name in NAMES:
            assert len(response.headers.get_all(name)) == 1, (path, name)
    connection.close()


@pytest.fixture(scope="module")
def narrow(cluster, template, binaries):
    """Five requests at once of an address, then one a minute."""
    url = cluster.create_database(template)
    with Stack(url, binaries, {"EDGE_RATE": "1r/m", "EDGE_BURST": "5"}) as made:
        yield made
    cluster.drop(url)


PREFLIGHT = "Access-Control-Request-Method: POST"


def test_preflights_are_not_counted(narrow, of_a_handler):
    """Before and over the limit each is answered, and the 429 behind it can be read."""
    address = "X-Forwarded-For: 198.51.100.1"
    for _ in range(12):
        status, headers = ask(narrow, ORIGIN, "OPTIONS", "/api/usage", PREFLIGHT, address)
        assert status == 204 and "POST" in headers["access-control-allow-methods"]
    statuses = [ask(narrow, ORIGIN, "GET", "/api/usage", address)[0] for _ in range(8)]
    assert statuses == [401] * 6 + [429] * 2
    status, headers = ask(narrow, ORIGIN, "GET", "/api/usage", address)
    assert (status, cors(headers)) == (429, of_a_handler)
    assert headers["retry-after"] == "1"
    status, _ = ask(narrow, ORIGIN, "OPTIONS", "/api/usage", PREFLIGHT, address)
    assert status == 204


@pytest.mark.parametrize("number,origin,lines", [
    (2, "https://evil.example", [PREFLIGHT]),             # gets no headers, needs no answer
    (3, ORIGIN, []),                                      # no preflight
    (4, ORIGIN, [PREFLIGHT, "Content-Length: 1"]),        # no preflight has a body
    (5, ORIGIN, [PREFLIGHT, "Transfer-Encoding: chunked"]),
])
def test_what_is_no_preflight_is_counted(narrow, number, origin, lines):
    address = f"X-Forwarded-For: 198.51.100.{number}"
    body = {"Content-Length: 1": b"a", "Transfer-Encoding: chunked": b"0\r\n\r\n"}
    sent = request("OPTIONS", "/api/usage", f"Origin: {origin}", address, "Connection: close",
                   *lines, body=b"".join(body.get(line, b"") for line in lines))
    statuses = [answers(exchange(narrow, sent))[0][0] for _ in range(8)]
    assert statuses[-1] == 429 and statuses.count(429) == 2


def test_a_device_over_the_limit_in_a_handler(stack, of_a_handler):
    """The other 429: a handler's."""
    device = new_device()
    sent = [f"Authorization: Device {device}", "Content-Length: 43"]
    body = b'{"imageUrl":"https://img.example/of-tests"}'
    for _ in range(11):
        data = exchange(stack, request("POST", "/api/generations", f"Origin: {ORIGIN}",
                                       "Connection: close", *sent, body=body))
    [(status, headers, _)] = answers(data)
    assert (status, cors(headers)) == (429, of_a_handler)
