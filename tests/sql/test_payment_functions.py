"""Payments in the database: what the provider says of one, and what becomes of it."""

import pytest

from tests.support.movements import post, status
from tests.support.payment_rows import call
from tests.support.sessions import ERASE, at_once, new_id, open_account

LIMIT = 2**31 - 1
APPLY = ("SELECT outcome, kind FROM payment_apply(%s, %s, %s, %s, '99.00', 'RUB', false, false,"
         " NULL, NULL, NULL)")
STATUSES = ("pending", "waiting_for_capture", "succeeded", "canceled")


# --- the state machine ---

GOES_ON = {
    "opened": {"pending": "unchanged", "waiting_for_capture": "applied", "succeeded": "applied",
               "canceled": "applied"},
    "pending": {"pending": "unchanged", "waiting_for_capture": "applied", "succeeded": "applied",
                "canceled": "applied"},
    "waiting_for_capture": {"pending": "unchanged", "waiting_for_capture": "unchanged",
                            "succeeded": "applied", "canceled": "applied"},
    "succeeded": {"pending": "unchanged", "waiting_for_capture": "unchanged",
                  "succeeded": "unchanged", "canceled": "conflict"},
    "refunded": {"pending": "unchanged", "waiting_for_capture": "unchanged",
                 "succeeded": "unchanged", "canceled": "conflict"},
    "canceled": {"pending": "unchanged", "waiting_for_capture": "unchanged",
                 "succeeded": "conflict", "canceled": "unchanged"},
    # Given up, and then the provider shows it after all.
    "never_created": {"pending": "applied", "waiting_for_capture": "applied",
                      "succeeded": "applied", "canceled": "unchanged"},
}


@pytest.mark.parametrize("ours", GOES_ON)
@pytest.mark.parametrize("theirs", STATUSES)
def test_state_machine(payments, run, user, ours, theirs):
    payment, provider = payments.reach(user, ours)
    before, balance = payments.row(payment), status(run, user)[0]
    expected = GOES_ON[ours][theirs]
    kind = "way_back" if expected == "conflict" else None
    assert payments.apply(user, payment, theirs, provider) == (expected, kind)
    now = theirs if expected == "applied" else before
    assert payments.row(payment) == now
    credited = 10 if expected == "applied" and theirs == "succeeded" else 0
    assert status(run, user)[0] == balance + credited
    assert payments.differences() == ([kind] if kind else [])
    final = now in ("succeeded", "refunded", "canceled")
    assert payments.row(payment, "next_check_at IS NULL, request_body IS NULL") == (final, True)
    assert payments.row(payment, "succeeded_at IS NOT NULL") == (now in ("succeeded", "refunded"))
    if expected != "conflict":  # and again
        assert payments.apply(user, payment, theirs, provider)[0] == "unchanged"
        assert status(run, user)[0] == balance + credited


@pytest.mark.parametrize("theirs", STATUSES)
def test_a_status_of_the_original_is_final(payments, run, user, theirs):
    run("INSERT INTO payments (user_id, id, amount, status, yookassa_payment_id, tokens_amount)"
        " VALUES (%s, %s, 99, 'failed', 'old', 10)", user, payment := new_id())
    expected = ("conflict", "way_back") if theirs == "succeeded" else ("unchanged", None)
    assert payments.apply(user, payment, theirs, "old") == expected
    assert payments.row(payment) == "failed" and status(run, user)[0] == 5


# --- what the provider says has to be about this payment ---

