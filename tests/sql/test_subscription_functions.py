"""Subscriptions in the database: months that are paid for, renewed, failed, cancelled."""

import pytest

from tests.support.movements import books
from tests.support.payment_rows import Payments, call, provider_id
from tests.support.sessions import ERASE, at_once, new_id, numbered, open_account, query_text

PRICE = "999.00"
NOW = "(now() AT TIME ZONE 'utc')"


@pytest.fixture
def run(cluster, database):
    """Runs one statement and returns its rows; the books agree at the end."""
    with books(cluster, database) as made:
        yield made.run
        assert Payments(made.run).verify() == []


@pytest.fixture
def user(run):
    """A new anonymous account."""
    return open_account(run, device_id="device_of_the_subscription_test")


class Subscriptions(Payments):
    """Short ways to pay for one account's subscription and to let time pass."""

    def __init__(self, run, user):
        super().__init__(run)
        self.user = user

    def begin(self, plan="pro", method="method-1"):
        """Pays for the first month; the subscription's id."""
        subscription = new_id()
        payment = self.first(subscription, plan)
        assert self.said(payment, "succeeded", method=method) == ("applied", None)
        return subscription

    def first(self, subscription, plan="pro"):
        return self.open(self.user, purpose="subscription", plan=plan, amount=PRICE,
                         subscription=subscription)

    def renewal(self, subscription, plan="pro"):
        return self.open(self.user, purpose="renewal", plan=plan, amount=PRICE,
                         subscription=subscription)

    def said(self, payment, status, **more):
        return self.apply(self.user, payment, status, provider_id(), amount=PRICE, **more)

    def passes(self, subscription, interval):
        """Lets so much time pass for the subscription."""
        assert self.run(
            "UPDATE subscriptions SET"
            " current_period_start = current_period_start - %(t)s::interval,"
            " current_period_end = current_period_end - %(t)s::interval,"
            " period_anchor = period_anchor - %(t)s::interval,"
            " grace_until = grace_until - %(t)s::interval,"
            " next_check_at = next_check_at - %(t)s::interval WHERE id = %(id)s RETURNING id",
            {"t": interval, "id": subscription})

    def ends(self, subscription, ago="0 seconds"):
        """Lets the period have ended so long ago."""
        self.passes(subscription, self.of(
            subscription, f"(current_period_end - {NOW} + interval '{ago}')::text"))

    def of(self, subscription, columns):
        rows = self.run(f"SELECT {columns} FROM subscriptions WHERE id = %s", subscription)
        return rows[0] if ", " in columns else rows[0][0]

    def claim(self):
        """Ids of the subscriptions whose renewal is due."""
        return [row[1] for row in call(self.run, "subscription_claim_due", 10, 60)
                if row[3] == "active"]

    def plan(self):
        """The plan the account has, as both readers tell it."""
        plan = call(self.run, "user_profile", self.user)[0][6]
        assert call(self.run, "token_status", self.user)[0][6] == plan
        current = call(self.run, "subscription_current", self.user)
        assert [row[2] for row in current] == ([] if plan == "free" else [plan])
        return plan


@pytest.fixture
def subs(run, user):
    """Subscriptions of the user."""
    return Subscriptions(run, user)


def nearly(subs, subscription, column, expected):
    """Whether a time of the subscription is that, give or take what the test takes."""
    return subs.of(subscription, f"abs(extract(epoch FROM {column} - ({expected}))) < 30")


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
    assert nearly(subs, subscription, "current_period_start", NOW)
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
    assert nearly(subs, old, "current_period_end", NOW)
    # It cost as much as the new one: its whole month is added, in days.
    assert nearly(subs, new, "current_period_end",
                  f"{NOW} + (({NOW} + interval '1 month') - {NOW}) + interval '1 month'")


def test_the_same_plan_adds_a_month(subs, run):
    """Of a person who had cancelled, say; what was paid for is not lost."""
    subscription = subs.begin(method=None)
    call(run, "subscription_cancel", subs.user, True, None)
    subs.begin(method="method-2")
    assert run("SELECT count(*) FROM subscriptions") == [(1,)]
    assert nearly(subs, subscription, "current_period_start", NOW)
    assert subs.of(subscription, "current_period_end = period_anchor + interval '2 months' AND"
                                 " next_check_at = current_period_end")
    assert subs.of(subscription, "payment_method_id, cancel_at_period_end") == ("method-2", False)


