"""Requests that wait together share a commit, through nginx; each has its own answer."""

import concurrent.futures
import glob
import re
import time

import pytest

from tests.support.process import wait_until
from tests.support.sessions import Session

OTHERS = 10
LANES = 2  # statements a queue has out at once (COALESCE_SLOTS)


class Person:
    """An account, and how a service or its own client asks for it."""

    def __init__(self, stack, key):
        self.client = stack.client()
        self.user = self.client.get("/api/user").data["user"]["id"]
        self.key, self.hold = key, None

    def service(self, path, body=None):
        """POST below /api/ledger with the service's key."""
        return self.client.post("/api/ledger/" + path, body,
                                headers={"Authorization": f"Service {self.key}"})

    def make_hold(self):
        """Sets two tokens aside."""
        self.hold = self.service("holds", {"userId": self.user, "amount": 2, "ttlSeconds": 600}
                                 ).data["holdId"]


def nothing(_person):
    """No preparation."""


# What is queued: handler, preparation, request, the row that stops it, what it writes, and a
# preparation after which it is refused, with the answer's code.
KINDS = {
    "movement": ("ledger", nothing,
                 lambda p: p.service("spend", {"userId": p.user, "amount": 1}),
                 "SELECT 1 FROM user_tokens WHERE user_id = %s FOR UPDATE",
                 "SELECT xmin::text FROM token_transactions"
                 " WHERE user_id = ANY(%s::uuid[]) AND amount = -1",
                 lambda p: p.service("spend", {"userId": p.user, "amount": 5}),
                 "insufficient_tokens"),
    "capture": ("ledger", Person.make_hold, lambda p: p.service(f"holds/{p.hold}/capture"),
                "SELECT 1 FROM user_tokens WHERE user_id = %s FOR UPDATE",
                "SELECT xmin::text FROM token_transactions"
                " WHERE user_id = ANY(%s::uuid[]) AND amount = -2",
                lambda p: p.service(f"holds/{p.hold}/release"), "hold_not_pending"),
    "bonus": ("tokens", nothing, lambda p: p.client.post("/api/tokens"),
              "SELECT 1 FROM user_tokens WHERE user_id = %s FOR UPDATE",
              "SELECT xmin::text FROM token_transactions"
              " WHERE user_id = ANY(%s::uuid[]) AND type = 'bonus' AND id <> user_id",
              None, "bonus_already_claimed"),
    "usage": ("usage", nothing, lambda p: p.client.post("/api/usage", {"action": "download"}),
              "SELECT 1 FROM users WHERE id = %s FOR UPDATE",
              "SELECT xmin::text FROM usage_logs WHERE user_id = ANY(%s::uuid[])", None,
              "rate_limited"),
}


def threads(pid):
    """What each thread of a process sleeps in ("0" when it does not), and how often it has."""
    found = {}
    for folder in glob.glob(f"/proc/{pid}/task/*"):
        try:
            with open(folder + "/status", encoding="ascii", errors="replace") as file:
                switches = re.search(r"^voluntary_ctxt_switches:\s*(\d+)", file.read(), re.M)[1]
            with open(folder + "/wchan", encoding="ascii") as file:
                found[folder] = (file.read(), switches)
        except OSError:
            pass
    return found


def connections(path):
    """How many connections the server of a Unix socket has (/proc/net/unix, state 03)."""
    with open("/proc/net/unix", encoding="utf-8") as file:
        rows = [line.split() for line in file]
    return sum(len(row) > 7 and row[5] == "03" and row[7].startswith(path) for row in rows)


def settled(stack, handler, count):
    """Whether that many connections came, and no thread has moved between two looks."""
    found = threads(stack.pids()[handler])
    asleep = all(wchan != "0" for wchan, _ in found.values())
    enough = connections(stack.socket_path(handler)) >= count
    time.sleep(0.05)  # between the looks; what is waited for is that nothing happens
    return asleep and enough and threads(stack.pids()[handler]) == found


