"""Clerk's keys: fetched, kept, changed, configured."""

import glob
import os
import time
from concurrent.futures import ThreadPoolExecutor

from tests.support.clerk import Clerk, bearer
from tests.support.fastcgi import plain_cgi
from tests.support.process import wait_until


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
        # Made-up key ids, from many at once: no fetch within ten seconds of the last, no verdict.
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
