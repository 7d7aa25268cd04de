"""Many requests at once: one account, one bonus, limits that hold, a cache that is never stale."""

import contextlib
import threading

import pytest

from tests.handlers.test_generations import IMAGE
from tests.support.fastcgi import Handler
from tests.support.stack import new_device

AT_ONCE = 50


def all_at_once(jobs):
    """Runs every job in a thread of its own, released together. Returns their results."""
    barrier = threading.Barrier(len(jobs))
    results = [None] * len(jobs)

    def run(index, job):
        barrier.wait(30)
        try:
            results[index] = job()
        except Exception as problem:  # pylint: disable=broad-except
            results[index] = problem
    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    problems = [result for result in results if isinstance(result, Exception)]
    assert not problems, problems[:3]
    return results


@contextlib.contextmanager
def clients(stack, device, count=AT_ONCE):
    """Clients of one device whose connections are open already."""
    made = [stack.client(device) for _ in range(count)]
    anonymous = stack.client(anonymous=True)
    for client in made:
        assert client.get("/api/health/live", headers={"Authorization": None}).status == 200
    yield made
    for client in made + [anonymous]:
        client.close()


def ledger(cluster, stack, device):
    """(accounts, balance, entries, sum) of a device."""
    return cluster.query(stack.database_url, """
        SELECT (SELECT count(*) FROM users WHERE device_id = %(device)s),
               (SELECT t.balance FROM user_tokens t JOIN users u ON u.id = t.user_id
                WHERE u.device_id = %(device)s),
               (SELECT count(*) FROM token_transactions e JOIN users u ON u.id = e.user_id
                WHERE u.device_id = %(device)s),
               (SELECT sum(amount) FROM token_transactions e JOIN users u ON u.id = e.user_id
                WHERE u.device_id = %(device)s)""", {"device": device})[0]


@pytest.mark.quick
@pytest.mark.parametrize("turn", range(5))
def test_first_requests_of_one_device(stack, cluster, turn):
    """50 at once over all handlers: one user, one welcome bonus of 5, one ledger entry."""
    device = new_device()
    paths = ["/api/tokens", "/api/user", "/api/generations", "/api/usage",
             "/api/tokens/transactions", "/api/user/stats"]
    with clients(stack, device) as made:
        answers = all_at_once([lambda c=client, p=paths[i % len(paths)]: c.get(p)
                               for i, client in enumerate(made)])
    assert {answer.status for answer in answers} == {200}, answers
    assert ledger(cluster, stack, device) == (1, 5, 1, 5)
    ids = {answer.data["user"]["id"] for answer in answers[1::6]}
    assert len(ids) == 1


@pytest.mark.quick
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("turn", range(3))
def test_bonus_claims_at_once(stack, cluster, known, turn):
    """50 at once: one succeeds; also when they are the device's first requests."""
    device = new_device()
    with clients(stack, device) as made:
        if known:
            made[0].get("/api/tokens")
        answers = all_at_once([lambda c=client: c.post("/api/tokens") for client in made])
    assert sorted(answer.status for answer in answers) == [200] + [400] * (AT_ONCE - 1), answers
    awarded = [answer for answer in answers if answer.status == 200][0].data["tokensAwarded"]
    assert ledger(cluster, stack, device) == (1, 5 + awarded, 2, 5 + awarded)


@pytest.mark.quick
@pytest.mark.parametrize("path,body,limit,table", [
    ("/api/generations", {"imageUrl": IMAGE}, 10, "generations"),
    ("/api/usage", {"action": "download"}, 60, "usage_logs"),
])
def test_limits_hold_at_once(stack, cluster, path, body, limit, table):
    device = new_device()
    with clients(stack, device) as made:
        answers = []
        for _ in range(2):
            answers += all_at_once([lambda c=client: c.post(path, body) for client in made])
    statuses = [answer.status for answer in answers]
    assert statuses.count(201) == limit
    assert statuses.count(429) == 2 * AT_ONCE - limit
    stored = cluster.value(stack.database_url, f"""
        SELECT count(*) FROM {table} x JOIN users u ON u.id = x.user_id
        WHERE u.device_id = %s""", (device,))
    assert stored == limit
    if table == "usage_logs":
        remaining = sorted(answer.data["remaining"] for answer in answers if answer.status == 201)
        assert remaining == list(range(limit))


