"""Every allocation of every handler fails in turn, at its start, in its first request and later.

Each request is then answered as always, with 500 or with 503, or a library ends the process, at a
place that docs/faults.md lists. Whatever was to be done is done whole or not at all, and the same
request again makes it done once. The release build, whatever MODE says: sanitizers have an
allocator of their own.
"""

import collections
import concurrent.futures
import contextlib
import hashlib
import json
import os
import re
import resource
import signal

import pytest

from tests.support.books import BROKEN_BOOKS
from tests.support.movements import WRONG_HOLDS
from tests.support.process import HANDLERS, REPOSITORY
from tests.support.service import ALL_SCOPES
from tests.support.session_tokens import Issuer
from tests.support.sessions import Session, new_id, numbered, open_account, query_text
from tests.support.stack import new_device
from tests.support.torture import Torture
from tests.support.torture_cases import CASES
from tests.support.torture_payments import SHOPS, UNCLEAR, Desk, check_denials
from tests.support.yookassa import Provider

SERVICE_KEY = "key-of-the-torture"
STRANDS = 4  # sweeps at once: they wait for processes and for repetitions most of the time
ROUNDS_MAX = 20000
FAILURES = {500: {"internal_error"}, 503: {"overloaded", "database_unavailable"}}
# What nginx sends and no handler needs: each is one more allocation of libfcgi's, all alike.
LEFT_OUT = dict.fromkeys(("CONTENT_TYPE", "REQUEST_ID"))


# --- requests ---

class Scene:
    """An account nobody has used, and a case about to be played on it."""

    def __init__(self, world, handler, case):
        self.world, self.handler, self.case, self.run = world, handler, case, world.run
        self.device, self.key = new_device(), new_id()
        self.subject = "user_" + new_id().replace("-", "")
        self.users, self.names, self.desk = [], {}, None
        if case.who not in ("new device", "nobody"):
            self.user = open_account(self.run, device_id=self.device)
            self.users.append(self.user)
            self.names["user"] = self.user
            self.desk = Desk(world.provider, self.run, self.user)
        if case.who == "clerk":
            self.users.append(open_account(self.run, clerk_id=self.subject))
        if case.prepare:
            case.prepare(self)

    def _fill_in(self, text):
        for name, value in self.names.items():
            text = text.replace("{" + name + "}", value)
        return text

    def _headers(self):
        if self.case.who == "clerk":
            return {"Authorization": f"Bearer {self.world.token(self.subject)}",
                    "X-Device-Id": self.device}
        if self.case.who == "service":
            return {"Authorization": f"Service {SERVICE_KEY}"}
        known = self.case.who not in ("nobody", "provider", "host")
        return {"Authorization": f"Device {self.device}"} if known else {}

    def ask(self, method, path, body=None, **headers):
        """Any request of this one's."""
        extra = {"REMOTE_ADDR": "127.0.0.1"} if self.case.who in ("provider", "host") else {}
        return self.handler.request(method, path, body=body, keep=False, **LEFT_OUT, **extra,
                                    headers={**self._headers(), **headers})

    def play(self):
        """The request of the case; the same each time."""
        case = self.case
        body = json.loads(self._fill_in(json.dumps(case.body))) if case.body else None
        keyed = {"Idempotency-Key": self.key} if case.method == "POST" else {}
        answer = self.ask(case.method, self._fill_in(case.path), body, **keyed)
        if case.check and answer.status == case.status:
            case.check(self, answer)
        return answer

    def check_orders(self, done):
        """The provider has no payment that we do not know of, and none twice; nor do we when what
        was begun is done."""
        if self.desk:
            ours, theirs = self.desk.orders()
            assert theirs == ours if done else theirs <= ours, (self.case.name, ours, theirs)
            assert set(ours.values()) <= {1}, (self.case.name, ours)

    def state(self):
        """What the account has: numbers of rows, how long texts are that came with requests, and
        how many of its sums are wrong, which is 0."""
        identities = [f"device:{self.device}", f"clerk:{self.subject}"]
        row = self.run("""
            WITH who (user_id) AS (SELECT unnest(%s::uuid[])
                              UNION SELECT user_id FROM user_identities WHERE identity = ANY(%s)),
                 holds AS (SELECT * FROM token_holds JOIN who USING (user_id))
            SELECT (SELECT count(*) FROM token_transactions JOIN who USING (user_id)),
                   (SELECT count(*) FROM user_identities JOIN who USING (user_id)),
                   (SELECT count(*) FROM holds WHERE status = 'pending'),
                   (SELECT count(*) FROM holds WHERE status <> 'pending'),
                   (SELECT sum(length(description)) FROM token_transactions
                    JOIN who USING (user_id)),
                   (SELECT count(*) FROM generations JOIN who USING (user_id)),
                   (SELECT sum(length(image_url) + length(trend)) FROM generations
                    JOIN who USING (user_id)),
                   (SELECT count(*) FROM usage_logs JOIN who USING (user_id)),
                   (SELECT count(yookassa_payment_id) FROM payments JOIN who USING (user_id)),
                   (SELECT count(*) FROM payments JOIN who USING (user_id)
                    WHERE status = 'succeeded'),
                   (SELECT count(yookassa_refund_id) FROM payment_refunds
                    JOIN who USING (user_id)),
                   (SELECT count(*) FROM subscriptions JOIN who USING (user_id)),
                   (SELECT count(*) FROM subscriptions JOIN who USING (user_id)
                    WHERE cancel_at_period_end),
                   (SELECT count(last_bonus_date) FROM user_tokens JOIN who USING (user_id)),
                   (SELECT count(*) FROM users u JOIN who ON who.user_id = u.id
                    WHERE u.erased_at IS NOT NULL OR u.merged_into IS NOT NULL),
                   (SELECT count(*) FROM user_tokens t JOIN who USING (user_id)
                    WHERE t.balance <> (SELECT sum(e.amount) FROM token_transactions e
                                        WHERE e.user_id = t.user_id)
                    OR t.held <> (SELECT coalesce(sum(h.amount), 0) FROM holds h
                                  WHERE h.user_id = t.user_id AND h.status = 'pending'))
            """, self.users, identities)[0]
        return tuple(value or 0 for value in row)


