"""Subscriptions in the database: cancelled, resumed, ended, erased."""

import pytest

from tests.support.payment_rows import call, provider_id
from tests.support.sessions import ERASE, new_id
from tests.support.subscription_rows import NOW, PRICE


def test_ending_any(subs, run, user):
    """By the operator: at once, and again the same."""
    subscription = subs.begin()
    for _ in range(2):
        [row] = call(run, "subscription_end", user, subscription)
        assert (row[1], row[3]) == (subscription, "cancelled")
    assert subs.plan() == "free" and subs.claim() == []
    assert subs.nearly(subscription, "current_period_end", NOW)
    assert call(run, "subscription_end", user, new_id()) == []


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
