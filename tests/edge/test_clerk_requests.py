"""Requests with Clerk's session tokens on the whole way in: nginx, handlers, database."""

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.clerk import MACHINE_CATEGORY, Person, bearer, new_user
from tests.support.process import wait_until
from tests.support.stack import Stack


@pytest.fixture(scope="module")
def clerk_stack(cluster, template, binaries, clerk):
    """An instance that trusts the module's Clerk."""
    url = cluster.create_database(template)
    with Stack(url, binaries, clerk.environment()) as made_stack:
        made_stack.database_url = url
        yield made_stack
    cluster.drop(url)


def test_new_account(clerk_stack, clerk, cluster):
    """A new Clerk user gets 10 tokens, once, whichever handler comes first and however many."""
    person = Person(clerk_stack, clerk)
    token = clerk.token(person.subject, email="person@example.org")
    assert person.request("GET", "/api/user", token).data["user"]["email"] == "person@example.org"
    assert person.request("GET", "/api/tokens").data["balance"] == 10
    entries = person.request("GET", "/api/tokens/transactions").data["transactions"]
    assert [(entry["amount"], entry["type"]) for entry in entries] == [(10, "bonus")]
    # The e-mail follows the token once the account is looked up anew; no e-mail changes nothing.
    assert cluster.query(clerk_stack.database_url, "SELECT email, device_id FROM users"
                         " WHERE clerk_id = %s", (person.subject,)) == [
                             ("person@example.org", None)]

    subject = new_user()
    tokens_made = [clerk.token(subject) for _ in range(30)]

    def first(token):
        client = clerk_stack.client(anonymous=True)
        try:
            return client.get("/api/tokens", headers=bearer(token)).data["balance"]
        finally:
            client.close()

    with ThreadPoolExecutor(30) as pool:
        assert set(pool.map(first, tokens_made)) == {10}
    assert cluster.value(clerk_stack.database_url,
                         "SELECT count(*) FROM users WHERE clerk_id = %s", (subject,)) == 1


def test_where_the_token_stands(clerk_stack, clerk):
    """Bearer and the session cookies; Authorization decides when it is there."""
    subject = new_user()
    token = clerk.token(subject)
    client = clerk_stack.client(anonymous=True)
    rows = [
        ({"Authorization": f"Bearer {token}"}, 200),
        ({"Authorization": f"bearer   {token} "}, 200),
        ({"Cookie": f"__session={token}"}, 200),
        ({"Cookie": f"a=b; __session={token}; c=d"}, 200),
        ({"Cookie": f"x__session={token}"}, 401),
        ({"Cookie": f"__session_a1B2c3D4={token}"}, 200),
        ({"Cookie": f"__session_={token}"}, 401),
        ({"Cookie": f"__session-abc={token}"}, 401),
        ({"Cookie": f"__Session={token}"}, 401),
        ({"Cookie": "__session="}, 401),
        ({"Cookie": f"__session=x; __session={token}"}, 200),
        ({"Authorization": "Bearer x", "Cookie": f"__session={token}"}, 401),
        ({"Authorization": "Bearer", "Cookie": f"__session={token}"}, 401),
        ({"Authorization": f"Token {token}"}, 401),
        ({"Authorization": token}, 401),
        ({"Authorization": f"Device {token}"}, 401),
        ({"X-Authorization": f"Bearer {token}"}, 401),
        ({}, 401),
    ]
    for headers, status in rows:
        answer = client.get("/api/tokens", headers=headers)
        assert answer.status == status, (headers, answer)
        if status == 401:
            assert answer.json == {"success": False, "error": "Unauthorized",
                                   "code": "unauthorized", "message": "Authentication required"}
    client.close()


