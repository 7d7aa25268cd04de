"""Refunds in the database: money that goes back, and the tokens it bought."""

import random
from decimal import Decimal

import pytest

from tests.support.movements import hold, post, status
from tests.support.payment_rows import call, provider_id
from tests.support.sessions import ERASE, at_once, new_id, numbered, query_text


# --- how much ---

def test_whole(payments, run, user):
    payment, provider = payments.paid(user)
    assert payments.refund(user, payment, "99.00", refund := new_id()) == "done"
    assert payments.refunded(user, payment, provider, "99.00", refund) == ("applied", None)
    assert payments.row(payment, "status, refunded_amount") == ("refunded", Decimal("99.00"))
    assert payments.refund_row(refund, "status, tokens_taken, tokens_owed, request_body,"
                                       " next_check_at") == ("succeeded", 10, 0, None, None)
    assert run("SELECT amount, type FROM token_transactions WHERE operation_id = %s",
               refund) == [(-10, "refund")]
    assert status(run, user) == (5, 0)


@pytest.mark.parametrize("seed", range(40))
def test_random_parts_take_every_token(payments, run, user, seed):
    """After each part the tokens taken are that part of them, rounded down; at the end all."""
    pick = random.Random(seed)
    kopecks, tokens = pick.randint(2, 100_000), pick.randint(1, 1000)
    payment, provider = payments.paid(user, amount=str(Decimal(kopecks) / 100), tokens=tokens)
    returned = 0
    while returned < kopecks:
        part = min(pick.randint(1, max(1, kopecks // pick.randint(1, 6))), kopecks - returned)
        returned += part
        assert payments.refunded(user, payment, provider, str(Decimal(part) / 100)) == (
            "applied", None)
        taken = tokens if returned == kopecks else tokens * returned // kopecks
        assert status(run, user)[0] == 5 + tokens - taken
        assert payments.row(payment, "status, refunded_amount") == (
            "refunded" if returned == kopecks else "succeeded", Decimal(returned) / 100)
    assert status(run, user)[0] == 5


def test_what_is_held_or_spent_is_owed(payments, run, user):
    """Taken as far as it can be spent; the rest is written down, and not taken by the next part."""
    payment, provider = payments.paid(user)
    post(run, user, -6)
    hold(run, user, 4)
    assert payments.refunded(user, payment, provider, "79.20", first := new_id()) == (
        "uncredited", "tokens_owed")
    assert payments.refund_row(first, "tokens_taken, tokens_owed") == (5, 3)
    assert status(run, user) == (0, 4) and payments.differences() == ["tokens_owed"]
    post(run, user, 100)
    assert payments.refunded(user, payment, provider, "19.80", last := new_id()) == (
        "applied", None)
    assert payments.refund_row(last, "tokens_taken, tokens_owed") == (2, 0)
    assert payments.differences() == ["tokens_owed"], "nobody has paid those three back"


def test_nothing_to_take(payments, run, user):
    payment, provider = payments.paid(user)
    post(run, user, -15)
    assert payments.refunded(user, payment, provider, "99.00", refund := new_id()) == (
        "uncredited", "tokens_owed")
    assert payments.refund_row(refund, "tokens_taken, tokens_owed") == (0, 10)
    assert payments.credits(user) == [10]


def test_of_an_adopted_payment(payments, run, user):
    """What the original credited is taken back as well."""
    run("INSERT INTO payments (user_id, id, amount, status, tokens_amount, yookassa_payment_id)"
        " VALUES (%s, %s, 99, 'succeeded', 4, 'old')", user, payment := new_id())
    assert payments.refund(user, payment, "99.00", refund := new_id()) == "done"
    assert payments.refunded(user, payment, "old", "99.00", refund) == ("applied", None)
    assert status(run, user)[0] == 1


def test_of_what_was_never_credited(payments, run, user):
    payment = payments.open(user)
    run(ERASE, user)
    payments.apply(user, payment, "succeeded", "p")
    assert payments.refund(user, payment, "99.00", refund := new_id()) == "done"
    assert payments.refunded(user, payment, "p", "99.00", refund) == ("applied", None)
    assert payments.refund_row(refund, "tokens_taken, tokens_owed") == (0, 0)
    assert payments.row(payment) == "refunded"


def test_of_an_erased_account(payments, run, user):
    payment, provider = payments.paid(user)
    run(ERASE, user)
    assert payments.refunded(user, payment, provider, "99.00", refund := new_id()) == (
        "uncredited", "tokens_owed")
    assert payments.refund_row(refund, "tokens_taken, tokens_owed") == (0, 10)


def test_of_a_subscription(payments, run, user):
    """It bought no tokens."""
    payment = payments.open(user, purpose="subscription", plan="pro", amount="999.00")
    payments.apply(user, payment, "succeeded", "p", amount="999.00")
    assert payments.refunded(user, payment, "p", "999.00") == ("applied", None)
    assert payments.row(payment) == "refunded" and status(run, user)[0] == 5


# --- opening ---

def test_too_much(payments, user):
    """Pending refunds count; one that was canceled does not."""
    payment, provider = payments.paid(user)
    assert payments.refund(user, payment, "99.01") == "too_much"
    assert payments.refund(user, payment, "60.00", first := new_id()) == "done"
    assert payments.refund(user, payment, "39.01") == "too_much"
    assert payments.refund(user, payment, "39.00") == "done"
    assert payments.refund(user, payment, "0.01") == "too_much"
    payments.refunded(user, payment, provider, "60.00", first, status="canceled")
    assert payments.refund(user, payment, "60.00") == "done"


def test_too_much_after_one_made_elsewhere(payments, user):
    payment, provider = payments.paid(user)
    payments.refunded(user, payment, provider, "90.00")
    assert payments.refund(user, payment, "9.01") == "too_much"
    assert payments.refund(user, payment, "9.00") == "done"


def test_many_at_once(cluster, database, payments, user):
    payment, _ = payments.paid(user)
    calls = [numbered(user, new_id(), payment, "9.90", "body", 7, 60) for _ in range(30)]
    answers = at_once(cluster, database, query_text("refund_open"), calls)
    outcomes = [answer[0][0] for answer in answers]
    assert (outcomes.count("done"), outcomes.count("too_much")) == (10, 20)


@pytest.mark.parametrize("state", ["pending", "waiting_for_capture", "canceled"])
def test_of_what_is_not_paid(payments, run, user, state):
    payment = payments.open(user)
    payments.apply(user, payment, state, "p")
    assert payments.refund(user, payment, "1.00") == "not_paid"
    assert payments.refund(user, new_id(), "1.00") == "not_paid"
    assert run("SELECT * FROM payment_refunds") == []


def test_opening_again(payments, run, user):
    payment, provider = payments.paid(user)
    again = (user, payment, "9.90", refund := new_id(), 7)
    assert payments.refund(*again) == "done"
    assert payments.refund(*again) == "in_progress"
    payments.due("payment_refunds")
    assert payments.refund(*again) == "done"
    assert payments.refund(user, payment, "9.90", refund, 8) == "reused"
    other, _ = payments.paid(user)
    assert payments.refund(user, other, "9.90", refund, 7) == "reused"
    payments.refunded(user, payment, provider, "9.90", refund, status="pending")
    assert payments.refund(*again) == "replayed"
    assert run("SELECT count(*) FROM payment_refunds") == [(1,)]
    assert payments.refund(user, payment, "9.90", single := new_id()) == "done"
    assert payments.refund(user, payment, "9.90", single) == "done", "the same call again"


def test_refusals(payments, run, user):
    payment, provider = payments.paid(user)
    assert payments.refund(user, payment, "99.00", refund := new_id(), 7) == "done"
    assert call(run, "refund_refused", user, refund) == [(True,)]
    assert payments.refund(user, payment, "99.00", refund, 7) == "done"
    call(run, "refund_uncertain", user, refund, 60)
    assert call(run, "refund_claim_due", 10, 60) == []
    payments.due("payment_refunds")
    assert [row[1] for row in call(run, "refund_claim_due", 10, 60)] == [refund]
    assert call(run, "refund_refused", user, refund) == [(False,)]
    assert payments.refund_row(refund, "status, request_body") == ("pending", "body")
    payments.refunded(user, payment, provider, "99.00", refund)
    assert call(run, "refund_refused", user, refund) == [(False,)]
    assert payments.refund_row(refund) == "succeeded"


@pytest.mark.parametrize("hours, claimed, now", [
    (22, 1, "pending"), (24, 0, "pending"), (49, 0, "canceled")])
def test_a_creation_without_an_answer(payments, run, user, hours, claimed, now):
    """Given up after two days; what the provider shows afterwards still counts."""
    payment, provider = payments.paid(user)
    payments.refund(user, payment, "99.00", refund := new_id())
    run("UPDATE payment_refunds SET created_at = created_at - make_interval(hours => %s)", hours)
    payments.listed("refunds")
    payments.due("payment_refunds")
    assert len(call(run, "refund_claim_due", 10, 60)) == claimed
    assert payments.refund_row(refund) == now
    assert payments.refunded(user, payment, provider, "99.00", refund) == ("applied", None)
    assert status(run, user)[0] == 5


def test_a_creation_is_not_given_up_before_the_list_was_read(payments, run, user):
    """Else the operator would make a part of it a second time."""
    payment, _ = payments.paid(user)
    payments.refund(user, payment, "9.00", refund := new_id())
    run("UPDATE payment_refunds SET created_at = created_at - interval '100 hours'")
    payments.listed("payments")
    for ago, now in ((None, "pending"), ("77 hours", "pending"), ("75 hours", "canceled")):
        if ago:
            payments.listed("refunds", ago)
        payments.due("payment_refunds")
        assert call(run, "refund_claim_due", 10, 60) == []
        assert payments.refund_row(refund) == now


# --- what the provider says ---

@pytest.mark.parametrize("ours", ["opened", "pending", "succeeded", "canceled"])
@pytest.mark.parametrize("theirs", ["pending", "succeeded", "canceled"])
def test_state_machine(payments, run, user, ours, theirs):
    payment, provider = payments.paid(user)
    payments.refund(user, payment, "99.00", refund := new_id())
    if ours != "opened":
        payments.refunded(user, payment, provider, "99.00", refund, ours, "r")
    balance = status(run, user)[0]
    way_back = {ours, theirs} == {"succeeded", "canceled"}
    goes_on = ours in ("opened", "pending") and theirs != "pending"
    expected = "conflict" if way_back else "applied" if goes_on else "unchanged"
    answer = payments.refunded(user, payment, provider, "99.00", refund, theirs, "r")
    assert answer == (expected, "way_back" if way_back else None)
    assert payments.refund_row(refund) == (
        theirs if goes_on else ours if ours != "opened" else "pending")
    assert status(run, user)[0] == balance - (10 if goes_on and theirs == "succeeded" else 0)
    assert payments.differences() == (["way_back"] if way_back else [])


def test_50_at_once_take_once(cluster, database, payments, run, user):
    payment, provider = payments.paid(user)
    calls = [numbered(user, new_id(), payment, "r", provider, "succeeded", "99.00", "RUB")
             for _ in range(50)]
    answers = at_once(cluster, database, query_text("refund_apply"), calls)
    outcomes = [answer[0][0] for answer in answers]
    assert (outcomes.count("applied"), outcomes.count("unchanged")) == (1, 49)
    assert payments.credits(user) == [10, -10]


@pytest.mark.parametrize("kind, changes", [
    ("other_amount", {"amount": "9.91"}), ("other_currency", {"currency": "USD"}),
    ("other_provider_id", {"provider": "another"}),
    ("other_provider_id", {"refund_provider": "another"})])
def test_another_refund(payments, run, user, kind, changes):
    payment, provider = payments.paid(user)
    payments.refund(user, payment, "9.90", refund := new_id())
    payments.refunded(user, payment, provider, "9.90", refund, "pending", "r")
    before = payments.refund_row(refund, "payment_refunds.*")
    said = {"provider": provider, "amount": "9.90", "refund": refund, "refund_provider": "r",
            **changes}
    assert payments.refunded(user, payment, **said) == ("conflict", kind)
    assert payments.differences(said["refund_provider"]) == [kind]
    assert payments.refund_row(refund, "payment_refunds.*") == before
    assert status(run, user)[0] == 15 and payments.row(payment) == "succeeded"


def test_before_its_payment(payments, run, user):
    """A refund that is heard of first waits for the payment."""
    payment = payments.open(user)
    payments.apply(user, payment, "pending", "p")
    said = (user, payment, "p", "99.00", new_id(), "succeeded", "r")
    for _ in range(2):
        assert payments.refunded(*said) == ("conflict", "way_back")
    assert payments.refund_row(said[4], "status, yookassa_refund_id") == ("pending", "r")
    payments.due("payment_refunds")
    assert [row[1] for row in call(run, "refund_claim_due", 10, 60)] == [said[4]]
    payments.apply(user, payment, "succeeded", "p")
    assert payments.refunded(*said) == ("applied", None)
    assert payments.differences() == [] and status(run, user)[0] == 5
    assert payments.row(payment) == "refunded"


def test_of_what_could_not_be_credited(payments, run, user):
    """Given back in the provider's pages meanwhile: nothing is lost when there is room again."""
    post(run, user, 2**31 - 1 - 5 - 9)
    payment = payments.open(user)
    assert payments.apply(user, payment, "succeeded", "p") == ("uncredited", "balance_limit")
    said = (user, payment, "p", "99.00", new_id(), "succeeded", "r")
    assert payments.refunded(*said) == ("conflict", "way_back")
    post(run, user, -100)
    balance = status(run, user)[0]
    assert payments.apply(user, payment, "succeeded", "p") == ("applied", None)
    payments.due("payment_refunds")
    assert [row[1] for row in call(run, "refund_claim_due", 10, 60)] == [said[4]]
    assert payments.refunded(*said) == ("applied", None)
    assert status(run, user)[0] == balance and payments.row(payment) == "refunded"


def test_of_a_payment_that_was_canceled(payments, run, user):
    """Nothing can come of it: it is a difference and no more."""
    payment = payments.open(user)
    payments.apply(user, payment, "canceled", "p")
    assert payments.refunded(user, payment, "p", "99.00") == ("conflict", "way_back")
    assert run("SELECT * FROM payment_refunds") == []


def test_of_no_payment_of_this_user(payments, user):
    payment, provider = payments.paid(user)
    assert payments.refunded(new_id(), payment, provider, "1.00") is None
    assert payments.refunded(user, new_id(), provider, "1.00") is None


def test_made_elsewhere_under_two_ids(payments, run, user):
    """However it was found, by its metadata or only its id, it is one refund."""
    payment, provider = payments.paid(user)
    payments.refund(user, payment, "99.00", refund := new_id())
    refund_provider = provider_id("refund")
    payments.refunded(user, payment, provider, "99.00", refund, "pending", refund_provider)
    assert payments.refunded(user, payment, provider, "99.00", new_id(), "succeeded",
                             refund_provider) == ("applied", None)
    assert payments.refund_row(refund) == "succeeded" and status(run, user)[0] == 5
    assert run("SELECT count(*) FROM payment_refunds") == [(1,)]
    assert [row[1] for row in call(
        run, "refund_export", user, "00000000-0000-0000-0000-000000000000", 10)] == [refund]
    assert call(run, "refund_get", user, refund)[0][5:8] == ("99.00", "RUB", "succeeded")