def test_the_same_plan_after_a_gap(subs):
    """The period begins now, not where the old one ended."""
    subscription = subs.begin(method=None)
    subs.ends(subscription, "3 days")
    assert subs.plan() == "free"
    subs.begin(method="method-2")
    assert nearly(subs, subscription, "current_period_start", NOW)
    assert nearly(subs, subscription, "current_period_end", f"{NOW} + interval '1 month'")


def test_two_first_payments_at_once(cluster, database, subs, run, user):
    """Both are paid: two months of one subscription."""
    ids = [subs.first(new_id()) for _ in range(2)]
    answers = at_once(cluster, database, query_text("payment_apply"), [
        numbered(user, payment, f"p{n}", "succeeded", PRICE, "RUB", False, False, None, "m", None)
        for n, payment in enumerate(ids)])
    assert answers == [[("applied", None)]] * 2
    assert run("SELECT status, period_months FROM subscriptions") == [("active", 2)]


# --- renewal ---

def test_renewal(subs, run):
    subscription = subs.begin()
    subs.ends(subscription)
    assert subs.plan() == "pro", "while it is being renewed"
    assert subs.claim() == [subscription] and subs.claim() == []
    anchor = subs.of(subscription, "period_anchor")
    assert subs.said(subs.renewal(subscription), "succeeded") == ("applied", None)
    assert subs.of(subscription, "period_anchor, period_months") == (anchor, 2)
    assert subs.of(subscription, "current_period_end = period_anchor + interval '2 months' AND"
                                 " next_check_at = current_period_end")
    assert nearly(subs, subscription, "current_period_start", NOW), "the old end"
    assert subs.plan() == "pro" and subs.claim() == []
    assert run("SELECT count(*) FROM subscriptions") == [(1,)]


@pytest.mark.parametrize("day, ends", [
    ("2099-01-31", ["2099-02-28", "2099-03-31", "2099-04-30", "2099-05-31"]),
    ("2099-11-30", ["2099-12-30", "2100-01-30", "2100-02-28", "2100-03-30"]),
    ("2095-12-29", ["2096-01-29", "2096-02-29", "2096-03-29", "2096-04-29"])])
def test_the_day_of_the_month_stays(subs, run, day, ends):
    subscription = subs.begin()
    run("UPDATE subscriptions SET period_anchor = %s, period_months = 0, current_period_end = %s",
        day, day)
    found = []
    for _ in ends:
        subs.said(subs.first(subscription), "succeeded")
        found.append(subs.of(subscription, "current_period_end::date::text"))
    assert found == ends


def test_failures_are_tried_on_days_1_3_and_7(subs):
    subscription = subs.begin()
    subs.ends(subscription)
    passed = 0
    for attempts, day in enumerate((1, 3, 7)):
        assert subs.claim() == [subscription] and subs.plan() == "pro"
        assert subs.of(subscription, "renewal_attempts") == attempts
        assert subs.said(subs.renewal(subscription), "canceled", reason="insufficient_funds") == (
            "applied", None)
        assert subs.of(subscription, "next_check_at = current_period_end"
                                     f" + interval '{day} days'") and subs.claim() == []
        subs.passes(subscription, f"{day - passed} days")
        passed = day
    assert subs.claim() == [subscription] and subs.plan() == "pro"
    subs.said(subs.renewal(subscription), "canceled", reason="insufficient_funds")
    assert subs.of(subscription, "status, payment_method_id, next_check_at") == (
        "expired", None, None)
    assert subs.plan() == "free" and subs.claim() == []


def test_success_after_failures(subs):
    """The month counts from the old end, and the attempts from nothing."""
    subscription = subs.begin()
    subs.ends(subscription)
    subs.said(subs.renewal(subscription), "canceled")
    subs.passes(subscription, "1 day")
    assert subs.claim() == [subscription]
    subs.said(subs.renewal(subscription), "succeeded")
    assert subs.of(subscription, "renewal_attempts, period_months") == (0, 2)
    assert nearly(subs, subscription, "current_period_start", f"{NOW} - interval '1 day'")