def test_refused_over_http(clerk_stack, clerk, issuer):
    """What must be refused is refused on the whole way in, and makes no account."""
    now = int(time.time())
    token_of = lambda **claims: clerk.token("user_refused", **claims)  # noqa: E731
    good = token_of()
    head, body, signature = good.split(".")
    other = clerk.new_key(publish=False)
    rows = {
        "none": issuer.one(do="unsecured", payload=clerk.claims("user_refused")),
        "HS256": issuer.one(do="hmac", secret=clerk.pem(), header=clerk.header(alg="HS256"),
                            payload=clerk.claims("user_refused")),
        "another key": clerk.token("user_refused", key=other,
                                   header={"kid": clerk.signing}),
        "unknown kid, foreign issuer":
            clerk.token("user_refused", key=other, iss="https://clerk.evil.example"),
        "issuer": token_of(iss="https://clerk.evil.example"),
        "azp": token_of(azp="https://evil.example"), "no azp": token_of(azp=None),
        "expired": token_of(exp=now - 30), "early": token_of(nbf=now + 60),
        "machine": clerk.token("user_refused", header={"cat": MACHINE_CATEGORY}),
        "pending": token_of(sts="pending"),
        "truncated": good[:-2], "base64": f"{head}.{body}!.{signature}",
        "two parts": f"{head}.{body}",
    }
    client = clerk_stack.client(anonymous=True)
    for name, token in rows.items():
        for headers in (bearer(token), {"Cookie": f"__session={token}"}):
            answer = client.get("/api/tokens", headers=headers)
            assert (answer.status, answer.code) == (401, "unauthorized"), (name, answer)
    client.close()
    # Too long for nginx, which says so in the contract's format and may close before it has all.
    for size in (9000, 40000):
        client = clerk_stack.client(anonymous=True)
        answer = client.get("/api/tokens", headers=bearer(good + "A" * size))
        assert (answer.status, answer.code) == (431, "headers_too_large")
        client.close()
    # Clock skew, from both sides.
    for claims in ({"exp": now - 2}, {"nbf": now + 4, "iat": now + 4}):
        client = clerk_stack.client(anonymous=True)
        assert client.get("/api/tokens", headers=bearer(token_of(**claims))).status == 200
        client.close()


def test_which_session_cookie_counts(clerk_stack, clerk):
    """Stale before good, foreign beside own, the newest of several, and no more than four."""
    now = int(time.time())
    first, second = new_user(), new_user()
    client = clerk_stack.client(anonymous=True)

    def who(*cookies):
        line = "; ".join(f"{name}={token}" for name, token in cookies)
        answer = client.get("/api/user", headers={"Cookie": line})
        return answer.data["user"]["email"] if answer.status == 200 else answer.status

    def token(subject, issued=0, **claims):
        return clerk.token(subject, email=f"{subject}@example.org", iat=now + issued, **claims)

    stale = token(first, -90, exp=now - 30)
    foreign = clerk.token(second, key=clerk.new_key(publish=False),
                          iss="https://clerk.other.example")
    good, newer = token(first, -20), token(second, -10)
    one, two = f"{first}@example.org", f"{second}@example.org"
    assert who(("__session", stale), ("__session", good)) == one
    assert who(("__session", stale), ("__session_a1B2c3D4", good)) == one
    assert who(("__session_a1B2c3D4", good), ("__session", stale)) == one
    assert who(("__session_zzzzzzzz", foreign), ("__session_a1B2c3D4", good)) == one
    assert who(("__session", foreign), ("__session_a1B2c3D4", good)) == one
    assert who(("__session", good), ("__session_a1B2c3D4", newer)) == two
    assert who(("__session_a1B2c3D4", newer), ("__session", good)) == two
    assert who(("__session", stale), ("__session_zzzzzzzz", foreign)) == 401
    bad = [(f"__session_{i}", f"{i}.{i}.{i}") for i in range(4)]
    assert who(*bad[:3], ("__session", good)) == one
    assert who(*bad, ("__session", good)) == 401
    client.close()