def refuse(kind, cluster, stack, person):
    """Makes the person's next request one that is refused."""
    if kind == "bonus":
        person.client.post("/api/tokens")
    elif kind == "usage":
        cluster.query(stack.database_url, """
            INSERT INTO usage_logs (user_id, id, action)
            SELECT %s, gen_random_uuid(), 'download' FROM generate_series(1, 60)""",
                      (person.user,))
    else:
        KINDS[kind][5](person)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_waits_shares_a_commit(cluster, stack, kind):
    handler, prepare, request, lock, written, _, code = KINDS[kind]
    key = stack.run("service-key", "create", f"of-{kind}", "spend,hold").stdout.split()[-1]
    people = [Person(stack, key) for _ in range(LANES + OTHERS + 1)]
    for person in people:
        prepare(person)
    *first, refused = people
    refuse(kind, cluster, stack, refused)
    leaders, others = first[:LANES], first[LANES:]
    session = Session(cluster, stack.database_url)
    session.begin()
    for leader in leaders:
        session.run(lock, leader.user)
    with concurrent.futures.ThreadPoolExecutor(len(people)) as pool:
        stopped = []
        for number, leader in enumerate(leaders, 1):
            stopped.append(pool.submit(request, leader))
            wait_until(lambda: cluster.value(
                stack.database_url, "SELECT count(*) FROM pg_stat_activity"
                " WHERE %s = ANY(pg_blocking_pids(pid))", (session.pid,)) == number, 20,
                "its statement waits for the row")
        queued = [pool.submit(request, person) for person in [*others, refused]]
        wait_until(lambda: settled(stack, handler, len(people)), 20,
                   "the others wait in the handler")
        session.commit()
        answers = [future.result() for future in stopped + queued]
    session.close()
    assert [answer.code for answer in answers if answer.status >= 400] == [code]
    assert answers[-1].code == code
    commits = cluster.query(stack.database_url, written, ([p.user for p in others],))
    assert len(commits) == OTHERS and len(set(commits)) == 1


def test_a_refusal_of_a_batch_holds_up_no_neighbour(cluster, stack):
    """It has to wait for its account, and so is run by itself when the others are through."""
    key = stack.run("service-key", "create", "of-the-batch", "spend").stdout.split()[-1]
    poor, rich = sorted((Person(stack, key) for _ in range(2)), key=lambda p: p.user)
    other = Session(cluster, stack.database_url)
    other.begin()
    other.run("SELECT ledger_post(%s, gen_random_uuid(), 1, 'bonus', NULL, NULL)", poor.user)
    operations = [{"operationId": "a", "kind": "spend", "userId": poor.user, "amount": 7},
                  {"operationId": "b", "kind": "spend", "userId": rich.user, "amount": 1}]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(poor.service, "batch", {"operations": operations})
        wait_until(lambda: cluster.value(
            stack.database_url, "SELECT balance FROM user_tokens WHERE user_id = %s",
            (rich.user,)) == 4, 20, "the neighbour's spend is committed")
        assert not future.done()
        other.commit()
        results = future.result().data["results"]
    other.close()
    assert [(one["status"], one["balance"]) for one in results] == [(402, 6), (201, 4)]


def test_a_held_row_stops_only_who_needs_it(cluster, stack):
    """Somebody keeps a row locked for longer than a flight waits: its neighbours go ahead."""
    key = stack.run("service-key", "create", "of-held", "spend").stdout.split()[-1]
    people = [Person(stack, key) for _ in range(LANES + OTHERS + 1)]
    leaders, others, held = people[:LANES], people[LANES:-1], people[-1]
    lock, request = KINDS["movement"][3], KINDS["movement"][2]
    first, keeper = Session(cluster, stack.database_url), Session(cluster, stack.database_url)
    keeper.begin()
    keeper.run(lock, held.user)
    first.begin()
    for leader in leaders:
        first.run(lock, leader.user)
    with concurrent.futures.ThreadPoolExecutor(len(people)) as pool:
        stopped = []
        for number, leader in enumerate(leaders, 1):
            stopped.append(pool.submit(request, leader))
            wait_until(lambda: cluster.value(
                stack.database_url, "SELECT count(*) FROM pg_stat_activity"
                " WHERE %s = ANY(pg_blocking_pids(pid))", (first.pid,)) == number, 20,
                "its statement waits for the row")
        queued = [pool.submit(request, person) for person in [*others, held]]
        wait_until(lambda: settled(stack, "ledger", len(people)), 20,
                   "the others wait in the handler")
        first.commit()
        answers = [future.result() for future in stopped + queued[:-1]]
        assert not queued[-1].done(), "the row is still held"
        keeper.commit()
        answers.append(queued[-1].result())
    first.close()
    keeper.close()
    assert [answer.status for answer in answers] == [201] * len(people)
    entries = cluster.value(stack.database_url, "SELECT count(*) FROM token_transactions"
                            " WHERE user_id = ANY(%s::uuid[]) AND amount = -1",
                            ([person.user for person in people],))
    assert entries == len(people)