def test_permission_revoked(subs):
    subscription = subs.begin()
    subs.ends(subscription)
    subs.said(subs.renewal(subscription), "canceled", reason="permission_revoked")
    assert subs.of(subscription, "status, payment_method_id, next_check_at") == (
        "expired", None, None)
    assert subs.plan() == "free"


def test_a_renewal_that_never_came_to_be_has_failed(subs, run):
    subscription = subs.begin()
    subs.ends(subscription, "49 hours")
    payment = subs.renewal(subscription)
    run(f"UPDATE payments SET created_at = {NOW} - interval '48.5 hours', next_check_at = {NOW}"
        " WHERE id = %s", payment)
    subs.listed("payments")
    assert call(run, "payment_claim_due", 10, 60) == []
    assert subs.of(subscription, "renewal_attempts, status") == (1, "active")
    assert subs.said(payment, "canceled", reason="insufficient_funds") == ("unchanged", None)
    assert subs.of(subscription, "renewal_attempts, status") == (1, "active"), "counted once"


def test_a_failure_of_an_earlier_period_counts_for_nothing(subs):
    subscription = subs.begin()
    subs.ends(subscription)
    late = subs.renewal(subscription)
    subs.said(subs.renewal(subscription), "succeeded")
    assert subs.said(late, "canceled", reason="permission_revoked") == ("applied", None)
    assert subs.of(subscription, "renewal_attempts, payment_method_id") == (0, "method-1")


def test_a_late_success_begins_again(subs):
    """It was given up for lack of an answer; the person has paid."""
    subscription = subs.begin()
    subs.ends(subscription)
    late = subs.renewal(subscription)
    subs.passes(subscription, "31 days")
    assert subs.plan() == "free" and subs.claim() == []
    assert subs.of(subscription, "status") == "expired"
    assert subs.said(late, "succeeded") == ("applied", None)
    assert subs.plan() == "pro"
    assert subs.of(subscription, "status, renewal_attempts, period_months") == ("active", 0, 1)
    assert nearly(subs, subscription, "current_period_start", NOW)
    assert nearly(subs, subscription, "next_check_at", f"{NOW} + interval '1 month'")


def test_a_late_success_beside_another_subscription(subs):
    """Nothing can be given for it: the operator pays it back."""
    subscription = subs.begin()
    subs.ends(subscription)
    late = subs.renewal(subscription)
    other = subs.begin("premium")
    assert subs.said(late, "succeeded") == ("uncredited", "subscription_closed")
    assert subs.row(late) == "succeeded" and subs.differences() == ["subscription_closed"]
    assert subs.of(other, "status, period_months") == ("active", 1)
    assert subs.of(subscription, "status") == "cancelled" and subs.plan() == "premium"


def test_a_renewal_of_nothing(subs, run):
    assert subs.opened(subs.user, purpose="renewal", plan="pro", subscription=new_id()) is None
    subs.ends(subscription := subs.begin())
    late = subs.renewal(subscription)
    run("DELETE FROM subscriptions WHERE id = %s", subscription)
    assert subs.said(late, "succeeded") == ("uncredited", "subscription_closed")


@pytest.mark.parametrize("ago", ["1 day 1 hour", "9 days", "29 days 23 hours"])
def test_nobody_was_there_to_renew_it(subs, run, ago):
    """The plan holds, grace begins with the first attempt, and the operator learns of it."""
    subscription = subs.begin()
    subs.ends(subscription, ago)
    assert subs.plan() == "pro"
    assert [row[12] for row in call(run, "subscription_claim_due", 10, 60)] == [True]
    assert subs.differences(str(subscription)) == ["renewal_late"]
    subs.said(subs.renewal(subscription), "canceled", reason="insufficient_funds")
    assert nearly(subs, subscription, "next_check_at", f"{NOW} + interval '1 day'")
    assert nearly(subs, subscription, "grace_until", f"{NOW} + interval '7 days'")
    for days in (1, 2, 4):
        assert subs.plan() == "pro"
        subs.passes(subscription, f"{days} days")
        assert [row[12] for row in call(run, "subscription_claim_due", 10, 60)] == [False]
        subs.said(subs.renewal(subscription), "canceled", reason="insufficient_funds")
    assert subs.of(subscription, "status") == "expired" and subs.plan() == "free"


