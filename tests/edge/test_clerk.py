"""Clerk's session tokens: what is refused, agreement with @clerk/backend, and the whole way in."""

import glob
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.clerk import tokens
from tests.support.clerk import (
    MACHINE_CATEGORY, PARTIES, Clerk, Issuer, Person, bearer, new_user, part)
from tests.support.fastcgi import plain_cgi
from tests.support.process import REPOSITORY, wait_until
from tests.support.stack import Stack

NOW = 1767225600  # 2026-01-01


@pytest.fixture(scope="module")
def issuer():
    """One Node process for the module."""
    with Issuer() as made:
        yield made


@pytest.fixture(scope="module")
def clerk(issuer):
    """A Clerk without faults."""
    with Clerk(issuer) as made:
        yield made


@pytest.fixture(scope="module")
def verify(mode, clerk, tmp_path_factory):
    """verify(tokens): our verdict on each, at NOW or at times[i]; the subject, or None."""
    binary = os.path.join(REPOSITORY, "build", mode, "tests", "clerk", "verify")
    assert os.path.exists(binary), f"expected make MODE={mode} unit before"
    pem = tmp_path_factory.mktemp("clerk") / "key.pem"
    pem.write_text(clerk.pem())

    def run(texts, times=None, issuer_name=clerk.url, parties=PARTIES):
        lines = [f"{times[i] if times else NOW} {text.encode().hex()}\n"
                 for i, text in enumerate(texts)]
        done = subprocess.run([binary, pem, issuer_name, ", ".join(parties)], text=True,
                              input="".join(lines), capture_output=True, timeout=60, check=False)
        assert done.returncode == 0 and not done.stderr, done.stderr
        verdicts = done.stdout.split("\n")[:-1]
        assert len(verdicts) == len(texts)
        return [line[3:] if line.startswith("ok ") else None for line in verdicts]

    return run


def made(issuer, table):
    """{name: token} of {name: command or token}."""
    names = [name for name, item in table.items() if isinstance(item, dict)]
    done = dict(zip(names, issuer.run([table[name] for name in names])))
    return {name: done.get(name, item) for name, item in table.items()}


def judged(issuer, clerk, texts, now=NOW):
    """What @clerk/backend says of each: None when it is good, else why not."""
    options = {"jwtKey": clerk.pem(), "authorizedParties": list(PARTIES), "issuer": clerk.url}
    return issuer.run([{"do": "clerk", "token": text, "now": now, "options": options}
                       for text in texts])


