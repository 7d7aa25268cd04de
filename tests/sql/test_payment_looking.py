"""Payments in the database: which are looked at when, lists of the provider, differences."""

import pytest

from tests.support.payment_rows import call
from tests.support.sessions import at_once, numbered, open_account, query_text, sessions


# --- looking ---

@pytest.mark.parametrize("old, seconds", [
    ("1 second", 15), ("9 minutes", 15), ("11 minutes", 60), ("59 minutes", 60),
    ("61 minutes", 600), ("23 hours", 600), ("25 hours", 3600), ("90 days", 3600)])
def test_the_schedule(payments, run, user, old, seconds):
    payment, provider = payments.reach(user, "pending")
    payments.age(payment, old)
    assert len(call(run, "payment_claim_due", 10, 3)) == 1
    assert payments.seconds_ahead(payment) == pytest.approx(seconds, abs=3)
    payments.due()
    assert len(call(run, "payment_claim_due", 10, 5000)) == 1, "the lease, when that is longer"
    assert payments.seconds_ahead(payment) == pytest.approx(5000, abs=3)
    payments.apply(user, payment, "pending", provider)
    assert payments.seconds_ahead(payment) == pytest.approx(seconds, abs=3)


def test_what_is_due(payments, run, user):
    """The oldest first, each once, and nothing that is final."""
    ids = [payments.open(user) for _ in range(5)]
    payments.paid(user)
    assert call(run, "payment_claim_due", 10, 60) == []
    for number, payment in enumerate(ids):
        run("UPDATE payments SET next_check_at = (now() AT TIME ZONE 'utc')"
            " - make_interval(secs => %s) WHERE id = %s", 60 - number, payment)
    assert [row[1] for row in call(run, "payment_claim_due", 2, 60)] == ids[:2]
    assert [row[1] for row in call(run, "payment_claim_due", 10, 60)] == ids[2:]
    assert call(run, "payment_claim_due", 10, 60) == []


@pytest.mark.parametrize("hours, claimed, now, body", [
    (22, 1, "pending", "body"), (24, 0, "pending", None), (47, 0, "pending", None),
    (49, 0, "canceled", None)])
def test_a_creation_without_an_answer(payments, run, user, hours, claimed, now, body):
    """Repeated for a day, waited for another one, then given up."""
    payment = payments.open(user)
    payments.age(payment, f"{hours} hours")
    payments.listed("payments")
    assert len(call(run, "payment_claim_due", 10, 60)) == claimed
    assert payments.row(payment, "status, request_body") == (now, body)
    reason = "never_created" if now == "canceled" else None
    assert payments.row(payment, "cancellation_reason") == reason


def test_a_creation_is_not_given_up_before_the_list_was_read(payments, run, user):
    """After days without the provider: nobody knows yet whether it has it."""
    payment = payments.open(user)
    payments.age(payment, "100 hours")
    payments.listed("refunds")
    for ago in (None, "101 hours", "77 hours"):
        if ago:
            payments.listed("payments", ago)
        payments.due()
        assert call(run, "payment_claim_due", 10, 60) == []
        assert payments.row(payment) == "pending"
        assert payments.seconds_ahead(payment) == pytest.approx(600, abs=5)
    payments.listed("payments", "75 hours")
    payments.due()
    assert call(run, "payment_claim_due", 10, 60) == []
    assert payments.row(payment, "status, cancellation_reason") == ("canceled", "never_created")


@pytest.mark.parametrize("table", ["payments", "payment_refunds"])
def test_nobody_claims_what_another_has(cluster, database, payments, run, user, table):
    """Eight reconcilers at once: each row goes to one of them, and all of them go to somebody."""
    name = "payment_claim_due" if table == "payments" else "refund_claim_due"
    for _ in range(40):
        payment = payments.open(user) if table == "payments" else payments.paid(user)[0]
        if table == "payment_refunds":
            assert payments.refund(user, payment, "9.00") == "done"
    payments.due(table)
    answers = at_once(cluster, database, query_text(name), [numbered(3, 600)] * 64, connections=8)
    claimed = [row[1] for answer in answers for row in answer]
    assert len(claimed) == len(set(claimed)) == 40
    assert all(len(answer) <= 3 for answer in answers)