def test_nobody_was_there_for_a_further_attempt(subs):
    """The attempts that follow keep their distance, and grace ends with the last of them."""
    subscription = subs.begin()
    subs.ends(subscription)
    subs.said(subs.renewal(subscription), "canceled")
    subs.passes(subscription, "20 days")
    assert subs.plan() == "pro" and subs.claim() == [subscription]
    subs.said(subs.renewal(subscription), "canceled")
    assert nearly(subs, subscription, "next_check_at", f"{NOW} + interval '2 days'")
    assert nearly(subs, subscription, "grace_until", f"{NOW} + interval '6 days'")


def test_too_late_to_renew(subs, run):
    """Nobody was there to renew it for thirty days: no money is taken for that time."""
    subscription = subs.begin()
    subs.ends(subscription, "30 days 1 hour")
    assert subs.plan() == "free"
    assert [(row[3], row[12]) for row in call(run, "subscription_claim_due", 10, 60)] == [
        ("expired", True)]
    assert subs.of(subscription, "status") == "expired"
    assert subs.differences(str(subscription)) == ["renewal_late"]


def test_a_claim_in_time_is_not_late(subs, run):
    subscription = subs.begin()
    subs.ends(subscription, "2 hours")
    assert [row[12] for row in call(run, "subscription_claim_due", 10, 60)] == [False]
    assert subs.differences() == [] and subs.plan() == "pro"


# --- past due ---

def past_due(subs):
    """A subscription whose renewal was declined once."""
    subscription = subs.begin()
    subs.ends(subscription)
    subs.said(subs.renewal(subscription), "canceled", reason="insufficient_funds")
    assert subs.of(subscription, "grace_until = current_period_end + interval '7 days'")
    return subscription


def test_another_card_ends_the_grace(subs):
    subscription = past_due(subs)
    assert subs.said(subs.first(new_id()), "succeeded", method="method-2") == ("applied", None)
    assert subs.of(subscription, "status, renewal_attempts, grace_until, payment_method_id") == (
        "active", 0, None, "method-2")
    assert subs.of(subscription, "period_months, next_check_at = current_period_end") == (2, True)
    assert subs.of(subscription, "current_period_end = period_anchor + interval '2 months'")


def test_a_renewal_is_not_asked_for_once_it_was_paid(subs, run):
    """Neither one that was not answered, nor one that another reconciler is about to open."""
    subscription = subs.begin()
    subs.ends(subscription)
    unanswered = subs.renewal(subscription)
    subs.said(subs.first(new_id()), "succeeded", method="method-2")
    subs.due()
    assert call(run, "payment_claim_due", 10, 60) == []
    assert subs.opened(subs.user, purpose="renewal", plan="pro", amount=PRICE,
                       subscription=subscription) is None
    assert subs.row(unanswered) == "pending", "the provider's list tells"


def test_cancelled_in_grace_it_ends_and_says_so_again(subs, run, user):
    subscription = past_due(subs)
    for _ in range(2):
        [row] = call(run, "subscription_cancel", user, True, None)
        assert (row[1], row[3], row[6]) == (subscription, "cancelled", True)
    assert subs.plan() == "free" and subs.claim() == []
    subs.begin("premium")
    [row] = call(run, "subscription_cancel", user, True, None)
    assert row[2] == "premium", "what is active comes first"


def test_a_month_that_is_not_to_be_renewed(subs):
    """Bought in the grace of a declined one: what was saved before is forgotten."""
    subscription = past_due(subs)
    payment = subs.open(subs.user, purpose="subscription", plan="pro", amount=PRICE,
                        subscription=new_id(), renews=False)
    subs.said(payment, "succeeded")
    assert subs.of(subscription, "status, payment_method_id, grace_until") == ("active", None, None)
    subs.ends(subscription)
    assert subs.claim() == [] and subs.of(subscription, "status") == "expired"


