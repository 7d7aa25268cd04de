"""What every answer has in common: identity, languages, headers, CORS, methods, paths."""

import re
import socket
import ssl

import pytest

from tests.support.process import wait_until
from tests.support.stack import Stack, new_device

ENDPOINTS = [
    ("GET", "/api/tokens"), ("POST", "/api/tokens"), ("GET", "/api/tokens/transactions"),
    ("GET", "/api/user"), ("DELETE", "/api/user"), ("GET", "/api/user/stats"),
    ("GET", "/api/stats"), ("GET", "/api/user/export"), ("GET", "/api/generations"),
    ("POST", "/api/generations"),
    ("DELETE", "/api/generations/00000000-0000-4000-8000-000000000000"),
    ("GET", "/api/usage"), ("POST", "/api/usage"),
    ("GET", "/api/payments"), ("POST", "/api/payments/create"),
    ("GET", "/api/payments/" + "A" * 43), ("POST", "/api/payments/" + "A" * 43 + "/refund"),
    ("GET", "/api/subscriptions"), ("POST", "/api/subscriptions"),
    ("DELETE", "/api/subscriptions"),
]
OPEN_ENDPOINTS = [("GET", "/api/packages"), ("GET", "/api/plans"), ("GET", "/api/health"),
                  ("GET", "/api/health/live"), ("GET", "/metrics")]
ORIGIN = "https://app.example"

SECURITY = {
    "Strict-Transport-Security": re.compile(r"max-age=\d{7,}"),
    "X-Content-Type-Options": re.compile("nosniff"),
    "Referrer-Policy": re.compile("no-referrer"),
    "X-Frame-Options": re.compile("DENY"),
    "Content-Security-Policy": re.compile("default-src 'none'"),
    "X-Request-Id": re.compile("[0-9a-f]{32}"),
}


def assert_security_headers(answer):
    for name, pattern in SECURITY.items():
        values = answer.headers.get_all(name) or []
        assert len(values) == 1 and pattern.match(values[0]), (name, values, answer)


def is_unauthorized(answer):
    return answer.status == 401 and {
        "success": False, "error": "Unauthorized", "code": "unauthorized",
        "message": "Authentication required"} == answer.json


# --- identity ---

@pytest.mark.parametrize("method,path", ENDPOINTS)
def test_no_identity(stack, method, path):
    answer = stack.client(anonymous=True).request(method, path, body=b"{}")
    assert is_unauthorized(answer)
    wanted = "Service" if path.endswith("/refund") else "Bearer"
    assert answer.headers["WWW-Authenticate"].startswith(f'{wanted} realm="DreamLens"')
    assert answer.headers.get_all("Cache-Control") == ["no-store"]
    assert_security_headers(answer)


@pytest.mark.parametrize("value", [
    "", "Device", "Device ", "Device short", "Device device_", "Device device_" + "a" * 12,
    "Device device_" + "a" * 249, "Device devic3_" + "a" * 30, "Device device_" + "a" * 20 + "!",
    "Device device_" + "a" * 20 + " b", "Device device_aaaaaaaaaaaaa'; DROP TABLE users; --",
    "Device DEVICE_" + "a" * 20, "Bearer x.y.z", "Basic " + "a" * 30, "Telegram x=y",
    "Devicedevice_" + "a" * 20, "device_" + "a" * 20, "Device device_\u00e4" + "a" * 20,
    "Device device_" + "%41" * 10,
])
def test_a_bad_identity(stack, value):
    client = stack.client(anonymous=True)
    answer = client.get("/api/tokens", headers={"Authorization": value.encode()})
    assert is_unauthorized(answer), answer


@pytest.mark.parametrize("value", [
    "Device device_" + "a" * 13, "Device device_" + "Z-_9" * 62, "device device_abcdefghijklmnop_1",
    "DEVICE device_abcdefghijklmnop_2", "Device   device_abcdefghijklmnop_3  ",
])
def test_a_good_identity(stack, value):
    """20 to 255 characters; the scheme is without regard to case."""
    client = stack.client(anonymous=True)
    assert client.get("/api/tokens", headers={"Authorization": value}).data["balance"] == 5


def test_two_devices_are_two_accounts(stack):
    one, other = stack.client(), stack.client()
    assert one.get("/api/user").data["user"]["id"] != other.get("/api/user").data["user"]["id"]


def test_one_device_is_one_account_for_every_handler(stack, cluster):
    client = stack.client()
    for path in ("/api/user", "/api/tokens", "/api/generations", "/api/usage", "/api/stats"):
        assert client.get(path).status == 200
    count = cluster.value(stack.database_url, "SELECT count(*) FROM users WHERE device_id = %s",
                          (client.device,))
    assert count == 1


