"""Payments while accounts are linked, erased and spent from: step by step, and all at once."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest

from tests.support.movements import LINK, status
from tests.support.payment_rows import Payments, call, provider_id
from tests.support.sessions import ERASE, Session, new_id, numbered, open_account, query_text

APPLY = ("SELECT outcome, kind FROM payment_apply(%s, %s, %s, 'succeeded', %s, 'RUB', false,"
         " false, NULL, 'method-1', NULL)")
REFUND = "SELECT outcome, kind FROM refund_apply(%s, %s, %s, %s, %s, 'succeeded', %s, 'RUB')"
ROUNDS = 150


@pytest.fixture
def device(run):
    """A device's account with its 5 tokens."""
    return open_account(run, device_id="device_of_the_race_test_1")


@pytest.fixture
def account(run):
    """A Clerk account with its 10 tokens."""
    return open_account(run, clerk_id="user_of_the_race_test")


def link(run, account, device):
    """Links; the outcome."""
    return run(LINK, account, device, new_id(), new_id())[0][0]


# --- linking ---

def subscribed(payments, user, plan):
    """A subscription that was paid: (its id, the provider's id of the payment)."""
    subscription, provider = new_id(), provider_id()
    payment = payments.open(user, purpose="subscription", plan=plan, subscription=subscription)
    assert payments.apply(user, payment, "succeeded", provider, method="m") == ("applied", None)
    return subscription, provider


OURS = {"over": "current_period_end = (now() AT TIME ZONE 'utc') - interval '1 day'",
        "free": "plan = 'free'", "free without an end": "plan = 'free', current_period_end = NULL"}


@pytest.mark.parametrize("ours", OURS)
def test_a_paid_subscription_stays_where_the_accounts_own_is_none(payments, run, account, device,
                                                                  ours):
    own, _ = subscribed(payments, account, "premium")
    run(f"UPDATE subscriptions SET {OURS[ours]} WHERE id = %s", own)
    paid, _ = subscribed(payments, device, "pro")
    assert link(run, account, device) == "linked"
    assert set(run("SELECT id, status, payment_method_id, next_check_at IS NULL"
                   " FROM subscriptions")) == {
        (own, "expired", None, True), (paid, "active", "m", False)}
    assert call(run, "user_profile", account)[0][6] == "pro" and payments.differences() == []


@pytest.mark.parametrize("device_has", ["nothing", "one that is over"])
def test_a_renewal_that_is_due_goes_on_after_a_link(payments, run, account, device, device_has):
    own, _ = subscribed(payments, account, "premium")
    if device_has != "nothing":
        subscribed(payments, device, "pro")
    run(f"UPDATE subscriptions SET {OURS['over']}")
    assert link(run, account, device) == "linked"
    assert call(run, "user_profile", account)[0][6] == "premium"
    assert run("SELECT status, payment_method_id FROM subscriptions WHERE id = %s", own) == [
        ("active", "m")]
    assert payments.differences() == []


def test_a_paid_subscription_that_gives_way_is_told(payments, run, account, device):
    own, _ = subscribed(payments, account, "premium")
    paid, provider = subscribed(payments, device, "pro")
    assert link(run, account, device) == "linked"
    assert set(run("SELECT id, status FROM subscriptions")) == {
        (own, "active"), (paid, "cancelled")}
    assert payments.differences(provider) == payments.differences() == ["subscription_closed"]
    assert run("SELECT user_id FROM payment_differences") == [(account,)]


def test_one_of_the_original_that_gives_way_is_told(payments, run, account, device):
    """No payment says where it came from."""
    for user in (account, device):
        run("INSERT INTO subscriptions (user_id, plan, status) VALUES (%s, 'pro', 'active')", user)
    [(theirs,)] = run("SELECT id::text FROM subscriptions WHERE user_id = %s", device)
    assert link(run, account, device) == "linked"
    assert payments.differences(theirs) == ["subscription_closed"]


def test_a_link_moves_everything(payments, run, account, device):
    """Every column of a payment, a refund and a subscription, and whose the references are."""
    first = payments.open(device, key=7, purpose="subscription", plan="pro",
                          subscription=new_id())
    payments.apply(device, first, "succeeded", "p1", method="method-1")
    second, provider = payments.paid(device)
    payments.refund(device, second, "9.90", refund := new_id(), 8)
    payments.refunded(device, second, provider, "19.80")
    third = payments.open(device, key=9)
    payments.apply(device, payments.open(device), "canceled", "p2", reason="expired",
                   url="https://pay.example/2")
    # Nothing is what a column would be without its value.
    run("UPDATE subscriptions SET renewal_attempts = 2, cancel_at_period_end = true,"
        " yookassa_subscription_id = 'adopted'")
    run("UPDATE payments SET repeated = true WHERE id = %s", third)
    run("UPDATE payment_refunds SET repeated = true, tokens_owed = 1")

    def everything():
        # What a row is, but whose it is: every column there is, those of later migrations too.
        return [run(f"SELECT (to_jsonb(t) - 'user_id')::text FROM {table} t ORDER BY t.id")
                for table in ("payments", "payment_refunds", "subscriptions")]
    before = everything()
    assert [len(rows) for rows in before] == [4, 2, 1]
    assert link(run, account, device) == "linked"
    assert everything() == before
    for table in ("payments", "payment_refunds", "subscriptions", "payment_references"):
        assert run(f"SELECT DISTINCT user_id FROM {table}") == [(account,)]
    # What was begun goes on with the account.
    assert call(run, "payment_locate", device, third) == [(account,)]
    assert payments.apply(device, third, "succeeded", "p3") is None
    assert payments.apply(account, third, "succeeded", "p3") == ("applied", None)
    assert payments.refunded(account, second, provider, "9.90", refund) == ("applied", None)
    assert payments.opened(account, payment=third, key=9)[0] == "replayed"
    # The device's 5 are a bonus twice; 10 of each payment, 1 and 2 taken back.
    assert status(run, account)[0] == 10 + 10 + 10 - 2, "what refunds owe counts as taken"


