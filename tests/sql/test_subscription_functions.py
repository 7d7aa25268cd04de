"""Subscriptions in the database: months that are paid for, exchanged, paid back."""

import pytest

from tests.support.payment_rows import call, provider_id
from tests.support.sessions import ERASE, at_once, new_id, numbered, query_text
from tests.support.subscription_rows import NOW, PRICE


# --- the first payment ---

def test_first_payment(subs, run, user):
    subscription = new_id()
    payment = subs.first(subscription)
    subs.apply(user, payment, "pending", "p", amount=PRICE, method="method-1")
    assert subs.plan() == "free" and run("SELECT * FROM subscriptions") == []
    for answer in (("applied", None), ("unchanged", None)):
        assert subs.apply(user, payment, "succeeded", "p", amount=PRICE,
                          method="method-1") == answer
    assert subs.plan() == "pro"
    assert subs.of(subscription, "plan, status, payment_method_id, cancel_at_period_end,"
                                 " renewal_attempts") == ("pro", "active", "method-1", False, 0)
    assert subs.of(subscription, "current_period_start = period_anchor AND current_period_end ="
                                 " period_anchor + interval '1 month' AND next_check_at ="
                                 " current_period_end")
    assert subs.nearly(subscription, "current_period_start", NOW)
    assert subs.credits(user) == [] and subs.claim() == []


def test_first_payment_that_fails(subs, run, user):
    assert subs.said(subs.first(new_id()), "canceled", reason="expired_on_confirmation") == (
        "applied", None)
    assert run("SELECT * FROM subscriptions") == [] and subs.plan() == "free"


def test_first_payment_of_an_erased_account(subs, run, user):
    payment = subs.first(new_id())
    run(ERASE, user)
    assert subs.said(payment, "succeeded") == ("uncredited", "account_closed")
    assert run("SELECT * FROM subscriptions") == []


def test_first_payment_without_a_plan(subs, run, user):
    """Of an adopted database: nobody knows what it was for, until the operator says."""
    payment = subs.open(user, purpose="subscription", plan=None, amount=PRICE)
    assert subs.apply(user, payment, "succeeded", "p", amount=PRICE) == (
        "uncredited", "unknown_package")
    run("UPDATE payments SET plan = 'premium'")
    assert subs.apply(user, payment, "succeeded", "p", amount=PRICE) == ("applied", None)
    assert subs.plan() == "premium"


def test_a_plan_of_the_operators(subs, run):
    run("INSERT INTO plans (plan, quality, price) VALUES ('studio', '4K', 4999)")
    subs.begin("studio")
    assert subs.plan() == "studio"


def test_another_plan_takes_over(subs):
    """The old one ends now; one active subscription a user."""
    old = subs.begin("pro")
    new = subs.begin("premium", "method-2")
    assert subs.plan() == "premium"
    assert subs.of(old, "status, payment_method_id, next_check_at") == ("cancelled", None, None)
    assert subs.nearly(old, "current_period_end", NOW)
    # It cost as much as the new one: its whole month is added, in days.
    assert subs.nearly(new, "current_period_end",
                       f"{NOW} + (({NOW} + interval '1 month') - {NOW}) + interval '1 month'")


def test_the_same_plan_adds_a_month(subs, run):
    """Of a person who had cancelled, say; what was paid for is not lost."""
    subscription = subs.begin(method=None)
    call(run, "subscription_cancel", subs.user, True, None)
    subs.begin(method="method-2")
    assert run("SELECT count(*) FROM subscriptions") == [(1,)]
    assert subs.nearly(subscription, "current_period_start", NOW)
    assert subs.of(subscription, "current_period_end = period_anchor + interval '2 months' AND"
                                 " next_check_at = current_period_end")
    assert subs.of(subscription, "payment_method_id, cancel_at_period_end") == ("method-2", False)


