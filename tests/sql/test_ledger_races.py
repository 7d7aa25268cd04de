"""The ledger under concurrency: step by step with locks that are seen, and everything at once."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.movements import (
    CAPTURE, HOLD, LINK, POST, RELEASE, REVERSE, entries, expire, hold, post, status)
from tests.support.process import wait_until
from tests.support.sessions import ERASE, at_once, new_id, numbered, open_account, query_text

CONNECTIONS = 100
WRITERS = 16
STEPS_EACH = 120
MANY = ("SELECT place, outcome, balance FROM ledger_post_flight(%s::uuid[], %s::uuid[], %s, %s, %s,"
        " %s::bigint[])")


# --- one key ---

# Every call that takes a key: the statement with the same key, and its outcome when it is free.
KEYED = {
    "post": "SELECT outcome FROM ledger_post(%(user)s, %(key)s, -1, 'generation', NULL, 7)",
    "hold": "SELECT outcome FROM hold_create(%(user)s, %(key)s, 1, 60, NULL, 7)",
    "capture": "SELECT outcome FROM hold_capture(%(user)s, %(hold)s, 1, %(key)s, 7)",
    "reverse": "SELECT outcome FROM ledger_reverse(%(user)s, %(user)s, %(entry)s, %(key)s, 7)",
    "bonus": "SELECT outcome FROM token_claim_bonus(%(user)s, %(key)s, 7)",
    "usage": "SELECT outcome FROM usage_record(%(user)s, %(key)s, 'download', '', false, 7)",
    "generation": "SELECT outcome FROM generation_record(%(user)s, %(key)s, 'u', NULL, NULL, NULL,"
                  " '', false, 7)",
}


@pytest.mark.parametrize("call", sorted(KEYED))
@pytest.mark.parametrize("end, then", [("commit", "replayed"), ("rollback", "done")])
def test_a_key_in_progress(run, user, open_session, call, end, then):
    """The second is answered at once; after the first it replays, or does what was rolled back."""
    entry = new_id()
    post(run, user, -1, entry)
    values = {"user": user, "key": new_id(), "hold": hold(run, user, 1), "entry": entry}
    first, second = open_session(), open_session()
    first.begin()
    assert first.run(KEYED[call], values) == [("done",)]
    assert second.run(KEYED[call], values) == [("in_progress",)]
    getattr(first, end)()
    assert second.run(KEYED[call], values) == [(then,)]
    assert first.run(KEYED[call], values) == [("replayed",)]


def test_a_key_in_progress_within_many(run, user, open_session):
    """It holds up the others of the call for a tenth of a second; they are done."""
    first, second, key = open_session(), open_session(), new_id()
    other = open_account(run, device_id="device_of_somebody_else_1")
    first.begin()
    first.run(POST, user, key, -1, "generation", None, 7)
    rows = second.run(MANY, [user, other], [key, new_id()], [-1, -1], ["generation"] * 2,
                      ["text"] * 2, [7, 8])
    assert sorted(row[1] for row in rows) == ["done", "in_progress"]
    first.commit()


def test_200_with_one_key(cluster, database, run, user):
    key = new_id()
    answers = at_once(cluster, database, POST, [(user, key, -1, "generation", None, 7)] * 200,
                      CONNECTIONS)
    outcomes = [answer[0][0] for answer in answers]
    assert outcomes.count("done") == 1
    assert set(outcomes) <= {"done", "replayed", "in_progress"}
    assert entries(run, user) == [(-1, "generation", 4, 0)]


def test_one_movement_sent_many_times_without_a_key(cluster, database, run, user):
    """As the database layer does when answers are lost: whatever comes back, one entry."""
    entry = new_id()
    answers = at_once(cluster, database, POST, [(user, entry, -5, "generation", None, None)] * 50)
    assert sorted(set(answer[0][0] for answer in answers)) == ["done", "replayed"]
    assert entries(run, user) == [(-5, "generation", 0, 0)]


# --- one account ---

def test_200_spends_of_what_pays_for_50(cluster, database, run, user):
    post(run, user, 45)
    answers = at_once(cluster, database, POST,
                      [(user, new_id(), -1, "generation", None, None) for _ in range(200)],
                      CONNECTIONS)
    outcomes = [answer[0][0] for answer in answers]
    assert (outcomes.count("done"), outcomes.count("insufficient")) == (50, 150)
    assert sorted(a[0][1] for a in answers if a[0][0] == "done") == list(range(50))
    assert status(run, user) == (0, 0)


@pytest.mark.parametrize("statement, values", [
    (POST, (-5, "generation", None, None)), (HOLD, (5, 600, None, None))])
def test_a_spend_waits_and_sees_the_first(run, user, open_session, statement, values):
    first, second = open_session(), open_session()
    first.begin()
    assert post(first.run, user, -1) == ("done", 4)
    waiting = second.start_blocked(statement, user, new_id(), *values)
    first.commit()
    assert waiting.result()[0][:2] == ("insufficient", 4)
    first.begin()
    post(first.run, user, -1)
    waiting = second.start_blocked(POST, user, new_id(), -4, "generation", None, None)
    first.rollback()
    assert waiting.result() == [("done", 0)]
    assert run("SELECT count(*) FROM token_holds") == [(0,)]


@pytest.mark.parametrize("first_call, second_call", [
    (CAPTURE, CAPTURE), (CAPTURE, RELEASE), (RELEASE, CAPTURE), (RELEASE, RELEASE)])
def test_a_hold_is_settled_once(run, user, open_session, first_call, second_call):
    hold_id = hold(run, user, 3)
    first, second = open_session(), open_session()

    def values(call):
        return (user, hold_id, None, new_id(), None) if call == CAPTURE else (user, hold_id)
    first.begin()
    assert first.run(first_call, *values(first_call))[0][0] == "done"
    waiting = second.start_blocked(second_call, *values(second_call))
    first.commit()
    expected = "done" if first_call == second_call == RELEASE else "not_pending"
    assert waiting.result()[0][0] == expected
    assert len(entries(run, user)) == (first_call == CAPTURE)


def test_a_capture_waits_past_the_expiry(run, user, open_session):
    """What counts is the moment it gets the lock."""
    hold_id = hold(run, user, 3)
    first, second = open_session(), open_session()
    first.begin()
    post(first.run, user, -1)
    waiting = second.start_blocked(CAPTURE, user, hold_id, None, new_id(), None)
    expire(first.run, hold_id)
    first.commit()
    assert waiting.result() == [("not_pending", 4)]


def test_an_entry_is_reversed_once(cluster, database, run, user):
    entry = new_id()
    post(run, user, -3, entry)
    answers = at_once(cluster, database, REVERSE,
                      [(user, user, entry, new_id(), None) for _ in range(50)])
    outcomes = [answer[0][0] for answer in answers]
    assert (outcomes.count("done"), outcomes.count("already_reversed")) == (1, 49)
    assert status(run, user) == (5, 0)


def test_the_sweep_waits_for_nobody(run, user, open_session):
    other, worker = open_account(run, device_id="device_of_somebody_else_1"), open_session()
    holds = [hold(run, user, 1), hold(run, other, 1)]
    expire(run, *holds)
    worker.begin()
    post(worker.run, user, -1)  # frees the expired one itself
    assert run("SELECT hold_sweep(10)") == [(1,)]
    worker.commit()
    assert run("SELECT hold_sweep(10)") == [(0,)]
    assert run("SELECT sum(held) FROM user_tokens") == [(0,)]


# --- many accounts ---

def test_calls_in_opposite_order_never_deadlock(cluster, database, run):
    """Two calls over the same users, again and again; a deadlock would be an error."""
    users = [open_account(run, device_id=f"device_{number}") for number in range(40)]
    calls = []
    for number in range(60):
        order = users if number % 2 else users[::-1]
        calls.append((order, [new_id() for _ in order], [1] * 40, ["bonus"] * 40, ["text"] * 40,
                      [number % 3] * 40))
    answers = at_once(cluster, database, MANY, calls, 4)
    assert all(row[1] == "done" for rows in answers for row in rows), answers
    assert run("SELECT DISTINCT balance FROM user_tokens") == [(65,)]


def test_calls_in_opposite_order_step_by_step(run, open_session):
    """The second waits for the first one's first account, and holds none that the first needs."""
    users = sorted(open_account(run, device_id=f"device_{number}") for number in range(3))
    blocker, first, second = open_session(), open_session(), open_session()

    def call(order):
        return (order, [new_id() for _ in order], [1] * 3, ["bonus"] * 3, ["text"] * 3, [0] * 3)
    blocker.begin()
    post(blocker.run, users[1], 1)
    waiting = [first.start_blocked(MANY, *call(users))]
    waiting.append(second.start_blocked(MANY, *call(users[::-1])))
    assert post(run, users[2], 1) == ("done", 6), "neither has the last one yet"
    blocker.commit()
    for future in waiting:
        assert {row[1] for row in future.result()} == {"done"}