def test_an_adopted_one_is_bought_on(subs, run, user):
    """It has no saved method; the month is added to what there is."""
    subscription = new_id()
    run("INSERT INTO subscriptions (user_id, id, plan, status, current_period_start,"
        f" current_period_end) VALUES (%s, %s, 'pro', 'active', {NOW} - interval '20 days',"
        f" {NOW} + interval '10 days')", user, subscription)
    payment = subs.first(new_id())
    subs.said(payment, "succeeded", method="method-2")
    assert nearly(subs, subscription, "current_period_end",
                  f"{NOW} + interval '10 days' + interval '1 month'")
    assert subs.of(subscription, "payment_method_id") == "method-2"
    assert subs.row(payment, "subscription_id") == subscription


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
    assert nearly(subs, new, "current_period_end", f"{NOW} + interval '{promised} days'"
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
    assert nearly(subs, third, "current_period_end",
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
    assert nearly(subs, subscription, "current_period_end", NOW)
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
    assert nearly(subs, subscription, "current_period_end", f"{NOW} + interval '1 month'")
    gives_back(subs, payments[0])
    assert subs.of(subscription, "status") == "cancelled"


def test_a_refund_of_what_became_another_plan(subs):
    """The operator decides about the days that it was exchanged for."""
    payment = subs.first(new_id())
    subs.said(payment, "succeeded", method="method-1")
    new = subs.begin("premium")
    assert gives_back(subs, payment) == ("uncredited", "credit_given")
    assert subs.of(new, "status") == "active" and subs.differences() == ["credit_given"]


def test_ending_any(subs, run, user):
    """By the operator: at once, and again the same."""
    subscription = subs.begin()
    for _ in range(2):
        [row] = call(run, "subscription_end", user, subscription)
        assert (row[1], row[3]) == (subscription, "cancelled")
    assert subs.plan() == "free" and subs.claim() == []
    assert nearly(subs, subscription, "current_period_end", NOW)
    assert call(run, "subscription_end", user, new_id()) == []


def test_without_a_saved_method(subs):
    subscription = subs.begin(method=None)
    subs.ends(subscription)
    assert subs.plan() == "free", "nobody tries to renew it"
    assert subs.claim() == [] and subs.of(subscription, "status") == "expired"


@pytest.mark.parametrize("overdue, seconds", [("1 minute", 60), ("2 hours", 600), ("2 days", 3600)])
def test_how_long_a_claim_lasts(subs, overdue, seconds):
    """A renewal that is refused again and again is asked for ever more rarely."""
    subscription = subs.begin()
    subs.ends(subscription, overdue)
    assert subs.claim() == [subscription]
    assert nearly(subs, subscription, "next_check_at", f"{NOW} + interval '{seconds} seconds'")


def test_nobody_claims_what_another_has(cluster, database, run):
    for number in range(20):
        one = Subscriptions(run, open_account(run, device_id=f"device_of_subscriber_{number:04}"))
        one.ends(one.begin())
    answers = at_once(cluster, database, query_text("subscription_claim_due"),
                      [numbered(3, 600)] * 32, connections=8)
    claimed = [row[1] for answer in answers for row in answer]
    assert len(claimed) == len(set(claimed)) == 20


# --- cancelling ---

def test_cancelling_keeps_the_period(subs, run, user):
    subscription = subs.begin()
    end = subs.of(subscription, "current_period_end")
    for _ in range(2):
        assert [row[1] for row in call(run, "subscription_cancel", user, True, None)] == [
            subscription]
    assert subs.of(subscription, "status, cancel_at_period_end, current_period_end") == (
        "active", True, end)
    assert subs.plan() == "pro" and subs.claim() == []
    subs.ends(subscription)
    assert subs.plan() == "free" and subs.claim() == []
    assert subs.of(subscription, "status, payment_method_id, next_check_at") == (
        "cancelled", None, None)
    assert call(run, "subscription_cancel", user, True, None) == []


def test_resuming(subs, run, user):
    subscription = subs.begin()
    call(run, "subscription_cancel", user, True, None)
    assert [row[1] for row in call(run, "subscription_cancel", user, False, None)] == [
        subscription]
    subs.ends(subscription)
    assert subs.claim() == [subscription]


def test_resuming_what_cannot_be_renewed(subs, run, user):
    subscription = subs.begin(method=None)
    call(run, "subscription_cancel", user, True, None)
    assert call(run, "subscription_cancel", user, False, None) == []
    assert subs.of(subscription, "cancel_at_period_end") is True


def test_cancelling_while_renewal_fails(subs, run, user):
    """It is over at once: the period is."""
    subscription = subs.begin()
    subs.ends(subscription)
    subs.said(subs.renewal(subscription), "canceled")
    call(run, "subscription_cancel", user, True, None)
    assert subs.plan() == "free" and subs.claim() == []
    assert subs.of(subscription, "status") == "cancelled"


def test_a_renewal_that_was_under_way_when_it_was_cancelled(subs, run, user):
    """The month that was paid is given, and is the last one."""
    subscription = subs.begin()
    subs.ends(subscription)
    renewal = subs.renewal(subscription)
    call(run, "subscription_cancel", user, True, None)
    assert subs.claim() == []
    assert subs.said(renewal, "succeeded") == ("applied", None)
    assert subs.plan() == "pro" and subs.of(subscription, "cancel_at_period_end") is True
    subs.ends(subscription)
    assert subs.claim() == [] and subs.of(subscription, "status") == "cancelled"


ENDINGS = {"cancelled": "cancel_at_period_end = true", "over": "status = 'cancelled'",
           "expired": "status = 'expired'"}


@pytest.mark.parametrize("how", ENDINGS)
def test_a_renewal_without_an_answer_is_not_repeated_after_the_end(subs, run, how):
    """It may have been made, or not: only what was made is looked for."""
    subscription = subs.begin()
    subs.ends(subscription)
    renewal = subs.renewal(subscription)
    again = {"payment": renewal, "purpose": "renewal", "plan": "pro", "amount": PRICE,
             "subscription": subscription}
    subs.due()
    assert [row[1] for row in call(run, "payment_claim_due", 10, 60)] == [renewal]
    subs.due()
    assert subs.opened(subs.user, **again) == ("done", renewal)
    run(f"UPDATE subscriptions SET {ENDINGS[how]} WHERE id = %s", subscription)
    subs.due()
    assert subs.opened(subs.user, **again) is None
    assert call(run, "payment_claim_due", 10, 60) == []
    assert subs.row(renewal, "status, request_body") == ("pending", None)
    made = provider_id()
    assert subs.apply(subs.user, renewal, "pending", made, amount=PRICE) == ("unchanged", None)
    subs.due()
    assert [row[1] for row in call(run, "payment_claim_due", 10, 60)] == [renewal]


def test_one_without_an_end(subs, run, user):
    """As the original's operator may have given it: cancelled, it ends now."""
    run("INSERT INTO subscriptions (user_id, plan, status) VALUES (%s, 'pro', 'active')", user)
    assert subs.plan() == "pro" and subs.claim() == []
    assert len(call(run, "subscription_cancel", user, True, None)) == 1
    assert subs.claim() == [] and subs.plan() == "free"


def test_cancelling_by_id(subs, run, user):
    """Of one that was replaced meanwhile, the other one stays as it is."""
    old, new = subs.begin("pro"), subs.begin("premium")
    assert call(run, "subscription_cancel", user, True, old) == []
    assert subs.of(new, "cancel_at_period_end") is False
    assert [row[1] for row in call(run, "subscription_cancel", user, True, new)] == [new]
    assert subs.of(new, "cancel_at_period_end") is True


def test_erasing(subs, run, user):
    subscription = subs.begin()
    run(ERASE, user)
    assert subs.of(subscription, "status, payment_method_id, next_check_at") == (
        "cancelled", None, None)


def test_lists(subs, run, user):
    first = subs.begin("pro")
    second = subs.begin("premium")
    assert [row[1] for row in call(run, "subscription_list", user, 10)] == [second, first]
    assert [row[1] for row in call(run, "subscription_list", user, 1)] == [second]
    assert {row[1] for row in call(run, "subscription_export", user,
                                   "00000000-0000-0000-0000-000000000000", 10)} == {first, second}