@pytest.mark.parametrize("path", ["/api/user", "/api/tokens", "/api/generations", "/api/usage",
                                  "/api/user/export", "/api/tokens/transactions"])
def test_any_endpoint_opens_the_account(stack, path):
    client = stack.client()
    assert client.get(path).status == 200
    assert client.get("/api/tokens").data["balance"] == 5


# --- headers ---

@pytest.mark.parametrize("method,path", ENDPOINTS + OPEN_ENDPOINTS)
def test_headers_of_every_answer(client, method, path):
    answer = client.request(method, path, body=b"{}" if method == "POST" else None)
    assert_security_headers(answer)
    assert "Server" not in answer.headers or answer.headers["Server"] == "nginx"


@pytest.mark.parametrize("method,path,status", [
    ("GET", "/", 404), ("GET", "/api/nothing", 404), ("PUT", "/api/tokens", 405),
    ("GET", "/api/tokens?" + "q" * 9000, 414),
])
def test_headers_of_every_error(client, method, path, status):
    answer = client.request(method, path)
    assert answer.status == status
    assert answer.headers["Content-Type"].startswith("application/json")
    assert_security_headers(answer)


def test_request_ids_differ_and_are_logged(stack, client):
    ids = [client.get("/api/tokens").headers["X-Request-Id"] for _ in range(3)]
    assert len(set(ids)) == 3
    # nginx writes its line after the answer is sent
    wait_until(lambda: {event["request_id"] for event in stack.events("nginx-access")} >= set(ids),
               10, "the access log has the three requests")


def test_a_client_cannot_choose_the_request_id(client):
    answer = client.get("/api/tokens", headers={"X-Request-Id": "f" * 32, "Request-Id": "f" * 32})
    assert answer.headers["X-Request-Id"] != "f" * 32


def test_json_in_utf8_everywhere(client):
    for path in ("/api/tokens", "/api/nothing", "/api/health", "/api/generations?limit=0"):
        answer = client.get(path)
        assert answer.headers["Content-Type"].startswith("application/json")
        assert "success" in answer.json


# --- languages ---

@pytest.mark.parametrize("value,english", [
    (None, False), ("", False), ("ru", False), ("en", True), ("en-US,en;q=0.9,ru;q=0.8", True),
    ("ru-RU,ru;q=0.9,en;q=0.8", False), ("de,en;q=0.5", True), ("de", False), ("EN-gb", True),
    ("ru;q=0.2,en;q=0.3", True), ("en;q=0", False), ("*", False), (";;;,,,q=", False),
    ("en;q=abc", False), ("," * 3000, False),
])
def test_language_of_errors(client, value, english):
    client.post("/api/tokens")
    answer = client.post("/api/tokens", headers={"Accept-Language": value})
    expected = ("The daily bonus was already claimed today" if english
                else "Ежедневный бонус уже получен сегодня")
    assert (answer.json["error"], answer.code) == (expected, "bonus_already_claimed")


# --- CORS ---

def cors_headers(answer):
    return sorted(name for name in answer.headers if name.lower().startswith("access-control-"))


@pytest.mark.parametrize("origin", [ORIGIN, "https://other.example"])
@pytest.mark.parametrize("method,path", [("GET", "/api/tokens"), ("POST", "/api/generations"),
                                         ("GET", "/api/generations?limit=0"),
                                         ("GET", "/api/health")])
def test_a_listed_origin(client, origin, method, path):
    """Errors too: a page could not read them otherwise."""
    answer = client.request(method, path, headers={"Origin": origin})
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    exposed = set(re.split(", *", answer.headers["Access-Control-Expose-Headers"]))
    assert exposed == {"Content-Disposition", "Idempotency-Replayed", "RateLimit",
                       "RateLimit-Limit", "RateLimit-Policy", "RateLimit-Remaining",
                       "RateLimit-Reset", "Retry-After", "WWW-Authenticate", "X-Request-Id"}
    assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize("origin", ["https://evil.example", "http://app.example", "null",
                                    "https://app.example.evil.example", "https://app.example:444",
                                    "https://APP.example.", "x" * 4000])
def test_an_unlisted_origin_is_served_without_cors(client, origin):
    answer = client.get("/api/tokens", headers={"Origin": origin})
    assert answer.status == 200
    assert cors_headers(answer) == []
    assert "Origin" in answer.headers["Vary"]