# --- links and erasures ---

@pytest.fixture
def account(run):
    """A Clerk account."""
    return open_account(run, clerk_id="user_1")


def identities(run):
    """Who they lead to."""
    return run("SELECT identity, user_id FROM user_identities ORDER BY identity")


@pytest.mark.parametrize("call, values", [
    (POST, (-1, "generation", None, None)), (HOLD, (1, 60, None, None))])
def test_a_movement_waits_for_a_link(run, user, account, open_session, call, values):
    """And finds the account closed, so that the identity is looked up again."""
    linking, moving = open_session(), open_session()
    linking.begin()
    assert linking.run(LINK, account, user, new_id(), new_id())[0][0] == "linked"
    waiting = moving.start_blocked(call, user, new_id(), *values)
    linking.commit()
    assert waiting.result() == []
    assert status(run, account) == (10, 0)


@pytest.mark.parametrize("other", ["link", "erase"])
@pytest.mark.parametrize("call, values", [
    (POST, (-1, "generation", None, None)), (HOLD, (1, 60, None, None))])
@pytest.mark.parametrize("expired", [False, True])
def test_a_movement_does_not_deadlock_with(run, user, account, open_session, other, call, values,
                                           expired):
    """It is first in the queue for the balance, while the other has locked the account already.
    Where it frees an expired hold as well it changes the balance row twice, and so checks its
    foreign key."""
    if expired:
        expire(run, hold(run, user, 1))
    blocker, moving, second = open_session(), open_session(), open_session()
    blocker.begin()
    blocker.run("SELECT 1 FROM user_tokens WHERE user_id = %s FOR UPDATE", user)
    waiting = [moving.start_blocked(call, user, new_id(), *values)]
    waiting.append(second.start_blocked(LINK, account, user, new_id(), new_id())
                   if other == "link" else second.start_blocked(ERASE, user))
    blocker.commit()
    assert waiting[0].result()[0][0] == "done"
    assert waiting[1].result()[0][0] == ("linked" if other == "link" else "erased")
    spendable = run("SELECT sum(balance - held) FROM user_tokens WHERE user_id IN (%s, %s)",
                    user, account)
    assert spendable == [(9 if other == "link" else 14,)]