def shape(answer):
    """What two whole answers of a case have in common."""
    text = answer.body.decode()
    if answer.status == 204:
        assert not text
        return None
    kind = answer.headers["Content-Type"].partition(";")[0]
    if kind == "text/plain":
        assert text.endswith("\n")
        return {"process_start_time_seconds"} <= set(re.findall(r"^\w+", text, re.M))
    if kind == "application/x-ndjson":
        lines = [json.loads(line) for line in text.splitlines()]
        assert lines[-1] == {"type": "end", "lines": len(lines) - 1}
        return [line["type"] for line in lines]
    whole = json.loads(text)
    assert len(answer.body) == int(answer.headers["Content-Length"])
    data = whole.get("data", {})
    results = data.get("results", [])
    # A notification may have been acted upon when it is looked at.
    members = set(whole) - {"alreadyProcessed"}
    return members, set(data), [(one["operationId"], one["status"]) for one in results]


# --- what surrounds the requests ---

class World:
    """A database for the handlers of a test, a service key and an issuer of Clerk tokens."""

    def __init__(self, released, cluster, url, issuer):
        self.released, self.cluster, self.url, self.issuer = released, cluster, url, issuer
        self.run = None  # of the strand's own session
        self.provider = None
        self.tokens = {}

    def environment(self, name, clerk):
        """Of a handler. Who verifies tokens starts all of libcrypto, which takes its time."""
        shop = self.provider.environment() if name in SHOPS else {}
        return {"POSTGRES_URL": self.url, "CLERK_JWT_KEY": self.issuer.public if clerk else "",
                **shop}

    def token(self, subject):
        """One token for each account of Clerk's."""
        if subject not in self.tokens:
            self.tokens[subject] = self.issuer.token(subject)
        return self.tokens[subject]

    @contextlib.contextmanager
    def strand(self, name, case):
        """A world of its own for one thread, and a handler of its own."""
        session = Session(self.cluster, self.url)
        mine = World(self.released, self.cluster, self.url, self.issuer)
        mine.run, mine.provider = session.run, self.provider
        handler = Torture(self.released, name, **self.environment(name, case.who == "clerk"))
        try:
            yield mine, handler
            check_denials(handler)
        finally:
            handler.close()
            session.close()