def refusals(clerk):
    """The table of what must be refused: {name: command or token}."""
    claims, header = clerk.claims("user_table", now=NOW), clerk.header()
    other = clerk.new_key(publish=False)

    def jose(head=None, key=clerk.signing, **changes):
        payload = {name: value for name, value in {**claims, **changes}.items()
                   if value is not None}
        return {"do": "jose", "key": key, "header": {**header, **(head or {})}, "payload": payload}

    def raw(head=None, body=None):
        return {"do": "raw", "key": clerk.signing, "head": part(header if head is None else head),
                "body": part(claims if body is None else body)}

    good = clerk.issuer.one(**jose())
    head, body, signature = good.split(".")
    no_party = {name: value for name, value in claims.items() if name != "azp"}
    return {
        "alg none": {"do": "unsecured", "payload": claims},
        "alg none, signed": raw({**header, "alg": "none"}),
        "alg none, our signature": f"{part({**header, 'alg': 'none'})}.{body}.{signature}",
        "alg none, no signature": f"{part({**header, 'alg': 'none'})}.{body}.",
        "HS256 with the public key as secret":
            {"do": "hmac", "secret": clerk.pem(), "header": {**header, "alg": "HS256"},
             "payload": claims},
        "another key, our kid": jose(key=other),
        "another key, its kid": jose({"kid": other}, key=other),
        "RS384": jose({"alg": "RS384"}),
        "RS512": jose({"alg": "RS512"}),
        "PS256": jose({"alg": "PS256"}),
        "wrong issuer": jose(iss="https://clerk.evil.example"),
        "issuer with a slash": jose(iss=clerk.url + "/"),
        "no issuer": jose(iss=None),
        "issuer not a text": jose(iss=[clerk.url]),
        "wrong azp": jose(azp="https://evil.example"),
        "missing azp": raw(body=no_party),
        "azp empty": jose(azp=""),
        "azp not a text": jose(azp=[PARTIES[0]]),
        "azp both of the list": jose(azp=", ".join(PARTIES)),
        "expired": jose(exp=NOW - 60),
        "expired, at the skew": jose(exp=NOW - 5),
        "no exp": jose(exp=None),
        "exp as a text": raw(body={**claims, "exp": str(NOW + 60)}),
        "exp null": raw(body={**claims, "exp": None}),
        "exp true": raw(body={**claims, "exp": True}),
        "not yet valid": jose(nbf=NOW + 60),
        "nbf null": raw(body={**claims, "nbf": None}),
        "nbf as a text": raw(body={**claims, "nbf": str(NOW)}),
        "issued in the future": jose(iat=NOW + 60),
        "iat null": raw(body={**claims, "iat": None}),
        "no sub": raw(body={name: value for name, value in claims.items() if name != "sub"}),
        "sub a number": raw(body={**claims, "sub": 12345}),
        "sub null": raw(body={**claims, "sub": None}),
        "sub a list": raw(body={**claims, "sub": ["user_table"]}),
        "sub empty": jose(sub=""),
        "machine token": jose({"cat": MACHINE_CATEGORY}),
        "crit": raw({**header, "crit": ["exp"]}),
        "typ of an access token": jose({"typ": "at+jwt"}),
        "typ null": raw({**header, "typ": None}),
        "sts pending": jose(sts="pending"),
        "1 MB": jose(filler="x" * 1_000_000),
        "1 MB of dots": "." * 1_000_000,
        "1 MB of header": "A" * 1_000_000 + f".{body}.{signature}",
        "truncated": good[:-1],
        "truncated by half": good[: len(good) // 2],
        "truncated in the payload": good[: len(head) + 20],
        "signature empty": f"{head}.{body}.",
        "signature missing": f"{head}.{body}",
        "header empty": f".{body}.{signature}",
        "payload empty": f"{head}..{signature}",
        "payload empty, signed": {"do": "raw", "key": clerk.signing, "head": head, "body": ""},
        "all parts empty": "..",
        "nothing": "",
        "double dot": f"{head}..{body}.{signature}",
        "four parts": f"{good}.{signature}",
        "dot behind": f"{good}.",
        "bad base64: a blank": f"{head}.{body[:10]} {body[10:]}.{signature}",
        "bad base64: plus": f"{head}.{body}.+{signature[1:]}",
        "bad base64: slash": f"{head}.{body}./{signature[1:]}",
        "bad base64: padding": f"{good}==",
        "bad base64: impossible length": f"{good}AAA",
        "bad base64: in the signed header":
            {"do": "raw", "key": clerk.signing, "head": "!" + head, "body": body},
        "bad base64: in the signed payload":
            {"do": "raw", "key": clerk.signing, "head": head, "body": body + "!"},
        "header not JSON": raw(head="RS256"),
        "payload not JSON": raw(body="user_table"),
        "payload an array": raw(body=[claims]),
        "payload of another token": f"{head}.{part({**claims, 'sub': 'user_other'})}.{signature}",
        "a device id": "device_0123456789abcdef",
    }


def test_refused(clerk, issuer, verify):
    """Every token of the table is refused, and the good one they were made from is not."""
    table = made(issuer, refusals(clerk))
    good = made(issuer, {"good": {"do": "jose", "key": clerk.signing, "header": clerk.header(),
                                  "payload": clerk.claims("user_table", now=NOW)}})["good"]
    verdicts = dict(zip(table, verify(list(table.values()))))
    assert {name: subject for name, subject in verdicts.items() if subject is not None} == {}
    assert verify([good]) == ["user_table"]


def test_accepted(clerk, issuer, verify):
    """Good tokens of several kinds, and the clock's skew up to where it ends."""
    claims, header = clerk.claims("user_good", now=NOW), clerk.header()
    kinds = {
        "as Clerk makes it": (header, claims),
        "other party": (header, {**claims, "azp": PARTIES[1]}),
        "no typ": ({k: v for k, v in header.items() if k != "typ"}, claims),
        "no category": ({k: v for k, v in header.items() if k != "cat"}, claims),
        "no nbf, no iat": (header, {k: v for k, v in claims.items() if k not in ("nbf", "iat")}),
        "no sts": (header, {k: v for k, v in claims.items() if k != "sts"}),
        "fractions of seconds": (header, {**claims, "exp": NOW + 0.5, "iat": NOW - 0.5}),
        "expired 4 s ago": (header, {**claims, "exp": NOW - 4}),
        "valid in 4 s": (header, {**claims, "nbf": NOW + 4}),
        "valid in 5 s": (header, {**claims, "nbf": NOW + 5}),
        "issued in 4 s": (header, {**claims, "iat": NOW + 4}),
        "expires in a year": (header, {**claims, "exp": NOW + 31536000}),
    }
    table = made(issuer, {name: {"do": "jose", "key": clerk.signing, "header": head,
                                 "payload": payload} for name, (head, payload) in kinds.items()})
    verdicts = dict(zip(table, verify(list(table.values()))))
    assert {name for name, subject in verdicts.items() if subject != "user_good"} == set()
    # One token at each second around its life, which lasts from nbf to exp.
    token = clerk.issuer.one(do="jose", key=clerk.signing, header=header,
                             payload={**claims, "iat": NOW, "nbf": NOW, "exp": NOW + 60})
    times = list(range(NOW - 10, NOW + 71))
    accepted = [at - NOW for at, subject in zip(times, verify([token] * len(times), times))
                if subject]
    assert accepted == list(range(-5, 65))


def test_policy_not_configured(clerk, issuer, verify):
    """Without an issuer or authorized parties those claims are not looked at."""
    claims = clerk.claims("user_policy", now=NOW, iss="https://anybody.example",
                          azp="https://anywhere.example")
    token = issuer.one(do="jose", key=clerk.signing, header=clerk.header(), payload=claims)
    assert verify([token], issuer_name="", parties=()) == ["user_policy"]
    assert verify([token], parties=()) == [None]
    assert verify([token], issuer_name="") == [None]


@pytest.mark.quick
def test_agreement(clerk, issuer, verify):
    """@clerk/backend and this verifier say the same of each of at least 2,000 tokens."""
    good = issuer.one(do="jose", key=clerk.signing, header=clerk.header(),
                      payload=clerk.claims("user_agreement", now=NOW))
    table = made(issuer, {
        **tokens.resigned_by_others(clerk, NOW), **tokens.changed_claims(clerk, NOW),
        **tokens.changed_headers(clerk, NOW), **tokens.changed_json(clerk, NOW),
        **tokens.changed_bytes(clerk, good, 2500),
    })
    texts = list(table.values())
    assert len(set(texts)) >= 2000
    ours, theirs = verify(texts), judged(issuer, clerk, texts)
    disagreed = {name: {"ours": mine, "theirs": why or "good"}
                 for name, mine, why in zip(table, ours, theirs) if (mine is None) != bool(why)}
    assert not disagreed, "\n".join(f"{name}: {verdicts}" for name, verdicts in disagreed.items())
    # Both say both often enough for the agreement to mean something.
    accepted = sum(mine is not None for mine in ours)
    assert accepted >= 200 and len(texts) - accepted >= 1000


def test_stricter(clerk, issuer, verify):
    """The whole list of what @clerk/backend accepts and this verifier does not."""
    table = made(issuer, tokens.stricter(clerk, NOW))
    texts = list(table.values())
    accepted_here = [name for name, mine in zip(table, verify(texts)) if mine is not None]
    refused_there = {name: why for name, why in zip(table, judged(issuer, clerk, texts)) if why}
    assert accepted_here == []
    assert refused_there == {}


# --- the whole way: nginx, handlers, database ---


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
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
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


def test_keys_of_the_running_handlers(cluster, database, make_handler, issuer):
    """A handler keeps its keys whatever the key set's server does, and takes new ones up."""
    with Clerk(issuer) as clerk:
        handler = make_handler("tokens", POSTGRES_URL=database, **clerk.environment())

        def status(key=None):
            return handler.request("GET", "/api/tokens",
                                   headers=bearer(clerk.token(key=key))).status

        # Nothing is fetched before somebody brings a token.
        assert handler.request("GET", "/api/tokens", device="device_0123456789abcdef").status == 200
        assert clerk.fetches == []
        assert status() == 200
        new = clerk.new_key()
        # Made-up key ids, from many at once: no fetch within ten seconds of the last, and no verdict.
        with ThreadPoolExecutor(16) as pool:
            assert set(pool.map(lambda _: status(new), range(50))) == {503}
        assert len(clerk.fetches) == 1
        wait_until(lambda: status(new) == 200, 12, "the new key is taken up")
        assert len(clerk.fetches) == 2 and clerk.fetches[1] - clerk.fetches[0] >= 9.9
        gone = clerk.new_key(publish=False)
        wait_until(lambda: status(gone) == 401, 12, "a key that is not published is refused")
        assert len(clerk.fetches) == 3
        clerk.fault = "hang"
        assert status() == 200
        events = [event["message"] for event in handler.events()]
        assert "key set not fetched" not in events
        assert clerk.pem().split("\n")[1] not in handler.log()


def test_new_key_while_the_key_set_cannot_be_fetched(database, make_handler, issuer):
    """Known keys go on; a new one is neither good nor bad, until a fetch says which."""
    with Clerk(issuer) as clerk:
        handler = make_handler("tokens", POSTGRES_URL=database, **clerk.environment())

        def ask(token):
            return handler.request("GET", "/api/tokens", headers=bearer(token))

        assert ask(clerk.token()).status == 200
        new = clerk.new_key()
        clerk.fault = "error"
        wait_until(lambda: ask(clerk.token(key=new)) and len(clerk.fetches) == 2, 12, "a try")
        answer = ask(clerk.token(key=new))
        assert (answer.status, answer.code) == (503, "identity_unavailable")
        assert 1 <= int(answer.headers["Retry-After"]) <= 10
        assert ask(clerk.token()).status == 200
        # What no key could make good is no reason to wait.
        for claims in ({"iss": "https://clerk.evil.example"}, {"exp": int(time.time()) - 30},
                       {"azp": "https://evil.example"}, {"sts": "pending"}):
            assert ask(clerk.token(key=new, **claims)).status == 401, claims
        clerk.fault = None
        wait_until(lambda: ask(clerk.token(key=new)).status == 200, 12, "the new key")
        assert [event["message"] for event in handler.events()].count("key set not fetched") == 1


def test_before_the_first_key_set(database, make_handler, issuer):
    """A token nobody can judge yet is neither good nor bad: 503, and a later one is good."""
    with Clerk(issuer) as clerk:
        clerk.fault = "error"
        handler = make_handler("tokens", POSTGRES_URL=database, **clerk.environment())
        good = clerk.token()
        for _ in range(3):
            answer = handler.request("GET", "/api/tokens", headers=bearer(good))
            assert (answer.status, answer.code) == (503, "identity_unavailable")
            assert 8 <= int(answer.headers["Retry-After"]) <= 10
            assert answer.json["waitTime"] == int(answer.headers["Retry-After"])
        for bad in ("x", "a.b.c", "device_0123456789abcdef"):
            answer = handler.request("GET", "/api/tokens", headers=bearer(bad))
            assert (answer.status, answer.code) == (401, "unauthorized")
        assert len(clerk.fetches) == 1
        clerk.fault = None
        wait_until(lambda: handler.request(
            "GET", "/api/tokens", headers=bearer(clerk.token())).status == 200, 12, "keys")


def test_bad_configuration(binaries):
    """A handler refuses to start and names the variable, without its value."""
    for name, value in (("CLERK_JWT_KEY", "no-such-key-value"),
                        ("CLERK_JWKS_URL", "http://clerk.example/no-such-key-value"),
                        ("CLERK_ISSUER", "no-such-key-value")):
        environment = {"POSTGRES_URL": "postgresql://nobody@127.0.0.1:1/none", name: value,
                       "SHARED_MEMORY": f"/dev/shm/dl-test-{os.getpid()}-clerk"}
        status, answer, errors = plain_cgi(binaries, "tokens", path="/api/tokens", env=environment)
        for path in glob.glob(environment["SHARED_MEMORY"] + ".*"):
            os.unlink(path)
        assert status == 78 and answer is None, (status, answer, errors)
        assert name in errors and "no-such-key-value" not in errors


def test_networkless(cluster, database, make_handler, clerk):
    """CLERK_JWT_KEY alone, written in one line: no fetch, any key id."""
    before = len(clerk.fetches)
    handler = make_handler("tokens", POSTGRES_URL=database, **clerk.environment(networkless=True))
    for header in ({}, {"kid": "whatever"}):
        token = clerk.token(header=header)
        assert handler.request("GET", "/api/tokens", headers=bearer(token)).status == 200
    other = clerk.new_key(publish=False)
    token = clerk.token(key=other, header={"kid": clerk.signing})
    assert handler.request("GET", "/api/tokens", headers=bearer(token)).status == 401
    assert len(clerk.fetches) == before


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