@pytest.mark.parametrize("who", ["device", "account"])
def test_an_erasure_waits_for_a_link(run, user, account, open_session, who):
    """Of the account it takes the device too; of the device it finds that there is none now."""
    blocker, linking, erasing = open_session(), open_session(), open_session()
    blocker.begin()
    blocker.run("SELECT 1 FROM user_tokens WHERE user_id = %s FOR UPDATE", user)
    link = linking.start_blocked(LINK, account, user, new_id(), new_id())
    erasure = erasing.start_blocked(ERASE, user if who == "device" else account)
    blocker.commit()
    assert link.result()[0][0] == "linked"
    # The account has an identity more than its caller had read.
    assert erasure.result() == [("changed" if who == "account" else "gone",)]
    if who == "account":
        assert run(ERASE, account) == [("erased",)]
        assert identities(run) == []
        assert run("SELECT count(*) FROM users WHERE erased_at IS NULL"
                   " OR device_id IS NOT NULL OR clerk_id IS NOT NULL") == [(0,)]
    else:
        assert {row[1] for row in identities(run)} == {account}
        assert status(run, account) == (10, 0)


@pytest.mark.parametrize("who", ["device", "account"])
def test_a_link_waits_for_an_erasure(run, user, account, open_session, who):
    erasing, linking = open_session(), open_session()
    erasing.begin()
    erasing.run(ERASE, user if who == "device" else account)
    waiting = linking.start_blocked(LINK, account, user, new_id(), new_id())
    erasing.commit()
    assert waiting.result() == ([("linked_elsewhere", 0)] if who == "device" else [])
    assert len(identities(run)) == 1