def test_same_origin_needs_nothing(client):
    answer = client.get("/api/tokens")
    assert answer.status == 200 and cors_headers(answer) == []


@pytest.mark.parametrize("path,methods", [
    ("/api/tokens", {"GET", "HEAD", "POST"}), ("/api/user", {"GET", "HEAD", "DELETE"}),
    ("/api/generations", {"GET", "HEAD", "POST"}), ("/api/generations/x", {"DELETE"}),
    ("/api/usage", {"GET", "HEAD", "POST"}),
])
def test_preflight(stack, path, methods):
    answer = stack.client(anonymous=True).request("OPTIONS", path, headers={
        "Origin": ORIGIN, "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type"})
    assert answer.status == 204 and answer.body == b""
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    allowed = set(re.split(", *", answer.headers["Access-Control-Allow-Methods"]))
    assert allowed >= methods
    # What tracing adds (W3C Trace Context, Sentry) is asked for by the browser as well.
    headers = set(re.split(", *", answer.headers["Access-Control-Allow-Headers"].lower()))
    assert headers == {"authorization", "cache-control", "content-type", "idempotency-key",
                       "prefer", "x-device-id", "baggage", "sentry-trace", "traceparent",
                       "tracestate"}
    assert int(answer.headers["Access-Control-Max-Age"]) > 0


def test_preflight_of_an_unlisted_origin(stack):
    answer = stack.client(anonymous=True).request("OPTIONS", "/api/tokens", headers={
        "Origin": "https://evil.example", "Access-Control-Request-Method": "POST"})
    assert answer.status == 204 and cors_headers(answer) == []


# --- methods and paths ---

@pytest.mark.parametrize("path,allow", [
    ("/api/tokens", {"GET", "HEAD", "POST", "OPTIONS"}),
    ("/api/tokens/transactions", {"GET", "HEAD", "OPTIONS"}),
    ("/api/user", {"GET", "HEAD", "DELETE", "OPTIONS"}),
    ("/api/user/stats", {"GET", "HEAD", "OPTIONS"}), ("/api/stats", {"GET", "HEAD", "OPTIONS"}),
    ("/api/user/export", {"GET", "HEAD", "OPTIONS"}),
    ("/api/generations", {"GET", "HEAD", "POST", "OPTIONS"}),
    ("/api/generations/00000000-0000-4000-8000-000000000000", {"DELETE", "OPTIONS"}),
    ("/api/usage", {"GET", "HEAD", "POST", "OPTIONS"}),
    ("/api/init-db", {"GET", "HEAD", "POST", "OPTIONS"}),
    ("/api/health", {"GET", "HEAD", "OPTIONS"}), ("/metrics", {"GET", "HEAD", "OPTIONS"}),
])
@pytest.mark.parametrize("method", ["PUT", "PATCH", "PROPFIND", "GE", "get"])
def test_wrong_method(client, path, allow, method):
    answer = client.request(method, path, body=b"{}")
    if method == "get":  # nginx takes no method in small letters
        assert answer.status in (400, 405) and answer.json["success"] is False
        return
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert set(re.split(", *", answer.headers["Allow"])) == allow


@pytest.mark.parametrize("path", [
    "/api/tokens", "/api/tokens/transactions", "/api/user", "/api/user/stats", "/api/generations",
    "/api/usage", "/api/health", "/api/health/live", "/metrics"])
def test_head_is_get_without_body(client, path):
    get, head = client.get(path), client.request("HEAD", path)
    assert head.status == get.status == 200
    assert head.body == b""
    assert head.headers["Content-Type"] == get.headers["Content-Type"]
    if path not in ("/metrics", "/api/health"):  # whose length changes with every request
        assert head.headers["Content-Length"] == get.headers["Content-Length"]
    # The connection is still in step.
    assert client.get("/api/tokens").status == 200


@pytest.mark.parametrize("path", [
    "/", "/api", "/api/", "/api/nothing", "/api/tokens/", "/api/tokensx", "/api//tokens",
    "//api/tokens", "/api/tokens/transactions/1", "/API/tokens", "/api/generations/",
    "/api/generations/a/b", "/api/user/stats/", "/.errors/404", "/api/%74okens/x", "/favicon.ico",
    "/api/tokens.php", "/metrics/", "/api/health/dead", "/%00", "/api/tokens%2f",
])
def test_unknown_path(client, path):
    answer = client.get(path)
    if path == "/%00":
        assert answer.status in (400, 404) and answer.json["success"] is False
        return
    assert (answer.status, answer.code) == (404, "not_found")