def test_claiming_passes_what_is_locked(cluster, database, payments, run, user):
    """One row that somebody works on holds up nobody."""
    first, second = payments.open(user), payments.open(user)
    payments.due()
    run("UPDATE payments SET next_check_at = next_check_at - interval '1 hour' WHERE id = %s",
        first)
    with sessions(cluster, database) as open_session:
        other = open_session()
        other.begin()
        other.run("SELECT 1 FROM payments WHERE id = %s FOR UPDATE", first)
        run("SET lock_timeout = '5s'")
        assert [row[1] for row in call(run, "payment_claim_due", 1, 60)] == [second]
        other.rollback()


# --- the lists ---

def test_pages(payments, run, user):
    ids = [payments.open(user) for _ in range(5)]
    payments.open(open_account(run, device_id="device_of_somebody_else_1"))
    pages, position = [], ("infinity", "ffffffff-ffff-ffff-ffff-ffffffffffff")
    while rows := call(run, "payment_page", user, *position, 2):
        pages += [row[1] for row in rows]
        position = (rows[-1][-1], rows[-1][1])
    assert pages == ids[::-1]
    exported = [row[1] for row in call(run, "payment_export", user,
                                       "00000000-0000-0000-0000-000000000000", 10)]
    assert exported == sorted(ids)
    assert call(run, "payment_get", user, ids[0])[0][4:7] == ("99.00", "RUB", "pending")


def test_prices(run):
    assert call(run, "price_find_package", "small") == [("99.00", "RUB", 10)]
    assert call(run, "price_find_plan", "pro") == [("999.00", "RUB", 0)]
    assert call(run, "price_find_plan", "free") == call(run, "price_find_package", "none") == []


def test_windows(run):
    """One at a time reads a list, no more often than wanted, from where the last one came to."""
    def claim(every=60, lease=60):
        return call(run, "reconcile_claim_window", "payments", every, lease)

    assert len(claim()) == 1
    assert claim() == [] and len(call(run, "reconcile_claim_window", "refunds", 60, 60)) == 1
    run("UPDATE payment_windows SET claimed_until = claimed_until - interval '61 seconds'")
    assert len(claim()) == 1, "whoever held it is gone"
    call(run, "reconcile_finish_window", "payments", "2099-01-01")
    assert claim() == [] and str(claim(every=0)[0][0]) == "2099-01-01 00:00:00"
    call(run, "reconcile_finish_window", "payments", "2098-01-01")
    assert str(claim(every=0)[0][0]) == "2099-01-01 00:00:00", "it never goes back"


def test_the_first_window_reaches_back_to_what_has_no_answer(payments, run, user):
    """Else it would be given up as never made without anybody having looked."""
    paid, _ = payments.paid(user)
    payment, made = payments.open(user), payments.reach(user, "pending")[0]
    payments.refund(user, paid, "9.00")
    for one, days in ((paid, 300), (made, 200), (payment, 100)):
        payments.age(one, f"{days} days")
    assert call(run, "reconcile_claim_window", "refunds", 60, 60) == [
        (payments.row(payment, "created_at"),)]
    run("UPDATE payment_refunds SET created_at = created_at - interval '150 days'")
    oldest = run("SELECT created_at FROM payment_refunds")
    assert call(run, "reconcile_claim_window", "payments", 60, 60) == oldest
    payments.due()
    call(run, "payment_claim_due", 10, 60)
    assert payments.row(payment) == "pending"


def test_differences(payments, run, user):
    payment = payments.open(user)
    values = ("p", "unknown_payment", None, None, "99.00 RUB")
    assert call(run, "payment_difference", *values) == [(True,)]
    assert call(run, "payment_difference", *values) == [(False,)]
    assert call(run, "payment_difference", "p", "other_shop", user, payment, "") == [(True,)]
    assert payments.differences("p") == ["other_shop", "unknown_payment"]
    payments.apply(user, payment, "succeeded", "p")
    assert payments.differences("p") == []
    call(run, "payment_difference", *values)
    assert payments.differences("p") == ["unknown_payment"]


def test_windows_at_once(cluster, database):
    answers = at_once(cluster, database, query_text("reconcile_claim_window"),
                      [numbered("payments", 60, 60)] * 20)
    assert sum(len(answer) for answer in answers) == 1