def test_change_by_cookie_needs_an_origin(clerk_stack, clerk, cluster):
    """A page of an allowed or the same origin may change something; no other may, nor a form."""
    person = Person(clerk_stack, clerk)
    own = f"https://127.0.0.1:{clerk_stack.https_port}"
    cookie = {"Cookie": f"__session={clerk.token(person.subject, exp=int(time.time()) + 600)}"}

    def bonus(method="POST", path="/api/tokens", **headers):
        return person.client.request(
            method, path, headers={**cookie, **{name.replace("_", "-"): value
                                                for name, value in headers.items()}})

    evil = "https://evil.example"
    refused = [
        {"Origin": evil}, {"Origin": "null"}, {"Origin": own.replace("https", "http")},
        {"Origin": "https://127.0.0.1"}, {"Origin": "https://app.example.evil.example"}, {},
        {"Origin": evil, "Content_Type": "text/plain"},
        {"Origin": evil, "Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"}, {"Sec_Fetch_Site": "none"},
        {"Referer": evil + "/?" + own}, {"Origin": evil, "Referer": own + "/"},
    ]
    for headers in refused:
        for method, path in (("POST", "/api/tokens"), ("POST", "/api/generations"),
                             ("DELETE", "/api/user"), ("DELETE", "/api/subscriptions"),
                             ("POST", "/api/user/link"), ("POST", "/api/usage")):
            answer = bonus(method, path, **headers)
            assert (answer.status, answer.code) == (403, "origin_not_allowed"), (headers, answer)
    assert bonus("GET", Origin=evil).data["balance"] == 10
    assert bonus("HEAD", Origin=evil).status == 200
    for kind in ("text/plain", "application/x-www-form-urlencoded",
                 "multipart/form-data; boundary=x"):
        answer = bonus(Origin="https://app.example", Content_Type=kind)
        assert (answer.status, answer.code) == (415, "unsupported_media_type"), kind
    assert cluster.value(clerk_stack.database_url, "SELECT count(*) FROM token_transactions t"
                         " JOIN users u ON u.id = t.user_id WHERE u.clerk_id = %s",
                         (person.subject,)) == 1
    allowed = [
        {"Origin": "https://app.example"}, {"Origin": own}, {"Origin": "https://other.example"},
        {"Sec_Fetch_Site": "same-origin"}, {"Origin": "null", "Sec_Fetch_Site": "same-origin"},
        {"Referer": own + "/page"}, {"Referer": "https://app.example/page?x"},
        {"Origin": "https://app.example", "Content_Type": "application/json; charset=utf-8"},
        {"Origin": own, "Content_Type": None},
        {"Origin": "https://public.example", "Host": "public.example"},
    ]
    statuses = [bonus(**headers).status for headers in allowed]
    assert statuses == [200] + [400] * (len(allowed) - 1), statuses
    # Beside Authorization the cookie does not count, and nothing is asked.
    both = {**cookie, "Origin": evil, **bearer(clerk.token(person.subject))}
    assert person.client.post("/api/tokens", headers=both).code == "bonus_already_claimed"
    person.client.close()


def test_change_by_cookie_over_http_2(clerk_stack, clerk):
    """The own origin is told from :authority as it is from Host."""
    own = f"https://127.0.0.1:{clerk_stack.https_port}"
    for origin, status in ((own, "200"), ("https://127.0.0.1", "403")):
        done = subprocess.run(
            ["curl", "-s", "--http2", "--cacert", f"{clerk_stack.run_dir}/tls/certificate.pem",
             "-o", "/dev/null", "-w", "%{http_code} %{http_version}", "-X", "POST",
             "-H", f"Cookie: __session={clerk.token()}", "-H", f"Origin: {origin}",
             f"{own}/api/tokens"], capture_output=True, text=True, timeout=30, check=True)
        assert done.stdout == f"{status} 2"


def test_remembered_until_it_expires(clerk_stack, clerk):
    """A verified token is remembered, by all handlers, and not beyond its expiry and the skew."""
    person = Person(clerk_stack, clerk)
    now = int(time.time())
    token = clerk.token(person.subject, exp=now - 2)  # good for about 3 s more
    assert person.request("GET", "/api/tokens", token).status == 200
    assert person.request("GET", "/api/user", token).status == 200
    wait_until(lambda: person.request("GET", "/api/tokens", token).status == 401, 8, "expired")
    assert time.time() >= now + 3
    assert person.request("GET", "/api/user", token).status == 401


def test_tokens_are_in_no_log(clerk_stack, clerk):
    """Neither a good token nor a bad one, nor a part of them."""
    good, bad = clerk.token(), clerk.token(azp="https://evil.example")
    client = clerk_stack.client(anonymous=True)
    for token in (good, bad):
        client.get("/api/tokens", headers=bearer(token))
        client.get("/api/tokens", headers={"Cookie": f"__session={token}"})
        client.get(f"/api/tokens?token={token}", headers=bearer(token))
    client.close()
    text = clerk_stack.all_logs()
    for token in (good, bad):
        for piece in token.split("."):
            assert piece[-40:] not in text
