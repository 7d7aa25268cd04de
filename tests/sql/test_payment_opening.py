"""Payments in the database: opened once, repeated, refused."""

import pytest

from tests.support.payment_rows import call
from tests.support.sessions import at_once, new_id, numbered, query_text


# --- opening ---

def test_opening_again(payments, run, user):
    """One at a time asks the provider, with the body of the first time, until it has answered."""
    payment = payments.open(user, key=7, body="first")
    again = {"payment": payment, "key": 7, "body": "second"}
    assert payments.opened(user, **again)[0] == "in_progress"
    payments.due()
    assert payments.opened(user, **again) == ("done", payment)
    assert payments.row(payment, "request_body") == "first"
    assert payments.opened(user, **again)[0] == "in_progress"
    payments.apply(user, payment, "pending", "p")
    assert payments.opened(user, **again) == ("replayed", payment)
    payments.apply(user, payment, "canceled", "p")
    assert payments.opened(user, **again) == ("replayed", payment)
    assert payments.opened(user, **{**again, "key": 8})[0] == "reused"
    assert run("SELECT count(*) FROM payments") == [(1,)]


def test_opening_without_a_key(payments, run, user):
    """The same id again is the same call, whose answer was lost; a renewal has many callers."""
    payment = payments.open(user)
    assert payments.opened(user, payment=payment) == ("done", payment)
    [(subscription,)] = run("INSERT INTO subscriptions (user_id, plan, status, current_period_end)"
                            " VALUES (%s, 'pro', 'active', now() AT TIME ZONE 'utc')"
                            " RETURNING id", user)
    renewal = payments.open(user, purpose="renewal", plan="pro", subscription=subscription)
    again = {"payment": renewal, "purpose": "renewal", "subscription": subscription}
    assert payments.opened(user, **again)[0] == "in_progress"
    payments.due()
    assert payments.opened(user, **again) == ("done", renewal)


def test_opening_at_once(cluster, database, payments, user):
    values = (user, new_id(), "tokens", "small", None, "99.00", "RUB", 10, None, True, "body", 7,
              60)
    answers = at_once(cluster, database, query_text("payment_open"), [numbered(*values)] * 30)
    outcomes = [answer[0][0] for answer in answers]
    assert (outcomes.count("done"), outcomes.count("in_progress")) == (1, 29)
    assert payments.row(values[1]) == "pending"


def test_opening_of_nobody(payments):
    assert payments.opened(new_id()) is None


@pytest.mark.parametrize("hours, outcome", [(22, "done"), (24, "in_progress")])
def test_opening_what_the_provider_has_forgotten(payments, user, hours, outcome):
    """It honours a key for a day; then asking again would be a second payment."""
    payment = payments.open(user, key=7)
    payments.age(payment, f"{hours} hours")
    assert payments.opened(user, payment=payment, key=7)[0] == outcome


# --- no answer, and a refusal ---

def test_a_refusal_frees_the_key(payments, run, user):
    payment = payments.open(user, key=7)
    for _ in range(2):
        assert call(run, "payment_refused", user, payment) == [(True,)]
    assert run("SELECT count(*) FROM payments") == [(0,)]
    assert payments.open(user, payment=payment, key=8) == payment


@pytest.mark.parametrize("attempt", ["opened again", "claimed"])
def test_a_refusal_after_an_attempt_that_may_have_happened(payments, run, user, attempt):
    payment = payments.open(user, key=7)
    call(run, "payment_uncertain", user, payment, 60)
    payments.due()
    if attempt == "claimed":
        assert len(call(run, "payment_claim_due", 10, 60)) == 1
    else:
        assert payments.opened(user, payment=payment, key=7)[0] == "done"
    assert call(run, "payment_refused", user, payment) == [(False,)]
    assert payments.row(payment, "status, request_body") == ("pending", "body")
    assert payments.seconds_ahead(payment) == pytest.approx(60, abs=5)


def test_a_refusal_that_comes_late(payments, run, user):
    payment, _ = payments.paid(user)
    assert call(run, "payment_refused", user, payment) == [(False,)]
    assert call(run, "payment_uncertain", user, payment, 60) == []
    assert payments.row(payment, "status, next_check_at") == ("succeeded", None)


@pytest.mark.parametrize("poll, wanted, seconds", [(15, 0, 60), (15, 90, 90), (1, 0, 4)])
def test_when_an_unknown_creation_is_repeated(payments, run, user, poll, wanted, seconds):
    run("UPDATE app_settings SET value = %s WHERE name = 'payments_poll_seconds'", poll)
    payment = payments.open(user)
    assert call(run, "payment_uncertain", user, payment, wanted)[0] == (payment,)
    assert payments.seconds_ahead(payment) == pytest.approx(seconds, abs=3)