@pytest.mark.parametrize("theirs, kept", [(False, "active"), (True, "cancelled")])
def test_a_link_and_two_subscriptions(payments, run, account, device, theirs, kept):
    payments.apply(device, payments.open(device, purpose="subscription", plan="pro"),
                   "succeeded", "p1", method="method-1")
    if theirs:
        payments.apply(account, payments.open(account, purpose="subscription", plan="premium"),
                       "succeeded", "p2", method="method-2")
    link(run, account, device)
    row = run("SELECT user_id, status, payment_method_id, next_check_at IS NULL"
              " FROM subscriptions WHERE plan = 'pro'")
    assert row == [(account, kept, None if theirs else "method-1", theirs)]


def test_a_link_before_what_the_provider_says(payments, run, account, device, open_session):
    """It waits for the link, finds nothing, and is asked for the account."""
    payment = payments.open(device)
    first, second = open_session(), open_session()
    first.begin()
    assert link(first.run, account, device) == "linked"
    waiting = second.start_blocked(APPLY, device, payment, "p", "99.00")
    first.commit()
    assert waiting.result() == []
    assert second.run(APPLY, account, payment, "p", "99.00") == [("applied", None)]
    assert status(run, account)[0] == 20


def test_a_link_after_what_the_provider_says(payments, run, account, device, open_session):
    payment = payments.open(device)
    first, second = open_session(), open_session()
    first.begin()
    assert first.run(APPLY, device, payment, "p", "99.00") == [("applied", None)]
    waiting = second.start_blocked(LINK, account, device, new_id(), new_id())
    first.commit()
    assert waiting.result()[0][0] == "linked"
    assert second.run(APPLY, account, payment, "p", "99.00") == [("unchanged", None)]
    assert status(run, account)[0] == 20 and payments.row(payment, "user_id") == account


@pytest.mark.parametrize("statement", ["payment_open", "refund_open"])
def test_a_link_while_one_is_opened(payments, run, account, device, open_session, statement):
    """What is opened just before moves; just after, there is no such account or payment."""
    paid, _ = payments.paid(device)
    values = {
        "payment_open": (device, new_id(), "tokens", "small", None, "99.00", "RUB", 10, None, True,
                         "body", None, 60),
        "refund_open": (device, new_id(), paid, "9.90", "body", None, 60)}[statement]
    first, second = open_session(), open_session()
    first.begin()
    assert call(first.run, statement, *values)[0][0] == "done"
    waiting = second.start_blocked(LINK, account, device, new_id(), new_id())
    first.commit()
    assert waiting.result()[0][0] == "linked"
    table = "payments" if statement == "payment_open" else "payment_refunds"
    assert run(f"SELECT user_id FROM {table} WHERE id = %s", values[1]) == [(account,)]
    again = call(run, statement, device, new_id(), *values[2:])
    assert again == [] if statement == "payment_open" else again[0][0] == "not_paid"


# --- erasing and spending ---

@pytest.mark.parametrize("erased_first, outcome", [
    (True, ("uncredited", "account_closed")), (False, ("applied", None))])
def test_erasing(payments, run, device, open_session, erased_first, outcome):
    payment = payments.open(device)
    first, second = open_session(), open_session()
    calls = [(ERASE, (device,)), (APPLY, (device, payment, "p", "99.00"))]
    calls = calls if erased_first else calls[::-1]
    first.begin()
    done = [first.run(calls[0][0], *calls[0][1])]
    waiting = second.start_blocked(calls[1][0], *calls[1][1])
    first.commit()
    done.append(waiting.result())
    assert done[1 if erased_first else 0] == [outcome]
    assert payments.row(payment) == "succeeded"


def test_a_claim_while_the_account_is_linked(payments, run, account, device, open_session):
    """A reconciler neither waits for a link nor makes it wait for long."""
    for _ in range(3):
        payments.open(device)
    payments.due()
    first, second = open_session(), open_session()
    first.begin()
    link(first.run, account, device)
    second.run("SET lock_timeout = '5s'")
    assert call(second.run, "payment_claim_due", 10, 60) == []
    first.commit()
    assert len(call(second.run, "payment_claim_due", 10, 60)) == 3


