"""Subscriptions in the database: renewed, failed, past due."""

import pytest

from tests.support.payment_rows import call
from tests.support.sessions import at_once, new_id, numbered, open_account, query_text
from tests.support.subscription_rows import NOW, PRICE, Subscriptions


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
    assert subs.nearly(subscription, "current_period_start", NOW), "the old end"
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
    assert subs.nearly(subscription, "current_period_start", f"{NOW} - interval '1 day'")


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
    assert subs.nearly(subscription, "current_period_start", NOW)
    assert subs.nearly(subscription, "next_check_at", f"{NOW} + interval '1 month'")


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
    assert subs.nearly(subscription, "next_check_at", f"{NOW} + interval '1 day'")
    assert subs.nearly(subscription, "grace_until", f"{NOW} + interval '7 days'")
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
    assert subs.nearly(subscription, "next_check_at", f"{NOW} + interval '2 days'")
    assert subs.nearly(subscription, "grace_until", f"{NOW} + interval '6 days'")


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

def test_another_card_ends_the_grace(subs):
    subscription = subs.past_due()
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
    subscription = subs.past_due()
    for _ in range(2):
        [row] = call(run, "subscription_cancel", user, True, None)
        assert (row[1], row[3], row[6]) == (subscription, "cancelled", True)
    assert subs.plan() == "free" and subs.claim() == []
    subs.begin("premium")
    [row] = call(run, "subscription_cancel", user, True, None)
    assert row[2] == "premium", "what is active comes first"


def test_a_month_that_is_not_to_be_renewed(subs):
    """Bought in the grace of a declined one: what was saved before is forgotten."""
    subscription = subs.past_due()
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
    assert subs.nearly(subscription, "current_period_end",
                       f"{NOW} + interval '10 days' + interval '1 month'")
    assert subs.of(subscription, "payment_method_id") == "method-2"
    assert subs.row(payment, "subscription_id") == subscription


# --- claiming ---

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
    assert subs.nearly(subscription, "next_check_at", f"{NOW} + interval '{seconds} seconds'")


def test_nobody_claims_what_another_has(cluster, database, run):
    for number in range(20):
        one = Subscriptions(run, open_account(run, device_id=f"device_of_subscriber_{number:04}"))
        one.ends(one.begin())
    answers = at_once(cluster, database, query_text("subscription_claim_due"),
                      [numbered(3, 600)] * 32, connections=8)
    claimed = [row[1] for answer in answers for row in answer]
    assert len(claimed) == len(set(claimed)) == 20