def test_one_generation_deleted_by_many(stack):
    device = new_device()
    with clients(stack, device, 20) as made:
        created = made[0].post("/api/generations", {"imageUrl": IMAGE}).data["generation"]["id"]
        answers = all_at_once([lambda c=client: c.delete(f"/api/generations/{created}")
                               for client in made])
    assert sorted(answer.status for answer in answers) == [204] + [404] * 19


def test_more_devices_at_once_than_there_are_threads(stack, cluster):
    before = cluster.value(stack.database_url, "SELECT count(*) FROM users")
    made = [stack.client() for _ in range(100)]
    answers = all_at_once([lambda c=client: c.post("/api/tokens") for client in made])
    assert {answer.status for answer in answers} == {200}
    assert cluster.value(stack.database_url, "SELECT count(*) FROM users") == before + 100


class Coherence:
    """Devices whose balance is changed through one handler and read through another at once."""

    def __init__(self, reader, second, writer, user):
        self.handlers = reader, second, writer, user
        self.stale, self.reads, self.lock = [], 0, threading.Lock()

    def check(self, what, expected, data):
        found = data["balance"], data["canClaimBonus"]
        with self.lock:
            self.reads += 1
            if found != expected:
                self.stale.append((what, expected, found))

    def disturb(self, device_box, stop):
        """Reads the same device all the time, so that old values are about to be stored."""
        with self.handlers[1].connect() as second:
            while not stop.is_set():
                second.request("GET", "/api/tokens", device=device_box[0])

    def work(self, rounds):
        device_box = [new_device()]
        stop = threading.Event()
        with contextlib.ExitStack() as stack:
            reader, _, writer, user = (stack.enter_context(handler.connect())
                                       for handler in self.handlers)
            disturber = threading.Thread(target=self.disturb, args=(device_box, stop))
            disturber.start()
            try:
                for number in range(rounds):
                    if number % 50 == 0:
                        device_box[0] = new_device()
                    device = device_box[0]
                    self.check("new", (5, True), reader.request(
                        "GET", "/api/tokens", device=device).data)
                    claimed = writer.request("POST", "/api/tokens", device=device).data["balance"]
                    self.check("claimed", (claimed, False), reader.request(
                        "GET", "/api/tokens", device=device).data)
                    user.request("DELETE", "/api/user", device=device)
            finally:
                stop.set()
                disturber.join()


@pytest.mark.quick
@pytest.mark.seconds(300)
def test_a_balance_read_after_a_write_is_the_new_one(cluster, database, binaries):
    """10,000 of 10,000: the bonus and the erasure each change what another process then reads."""
    # As if every account were of somebody new: of an address without limit, and never erased.
    cluster.query(database, """
        UPDATE app_settings SET value = 1000000 WHERE name = 'anonymous_bonuses_per_hour';
        CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER forget BEFORE INSERT ON erased_identities
            FOR EACH ROW EXECUTE FUNCTION forget()""")
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(Handler(binaries, "tokens", POSTGRES_URL=database))
        shared = {"shared_memory": first.shared_memory, "POSTGRES_URL": database}
        second = stack.enter_context(Handler(binaries, "tokens", **shared))
        writer = stack.enter_context(Handler(binaries, "tokens", **shared))
        user = stack.enter_context(Handler(binaries, "user", **shared))
        test = Coherence(first, second, writer, user)
        workers = [threading.Thread(target=test.work, args=(2500,)) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert test.reads == 10_000
    assert not test.stale, (len(test.stale), test.stale[:5])


def test_a_generation_is_seen_in_the_free_ones(cluster, database, binaries):
    """A write of another handler that changes the answer of this one."""
    with Handler(binaries, "tokens", POSTGRES_URL=database) as tokens:
        with Handler(binaries, "generations", tokens.shared_memory,
                     POSTGRES_URL=database) as generations:
            device = new_device()
            tokens.request("GET", "/api/tokens", device=device)
            cluster.query(database, """
                INSERT INTO subscriptions (user_id, plan, status)
                SELECT id, 'pro', 'active' FROM users""")
            generations.request("POST", "/api/generations", device=device, body={"imageUrl": "x"})
            for number in range(2, 11):
                free = tokens.request("GET", "/api/tokens", device=device).data["freeGenerations"]
                assert free == {"remaining": 51 - number, "total": 50, "maxQuality": "2K"}
                generations.request("POST", "/api/generations", device=device,
                                    body={"imageUrl": "x"})