class Round:
    """A device and an account with payments in every state, and everything at once between them."""

    def __init__(self, run, number, pick):
        self.run, self.pick = run, pick
        self.device = open_account(run, device_id=f"device_of_payment_round_{number}")
        self.account = open_account(run, clerk_id=f"user_of_payment_round_{number}")
        rows = Payments(run)
        self.open = [(rows.open(self.device), provider_id()) for _ in range(2)]
        self.paid = [rows.paid(self.device) for _ in range(2)]

    def settle(self, session, text, payment, *values):
        """As the service does: a statement that finds nothing looks for the payment again."""
        user = self.device
        for _ in range(3):
            rows = session.run(text, user, *values)
            if rows:
                return rows[0][0]
            user = call(session.run, "payment_locate", self.device, payment)[0][0]
        raise AssertionError("the payment was not found")

    def jobs(self):
        """Each payment succeeds twice at once, is refunded, spent from, linked, claimed, erased."""
        jobs = []
        for payment, provider in self.open:
            jobs += [lambda s, p=payment, q=provider:
                     self.settle(s, APPLY, p, p, q, "99.00")] * 2
        for payment, provider in self.paid:
            refund = (new_id(), payment, provider_id("refund"), provider, "33.00")
            jobs += [lambda s, p=payment, r=refund: self.settle(s, REFUND, p, *r)] * 2
        jobs += [lambda s: s.run(LINK, self.account, self.device, new_id(), new_id()),
                 lambda s: s.run("SELECT outcome FROM ledger_post(%s, %s, -7, 'generation', NULL,"
                                 " NULL)", self.device, new_id()),
                 lambda s: len(call(s.run, "payment_claim_due", 5, 60)),
                 lambda s: call(s.run, "payment_open", self.device, new_id(), "tokens", "small",
                                None, "99.00", "RUB", 10, None, True, "body", None, 0)]
        if self.pick.random() < 0.2:
            jobs.append(lambda s: s.run(ERASE, self.account))
        self.pick.shuffle(jobs)
        return jobs


@pytest.mark.seconds(300)
def test_everything_at_once(cluster, database, run):
    """No deadlock, nothing lost, nothing twice."""
    pick = random.Random(7)
    lanes = [Session(cluster, database) for _ in range(6)]
    gate = threading.Barrier(6)

    def work(lane, mine):
        gate.wait()
        for job in mine:
            job(lane)
    try:
        with ThreadPoolExecutor(6) as pool:
            for number in range(ROUNDS):
                one = Round(run, number, pick)
                jobs = one.jobs()
                for done in [pool.submit(work, lane, jobs[n::6]) for n, lane in enumerate(lanes)]:
                    done.result()
                check(run, one)
    finally:
        for lane in lanes:
            lane.close()
    run("UPDATE payments SET next_check_at = NULL")


def check(run, one):
    """Each payment once: credited, or known to the operator because the account was erased."""
    # An account that was erased before the link takes no device.
    owner, closed = run("SELECT a.id, a.erased_at IS NOT NULL FROM users d, users a WHERE d.id = %s"
                        " AND a.id = coalesce(d.merged_into, d.id)", one.device)[0]
    assert owner in (one.device, one.account)
    for payment, provider in one.open:
        credits = run("SELECT sum(amount)::int FROM token_transactions WHERE operation_id = %s",
                      payment)[0][0]
        kinds = [row[0] for row in run(
            "SELECT kind FROM payment_differences WHERE provider_id = %s", provider)]
        assert (credits, kinds) in ([(10, [])] + ([(None, ["account_closed"])] if closed else []))
    for payment, _ in one.paid:
        row = run("SELECT p.status, p.refunded_amount::text, p.user_id, r.tokens_taken,"
                  " r.tokens_owed FROM payments p JOIN payment_refunds r ON r.payment_id = p.id"
                  " AND r.user_id = p.user_id WHERE p.id = %s", payment)
        assert len(row) == 1 and row[0][:3] == ("succeeded", "33.00", owner)
        assert row[0][3] + row[0][4] == 3
    if owner == one.account:
        assert run("SELECT count(*) FROM payments WHERE user_id = %s", one.device) == [(0,)]


def test_a_unique_violation_is_no_way_out(run, payments, device):
    """The same entry a second time is refused by its key, should a status ever be reset by hand."""
    payment, provider = payments.paid(device)
    run("UPDATE payments SET status = 'pending', succeeded_at = NULL WHERE id = %s", payment)
    with pytest.raises(psycopg2.errors.UniqueViolation):
        payments.apply(device, payment, "succeeded", provider)
    assert status(run, device)[0] == 15
    run("UPDATE payments SET status = 'succeeded', succeeded_at = now() WHERE id = %s", payment)


def test_statements_have_the_values_of_their_files():
    """numbered() and query_text() speak of the same parameters, those above nine as well."""
    text = query_text("payment_open")
    assert all(f"%(p{number})s" in text for number in range(1, 13)) and "$" not in text
    assert list(numbered(*"abc")) == ["p1", "p2", "p3"]