def test_dots_in_the_path_stay_inside(client):
    assert client.get("/api/../api/tokens").status == 200
    assert client.get("/api/tokens/../../../etc/passwd").status in (400, 404)


# --- the connection itself ---

def raw(stack, data, timeout=15):
    """Sends bytes over TLS and returns what comes back until the end."""
    with socket.create_connection(("127.0.0.1", stack.https_port), timeout) as plain:
        with stack.tls.wrap_socket(plain, server_hostname="localhost") as connection:
            connection.sendall(data)
            out = b""
            while True:
                try:
                    piece = connection.recv(65536)
                except (ConnectionResetError, ssl.SSLError):
                    piece = b""
                if not piece:
                    return out
                out += piece


@pytest.mark.parametrize("data", [
    b"nonsense\r\n\r\n", b"GET /api/tokens HTTP/9.9\r\nHost: x\r\n\r\n", b"\0\0\0\0\r\n\r\n",
    b"GET /api/tokens HTTP/1.1\r\n\r\n", b"GET /api/tokens HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"POST /api/tokens HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /api/tokens HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    b"GET /api/tokens HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\nContent-Length: x\r\n\r\n",
])
def test_what_is_no_http_request(stack, data):
    answer = raw(stack, data)
    status = answer.split(b"\r\n")[0]
    assert b" 400 " in status or b" 505 " in status, answer[:300]
    assert b'"success":false' in answer
    assert b"X-Request-Id: " in answer


def test_plain_http_on_the_tls_port_is_told_so(stack):
    with socket.create_connection(("127.0.0.1", stack.https_port), 10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = connection.recv(65536)
    assert b" 400 " in answer and b'"success":false' in answer


def test_chunked_bodies_arrive(client):
    assert client.post("/api/usage", iter([b'{"action":', b'"down', b'load"}'])).status == 201


def test_old_tls_is_refused(stack):
    context = ssl.create_default_context(cafile=f"{stack.run_dir}/tls/certificate.pem")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", stack.https_port), 10) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as connection:
            assert connection.version() == "TLSv1.2"
    context.set_ciphers("AES128-SHA:@SECLEVEL=0")  # no forward secrecy
    with socket.create_connection(("127.0.0.1", stack.https_port), 10) as plain:
        with pytest.raises(ssl.SSLError):
            context.wrap_socket(plain, server_hostname="localhost")


def test_http2_is_offered(stack):
    context = ssl.create_default_context(cafile=f"{stack.run_dir}/tls/certificate.pem")
    context.set_alpn_protocols(["h2", "http/1.1"])
    with socket.create_connection(("127.0.0.1", stack.https_port), 10) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as connection:
            assert connection.selected_alpn_protocol() == "h2"
            assert connection.version() == "TLSv1.3"


def test_http_redirects_to_https(stack):
    with socket.create_connection(("127.0.0.1", stack.http_port), 10) as connection:
        connection.sendall(b"GET /api/tokens?a=1 HTTP/1.1\r\nHost: localhost\r\n"
                           b"Connection: close\r\n\r\n")
        answer = connection.recv(65536)
    assert b" 308 " in answer
    assert f"Location: https://localhost:{stack.https_port}/api/tokens?a=1\r\n".encode() in answer


def test_the_name_of_the_handler_sockets_is_not_the_clients_choice(client):
    for header in ("Script-Name", "Document-Uri", "Request-Method", "Remote-Addr"):
        assert client.get("/api/tokens", headers={header: "/api/user"}).data["balance"] == 5


def test_a_proxy_header_reaches_no_http_client(client):
    assert client.get("/api/tokens", headers={"Proxy": "http://127.0.0.1:1"}).status == 200


@pytest.mark.parametrize("proxies,expected", [("", "127.0.0.1"), ("192.0.2.0/24", "127.0.0.1"),
                                              ("127.0.0.1", "203.0.113.9")])
def test_a_forwarded_address_is_believed_from_trusted_proxies(binaries, database, cluster,
                                                              proxies, expected):
    with Stack(database, binaries, {"TRUSTED_PROXIES": proxies}) as stack:
        client = stack.client(new_device())
        sent = {"X-Forwarded-For": "203.0.113.9", "X-Real-Ip": "203.0.113.77"}
        answer = client.post("/api/usage", {"action": "download"}, headers=sent)
        assert answer.status == 201
        address = cluster.value(database, """
            SELECT l.ip_address FROM usage_logs l JOIN user_identities i USING (user_id)
            WHERE i.identity = 'device:' || %s""", (client.device,))
    assert address == expected