@pytest.mark.parametrize("first", ["attach", "erase"])
def test_an_erasure_and_a_new_identity(run, account, open_session, first):
    """No identity is left that leads to an erased account."""
    attach = (query_text("identity_attach"), numbered("device:device_of_a_new_one_1", account))
    erase = (ERASE, account)
    one, two = open_session(), open_session()
    one.begin()
    one.run(*(attach if first == "attach" else erase))
    waiting = two.start_blocked(*(erase if first == "attach" else attach))
    one.commit()
    assert waiting.result() == ([("changed",)] if first == "attach" else [])
    if first == "attach":
        assert run(ERASE, account) == [("erased",)]
    assert identities(run) == []


def test_two_links_of_one_device(run, user, account, open_session):
    other, one, two = open_account(run, clerk_id="user_2"), open_session(), open_session()
    one.begin()
    one.run(LINK, account, user, new_id(), new_id())
    waiting = [two.start_blocked(LINK, other, user, new_id(), new_id())]
    one.commit()
    assert waiting[0].result() == [("linked_elsewhere", 0)]
    assert run("SELECT sum(balance) FROM user_tokens") == [(20,)]


# --- everything at once ---

class Writer:
    """A session that does what comes to its mind with accounts that others work on as well."""

    def __init__(self, session, accounts, device_accounts, seed):
        self.session, self.run, self.pick = session, session.run, random.Random(seed)
        self.accounts, self.device_accounts = accounts, device_accounts
        self.holds, self.entries, self.outcomes = [], [], set()

    def note(self, name, rows):
        outcome = rows[0][0] if rows else "no account"
        self.outcomes.add((name, outcome))
        return outcome

    def step(self):
        """One call, some with a key."""
        user = self.pick.choice(self.accounts)
        name = self.pick.choice(("spend", "grant", "grant", "hold", "hold", "capture", "release",
                                 "reverse", "bonus", "many", "sweep", "expire"))
        getattr(self, name)(user, new_id(), self.pick.choice((None, 7)))

    def spend(self, user, ident, key):
        amount = -self.pick.choice((1, 2, 5, 1_000_000))
        if self.note("spend", self.run(POST, user, ident, amount, "generation", None,
                                       key)) == "done":
            self.entries.append((user, ident))

    def grant(self, user, ident, key):
        amount = self.pick.randint(1, 5)
        if self.note("grant", self.run(POST, user, ident, amount, "purchase", None,
                                       key)) == "done":
            self.entries.append((user, ident))

    def hold(self, user, ident, key):
        if self.note("hold", self.run(HOLD, user, ident, self.pick.randint(1, 4), 60, None,
                                      key)) == "done":
            self.holds.append((user, ident))

    def settle(self, name, call, *values):
        """A hold of a device that was linked meanwhile is looked for in the account."""
        user, ident = self.holds.pop(self.pick.randrange(len(self.holds)))
        if self.note(name, self.run(call, user, ident, *values)) == "no account":
            self.note(name, self.run(call, self.accounts[0], ident, *values))

    def capture(self, _user, ident, key):
        if self.holds:
            self.settle("capture", CAPTURE, self.pick.choice((None, 1)), ident, key)

    def release(self, *_):
        if self.holds:
            self.settle("release", RELEASE)

    def reverse(self, _user, ident, key):
        if self.entries:
            user, entry = self.entries[self.pick.randrange(len(self.entries))]
            self.note("reverse", self.run(REVERSE, user, user, entry, ident, key))

    def bonus(self, user, ident, key):
        self.run("UPDATE user_tokens SET last_bonus_date = NULL WHERE user_id = %s", user)
        self.note("bonus", self.run("SELECT outcome FROM token_claim_bonus(%s, %s, %s)", user,
                                    ident, key))

    def many(self, *_):
        users = self.pick.sample(self.accounts, 3)
        self.run(MANY, users, [new_id() for _ in users], [2, -1, 1],
                 ["bonus", "generation", "bonus"], ["text"] * 3, [0, 7, 0])

    def sweep(self, *_):
        self.run("SELECT hold_sweep(100)")

    def expire(self, *_):
        """A hold expires: its time, and the account's next one, in one transaction."""
        if self.holds:
            user, ident = self.holds[-1]
            self.run("""DO $$ BEGIN
                PERFORM 1 FROM user_tokens WHERE user_id = '%(user)s' FOR UPDATE;
                UPDATE token_holds SET expires_at = now() AT TIME ZONE 'utc'
                WHERE user_id = '%(user)s' AND id = '%(hold)s';
                UPDATE user_tokens SET next_hold_expiry = (
                    SELECT min(expires_at) FROM token_holds
                    WHERE user_id = '%(user)s' AND status = 'pending')
                WHERE user_id = '%(user)s';
                END $$""" % {"user": user, "hold": ident})

    def link(self):
        """The devices of the race become the first account's, one by one."""
        for device in self.device_accounts:
            for _ in range(STEPS_EACH // 4):
                self.step()
            self.note("link", self.run(LINK, self.accounts[0], device, new_id(), new_id()))


@pytest.mark.seconds(240)
def test_the_chain_is_unbroken_whatever_happens_at_once(run, open_session):
    """16 writers on five accounts, of which two are linked to the first meanwhile."""
    accounts = [open_account(run, clerk_id=f"user_{number}") for number in range(3)]
    devices = [open_account(run, device_id=f"device_{number}") for number in range(2)]
    writers = [Writer(open_session(), accounts + devices, devices, seed)
               for seed in range(WRITERS)]
    gate = threading.Barrier(WRITERS)

    def work(writer):
        gate.wait()
        if writer is writers[0]:
            writer.link()
        for _ in range(STEPS_EACH):
            writer.step()
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(work, writers))
    # Every kind of movement was made, and met an account that was closed.
    seen = set().union(*(writer.outcomes for writer in writers))
    assert {(name, "done") for name in ("spend", "grant", "hold", "capture", "release", "reverse",
                                        "bonus")} | {("link", "linked")} <= seen
    assert {("spend", "insufficient"), ("reverse", "already_reversed"), ("capture", "not_pending"),
            ("grant", "no account"), ("hold", "no account")} <= seen
    # Each entry's time is its own in its account, and not after the balance's.
    assert run("SELECT user_id, created_at FROM token_transactions GROUP BY user_id, created_at"
               " HAVING count(*) > 1") == []
    assert run("SELECT 1 FROM user_tokens t JOIN token_transactions e USING (user_id)"
               " WHERE e.created_at > t.updated_at") == []
    # Each entry's answer: what was held then was never more than the balance.
    assert run("SELECT 1 FROM token_transactions WHERE held_after NOT BETWEEN 0 AND balance_after"
               ) == []
    assert run("SELECT balance, held FROM user_tokens WHERE closed_at IS NOT NULL") == [(0, 0)] * 2


def test_the_tests_see_a_lock(run, user, open_session):
    """The step-by-step tests above depend on it."""
    first, second = open_session(), open_session()
    first.begin()
    post(first.run, user, 1)
    waiting = second.start(POST, user, new_id(), 1, "bonus", None, None)
    wait_until(second.blocked, 10, "it waits for the first")
    assert not first.blocked() and not waiting.done()
    first.commit()
    assert waiting.result() == [("done", 7)]