def test_the_same_plan_after_a_gap(subs):
    """The period begins now, not where the old one ended."""
    subscription = subs.begin(method=None)
    subs.ends(subscription, "3 days")
    assert subs.plan() == "free"
    subs.begin(method="method-2")
    assert subs.nearly(subscription, "current_period_start", NOW)
    assert subs.nearly(subscription, "current_period_end", f"{NOW} + interval '1 month'")


def test_two_first_payments_at_once(cluster, database, subs, run, user):
    """Both are paid: two months of one subscription."""
    ids = [subs.first(new_id()) for _ in range(2)]
    answers = at_once(cluster, database, query_text("payment_apply"), [
        numbered(user, payment, f"p{n}", "succeeded", PRICE, "RUB", False, False, None, "m", None)
        for n, payment in enumerate(ids)])
    assert answers == [[("applied", None)]] * 2
    assert run("SELECT status, period_months FROM subscriptions") == [("active", 2)]


# --- another plan ---

def rests(subs, run, plan, ago, days, paid=None):
    """The active subscription's period of so many days began so long ago."""
    run(f"UPDATE subscriptions SET current_period_start = {NOW} - %s::interval,"
        f" current_period_end = {NOW} - %s::interval + make_interval(days => %s),"
        " paid_amount = coalesce(%s, paid_amount) WHERE user_id = %s AND status = 'active'",
        ago, ago, days, paid, subs.user)
    return run(f"SELECT days, worth::text FROM subscription_credit(%s, %s, (SELECT l.price FROM"
               f" plans l WHERE l.plan = %s), {NOW})", subs.user, plan, plan)