WRONG = {
    "other_amount": {"amount": "98.99"}, "other_currency": {"currency": "USD"},
    "test_payment": {"test": True}, "other_provider_id": {"provider": "another"},
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("theirs", STATUSES)
def test_another_payment(payments, run, user, kind, theirs):
    """Nothing changes, and the operator learns of it; what is right afterwards settles it."""
    payment, provider = payments.reach(user, "pending")
    before = payments.row(payment, "payments.*")
    said = {"provider": provider, **WRONG[kind]}
    for _ in range(2):
        assert payments.apply(user, payment, theirs, **said) == ("conflict", kind)
    assert payments.row(payment, "payments.*") == before and status(run, user)[0] == 5
    assert payments.differences(said["provider"]) == [kind]
    payments.apply(user, payment, theirs, provider)
    assert payments.differences(provider) == []


@pytest.mark.parametrize("kind", ["other_amount", "other_currency", "test_payment"])
def test_another_payment_is_not_attached(payments, run, user, kind):
    payment = payments.open(user)
    assert payments.apply(user, payment, "succeeded", **{"provider": "p", **WRONG[kind]}) == (
        "conflict", kind)
    assert payments.row(payment, "yookassa_payment_id, request_body") == (None, "body")
    assert run("SELECT * FROM payment_references") == []


def test_the_amount_is_compared_as_a_number(payments, user):
    payment = payments.open(user, amount="100.00")
    assert payments.apply(user, payment, "succeeded", "p", amount="100") == ("applied", None)


def test_a_provider_id_of_another_payment(payments, run, user):
    _, provider = payments.paid(user)
    other = payments.open(user)
    assert payments.apply(user, other, "succeeded", provider) == ("conflict", "other_provider_id")
    assert payments.row(other) == "pending" and status(run, user)[0] == 15


def test_a_test_payment_where_those_count(payments, run, user):
    payment = payments.open(user)
    assert payments.apply(user, payment, "succeeded", "p", test=True, test_accepted=True) == (
        "applied", None)
    assert status(run, user)[0] == 15
    # What counted once is no difference when they do not count any more.
    assert payments.apply(user, payment, "succeeded", "p", test=True) == ("unchanged", None)


def test_whose_it_is(payments, run, user):
    payment, provider = payments.paid(user)
    assert call(run, "payment_locate_provider", provider) == [(user, payment)]
    assert call(run, "payment_locate_provider", "nobody's") == []
    assert call(run, "payment_locate", user, payment) == [(user,)]
    assert call(run, "payment_locate", new_id(), payment) == []
    assert payments.apply(new_id(), payment, "succeeded", provider) is None
    assert payments.apply(user, new_id(), "succeeded", provider) is None


# --- crediting ---

def test_50_at_once_credit_once(cluster, database, payments, run, user):
    payment = payments.open(user)
    answers = at_once(cluster, database, APPLY, [(user, payment, "p", "succeeded")] * 50)
    outcomes = [answer[0][0] for answer in answers]
    assert (outcomes.count("applied"), outcomes.count("unchanged")) == (1, 49)
    assert payments.credits(user) == [10] and status(run, user)[0] == 15


def test_two_provider_ids_at_once(cluster, database, payments, run, user):
    """Should two of the provider's payments claim one of ours, one is credited, one is shown."""
    payment = payments.open(user)
    answers = at_once(cluster, database, APPLY,
                      [(user, payment, f"p{n}", "succeeded") for n in range(10)])
    assert sorted(answer[0] for answer in answers) == sorted(
        [("applied", None)] + [("conflict", "other_provider_id")] * 9)
    assert payments.credits(user) == [10] and len(payments.differences()) == 9


def test_the_entry(payments, run, user):
    payment, _ = payments.paid(user)
    assert run("SELECT amount, type, balance_after FROM token_transactions"
               " WHERE operation_id = %s", payment) == [(10, "purchase", 15)]


def test_a_key_that_came_with_another_movement_as_well(payments, run, user):
    """Whatever has the payment's id in the ledger does not keep it from being credited."""
    payment = new_id()
    assert post(run, user, 3, payment, request_hash=7) == ("done", 8)
    payments.open(user, payment=payment, key=9)
    payments.apply(user, payment, "succeeded", "p")
    assert status(run, user)[0] == 18


def test_the_balance_limit(payments, run, user):
    """It is paid: it waits until there is room."""
    post(run, user, LIMIT - 5 - 9)
    payment = payments.open(user)
    for _ in range(2):
        assert payments.apply(user, payment, "succeeded", "p") == ("uncredited", "balance_limit")
    assert payments.row(payment, "status, next_check_at IS NULL") == ("pending", False)
    assert payments.differences() == ["balance_limit"]
    post(run, user, -1)
    assert payments.apply(user, payment, "succeeded", "p") == ("applied", None)
    assert payments.differences() == [] and status(run, user)[0] == LIMIT


def test_an_unknown_package(payments, run, user):
    """An adopted payment that does not say how much; then the operator does."""
    run("INSERT INTO payments (user_id, id, amount, status, token_package) VALUES"
        " (%s, %s, 99, 'pending', 'gone')", user, payment := new_id())
    assert payments.apply(user, payment, "succeeded", "p") == ("uncredited", "unknown_package")
    run("INSERT INTO token_packages VALUES ('gone', 12, 99)")
    assert payments.apply(user, payment, "succeeded", "p") == ("applied", None)
    assert status(run, user)[0] == 17 and payments.differences() == []
    assert payments.row(payment, "tokens_amount") == 12


def test_of_an_erased_account(payments, run, user):
    """The payment follows the provider, nothing is credited, and the operator learns of it."""
    payment = payments.open(user)
    payments.apply(user, payment, "pending", "p", url="https://pay.example/1")
    other = payments.open(user)
    assert run(ERASE, user) == [("erased",)]
    assert payments.row(payment, "confirmation_url, request_body") == (None, None)
    assert payments.row(other, "status, request_body") == ("pending", None)
    assert payments.opened(user) is None
    assert payments.apply(user, payment, "succeeded", "p") == ("uncredited", "account_closed")
    assert payments.apply(user, payment, "succeeded", "p") == ("unchanged", None)
    assert payments.row(payment) == "succeeded" and payments.differences() == ["account_closed"]
    assert run("SELECT balance FROM user_tokens") == [(5,)]


# --- what the audit finds ---

@pytest.mark.parametrize("damage", [
    "UPDATE payments SET status = 'succeeded', succeeded_at = now() WHERE id = %(open)s",
    "UPDATE payments SET status = 'pending', succeeded_at = NULL WHERE id = %(paid)s",
    "UPDATE payments SET tokens_amount = 11 WHERE id = %(paid)s",
    "UPDATE payments SET user_id = %(other)s WHERE id = %(paid)s",
    "UPDATE payment_refunds SET tokens_taken = 2 WHERE payment_id = %(paid)s",
])
def test_the_audit(session, payments, run, user, damage):
    paid, provider = payments.paid(user)
    payments.refunded(user, paid, provider, "9.90")
    still_open = payments.open(user)
    other = open_account(run, device_id="device_of_somebody_else_1")
    assert payments.verify() == []
    session.payments_agree = False
    run(damage, {"open": still_open, "paid": paid, "other": other})
    assert len(payments.verify()) == 1