@pytest.fixture(scope="module")
def released():
    """The executables of the release build."""
    folder = os.path.join(REPOSITORY, "build", "release", "bin")
    assert os.path.exists(os.path.join(folder, "tokens")), "expected make MODE=release before"
    return folder


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    """Who signs the Clerk tokens."""
    return Issuer(tmp_path_factory.mktemp("issuer"))


@pytest.fixture(scope="module", autouse=True)
def no_core_files():
    """The processes that die here leave nothing."""
    old = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, old)


@pytest.fixture
def world(released, cluster, database, issuer):
    """A world whose books have to agree at the end."""
    made = World(released, cluster, database, issuer)
    cluster.query(database, "INSERT INTO service_keys (name, key_hash, scopes) VALUES"
                  " ('torture', %s, %s)",
                  (hashlib.sha256(SERVICE_KEY.encode()).hexdigest(), ALL_SCOPES + ",refund"))
    with Provider() as made.provider:
        yield made
    for query, values in ((BROKEN_BOOKS, None), (WRONG_HOLDS, None),
                          (query_text("ledger_verify"), numbered()),
                          (query_text("payment_verify"), numbered()),
                          ("SELECT kind, details FROM payment_differences", None)):
        assert cluster.query(database, query, values) == []


def listed():
    """The places of docs/faults.md where a library may end the process: {during: {place}}."""
    with open(os.path.join(REPOSITORY, "docs", "faults.md"), encoding="utf-8") as file:
        rows = re.findall(r"^\| (\w+) \| `([\w.-]+)` \| `(\w+)` \|", file.read(), re.M)
    places = collections.defaultdict(set)
    for during, library, function in rows:
        places[during].add((library, function))
    return places


def places_of(*cases):
    """Those where requests may end the process. A session token is JSON as well as a body."""
    places = listed()
    with_json = any(case.body or case.who == "clerk" for case in cases)
    return places["request"] | (places["json"] if with_json else set())


# --- one allocation fails ---

class Sweep:
    """A case played again and again, the next allocation failing each time."""

    def __init__(self, world, handler, case):
        self.world, self.handler, self.case = world, handler, case
        self.deaths = set()
        scene = Scene(world, handler, case)
        before = scene.state()
        answer = scene.play()
        assert answer.status == case.status, (case.name, answer)
        self.shape = shape(answer)
        self.change = [b - a for a, b in zip(before, scene.state())]

    def check_answer(self, outcome):
        """A whole answer of the usual kind or a failure that says so."""
        answer = outcome.answer
        if answer.status == self.case.status:
            assert shape(answer) == self.shape, str(outcome)
            return
        if self.handler.name in SHOPS and answer.code in UNCLEAR.get(answer.status, ()):
            return
        assert answer.status in FAILURES, str(outcome)
        if "data" in answer.json:  # of health, which found no database
            assert answer.json["data"]["checks"]["database"]["status"] == "unhealthy", str(outcome)
        else:
            assert answer.code in FAILURES[answer.status], str(outcome)
            assert answer.status == 500 or answer.headers["Retry-After"], str(outcome)

    def check_death(self, outcome):
        """The library that lacked the memory ended the process."""
        assert outcome.signal in (signal.SIGABRT, signal.SIGSEGV), str(outcome)
        assert outcome.died_in.library == outcome.failed.library, str(outcome)
        assert outcome.failed.library != self.handler.name, str(outcome)
        self.deaths.add(outcome.failed.key)

    def round(self, number):
        """Returns whether so many allocations were made at all."""
        scene = Scene(self.world, self.handler, self.case)
        before = scene.state()
        done = tuple(a + b for a, b in zip(before, self.change))
        outcome = self.handler.attempt(number, scene.play)
        message = f"{self.case.name}, allocation {number}: {outcome}"
        if outcome.died:
            self.check_death(outcome)
            self.handler.start()
        elif outcome.answer:
            self.check_answer(outcome)
        else:
            # A stream that had begun ends without the record that would make it whole.
            assert self.case.path == "/api/user/export" and outcome.failed, message
        after = scene.state()
        message += f"\n{before} before, {done} when done, {after} after"
        assert after in (before, done), message
        scene.check_orders(after == done)
        usual = outcome.answer and outcome.answer.status == self.case.status
        assert not usual or after == done, message
        if not outcome.failed:
            assert usual, message
            return False
        if scene.desk:
            scene.desk.look_again()
        again = scene.play()
        allowed = (self.case.status, *(self.case.again if after == done else ()))
        message += f", again {again}"
        assert again.status in allowed, message
        assert scene.state() == done, message
        scene.check_orders(True)
        return True

    def while_warm(self):
        """Each allocation of a request that others have gone before."""
        for number in range(1, ROUNDS_MAX):
            if not self.round(number):
                return
        raise AssertionError(f"{self.case.name}: no end")

    def while_cold(self, first, step):
        """Allocations of the first request of a process."""
        for number in range(first, ROUNDS_MAX, step):
            self.handler.kill()
            self.handler.start()
            if not self.round(number):
                return
        raise AssertionError(f"{self.case.name}: no end")

    def at_start(self, first, step):
        """Allocations of the start: the handler is ready after all, or gone and can be started
        again. Status 78 would mean that nobody tries (docs/configuration.md)."""
        for number in range(first, ROUNDS_MAX, step):
            self.handler.kill()
            outcome = self.handler.attempt_start(number)
            message = f"allocation {number}: {outcome}"
            if outcome.signal:
                self.check_death(outcome)
            else:
                assert outcome.status in (None, 1), message
            if outcome.died:
                self.handler.start()
            answer = Scene(self.world, self.handler, self.case).play()
            assert answer.status == self.case.status, f"{message}\n{answer}"
            if not outcome.failed:
                assert outcome.status is None, message
                return
        raise AssertionError(f"{self.handler.name}: no end")