@pytest.mark.parametrize("paid, ago, days, worth, least, most", [
    # Days that have begun, kopecks and bought days are rounded up; months have 28 to 31 days.
    ("999.00", "0 seconds", 30, "999.00", 10, 11),
    ("999.00", "15 days 1 second", 30, "499.50", 5, 6),
    ("999.00", "29 days 23 hours", 30, "33.30", 1, 1),
    ("100.00", "20 days", 30, "33.34", 1, 1),
    ("0.01", "0 seconds", 30, "0.01", 1, 1),
    ("2999.00", "0 seconds", 30, "2999.00", 28, 31),
])
def test_what_is_left_becomes_days(subs, run, paid, ago, days, worth, least, most):
    subs.begin("pro")
    [(credit, found)] = rests(subs, run, "premium", ago, days, paid)
    assert float(found) == float(worth) and least <= credit <= most
    month = run(f"SELECT extract(epoch FROM {NOW} + interval '1 month' - {NOW})::int / 86400")[0][0]
    kopecks = round(float(worth) * 100)
    assert credit == -(-kopecks * month // 299900), "rounded up, and not further"


def test_nothing_is_left(subs, run):
    subscription = subs.begin("pro")
    assert rests(subs, run, "pro", "1 day", 30) == [], "the same plan"
    assert rests(subs, run, "premium", "31 days", 30) == [], "it is over"
    assert rests(subs, run, "premium", "1 day", 30, "0") == [], "it was not paid"
    run("UPDATE subscriptions SET status = 'cancelled', paid_amount = 999 WHERE id = %s",
        subscription)
    assert rests(subs, run, "premium", "1 day", 30) == []


def test_the_promise_of_the_order_is_kept(subs, run, user):
    """The payment is opened half way and paid days later: what was left counts as it was said."""
    old = subs.begin("pro")
    rests(subs, run, "premium", "10 days", 30)
    payment = subs.open(user, purpose="subscription", plan="premium", amount="2999.00",
                        subscription=(new := new_id()))
    promised = subs.row(payment, "credit_days")
    assert promised > 0
    subs.passes(old, "5 days")
    run("UPDATE payments SET created_at = created_at - interval '5 days' WHERE id = %s", payment)
    subs.apply(user, payment, "succeeded", provider_id(), amount="2999.00", method="m")
    assert subs.row(payment, "credit_days") == promised
    assert subs.nearly(new, "current_period_end", f"{NOW} + interval '{promised} days'"
                                                        " + interval '1 month'")
    assert subs.of(new, "paid_amount > 2999 AND paid_amount < 3999")
    assert subs.of(old, "status") == "cancelled"


def test_two_changes_lose_nothing(subs, run):
    """pro, premium at once, and pro again: what the first month cost is still there."""
    subs.begin("pro")
    subs.begin("premium")
    third = subs.begin("pro")
    # Three payments of 999.00 within a minute, at 999.00 a month.
    assert subs.of(third, "paid_amount = 2997")
    assert subs.nearly(third, "current_period_end",
                       f"{NOW} + 2 * (({NOW} + interval '1 month') - {NOW}) + interval '1 month'")


# --- refunds ---

def gives_back(subs, payment, amount=PRICE):
    """A refund made in the provider's pages."""
    return subs.refunded(subs.user, payment, subs.row(payment, "yookassa_payment_id"), amount)


def test_a_whole_refund_ends_it(subs, run):
    subscription = new_id()
    payment = subs.first(subscription)
    subs.said(payment, "succeeded", method="method-1")
    assert gives_back(subs, payment) == ("applied", None)
    assert subs.of(subscription, "status, payment_method_id, next_check_at") == (
        "cancelled", None, None)
    assert subs.nearly(subscription, "current_period_end", NOW)
    assert subs.plan() == "free" and subs.claim() == []


def test_refunds_that_are_the_whole_together_end_it(subs):
    subscription = new_id()
    payment = subs.first(subscription)
    subs.said(payment, "succeeded", method="method-1")
    assert gives_back(subs, payment, "500.00") == ("applied", None)
    assert subs.of(subscription, "status, paid_amount") == ("active", subs.run(
        "SELECT 499.00::numeric")[0][0])
    assert subs.plan() == "pro"
    assert gives_back(subs, payment, "499.00") == ("applied", None)
    assert subs.plan() == "free"


def test_a_refund_of_a_renewal_ends_it(subs):
    subscription = subs.begin()
    subs.ends(subscription)
    renewal = subs.renewal(subscription)
    subs.said(renewal, "succeeded")
    assert gives_back(subs, renewal) == ("applied", None)
    assert subs.of(subscription, "status") == "cancelled" and subs.plan() == "free"


def test_a_refund_of_an_earlier_month_leaves_this_one(subs, run):
    subscription = new_id()
    first = subs.first(subscription)
    subs.said(first, "succeeded", method="method-1")
    subs.ends(subscription)
    run("UPDATE payments SET succeeded_at = succeeded_at - interval '1 month' WHERE id = %s", first)
    subs.said(subs.renewal(subscription), "succeeded")
    assert gives_back(subs, first) == ("applied", None)
    assert subs.of(subscription, "status, payment_method_id") == ("active", "method-1")


def test_a_refund_of_one_of_two_months_takes_one_off(subs, run):
    subscription = new_id()
    payments = [subs.first(new_id()) for _ in range(2)]
    for payment in payments:
        subs.said(payment, "succeeded", method="method-1")
    subscription = run("SELECT id FROM subscriptions")[0][0]
    gives_back(subs, payments[1])
    assert subs.of(subscription, "status, period_months") == ("active", 1)
    assert subs.nearly(subscription, "current_period_end", f"{NOW} + interval '1 month'")
    gives_back(subs, payments[0])
    assert subs.of(subscription, "status") == "cancelled"


def test_a_refund_of_what_became_another_plan(subs):
    """The operator decides about the days that it was exchanged for."""
    payment = subs.first(new_id())
    subs.said(payment, "succeeded", method="method-1")
    new = subs.begin("premium")
    assert gives_back(subs, payment) == ("uncredited", "credit_given")
    assert subs.of(new, "status") == "active" and subs.differences() == ["credit_given"]