def sweep(world, name, jobs):
    """Runs jobs, pairs (case, how), STRANDS at once, each with a handler of its own. Returns the
    places where processes died."""
    def run(job):
        case, how = job
        with world.strand(name, case) as (mine, handler):
            made = Sweep(mine, handler, case)
            how(made)
            return made.deaths
    with concurrent.futures.ThreadPoolExecutor(STRANDS) as pool:
        return set().union(*pool.map(run, jobs))


# --- tests ---

def test_every_route_has_a_case():
    """So that a handler that is added, or a route of one, is here as well."""
    for name in HANDLERS:
        with open(os.path.join(REPOSITORY, "handlers", name + ".c"), encoding="utf-8") as file:
            routes = set(re.findall(r'^ +\{"([A-Z]+)", "([^"]+)",', file.read(), re.M))
        assert routes
        cases = {(case.method, case.route or case.path.partition("?")[0]) for case in CASES[name]}
        assert cases == routes, name


@pytest.mark.parametrize("name", HANDLERS)
def test_warm(world, name):
    """Every kind of request of a handler that has been running."""
    deaths = sweep(world, name, [(case, Sweep.while_warm) for case in CASES[name]])
    assert deaths == places_of(*CASES[name])


@pytest.mark.parametrize("name", HANDLERS)
def test_first_request(world, name):
    """The first request of a process, which connects to the database, and to the provider of
    payments. Of the handlers whose first request does what that of tokens does, or of payments,
    every third allocation."""
    case = CASES[name][1 if name in ("tokens", "payments") else 0]
    pace = 3 if name in ("generations", "usage", "user", *SHOPS) else 1
    deaths = sweep(world, name, [
        (case, lambda made, first=first: made.while_cold(first, STRANDS * pace))
        for first in range(1, STRANDS * pace + 1, pace)])
    assert deaths == places_of(case)


@pytest.mark.parametrize("name, place, step", (
    ("metrics", 0, 1),   # no database
    ("tokens", 0, 1),    # as all others
    ("tokens", 2, 100),  # and thousands of libcrypto's, for Clerk's tokens
    ("payments", 0, 100),  # or for the calls of the provider
))
def test_start(world, name, place, step):
    """A handler that cannot start leaves, and starts when there is memory. All of them start by the
    same code, as far as their needs are the same (process/app_open.c)."""
    case = CASES[name][place]
    deaths = sweep(world, name, [
        (case, lambda made, first=first: made.at_start(first, STRANDS * step))
        for first in range(1, STRANDS * step + 1, step)])
    places = listed()["start"]
    assert deaths == places or (step > 1 and deaths < places)
