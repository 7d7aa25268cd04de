"""A subscription at the end of its period, with the time moved in its rows: renewed, past due,
ended."""

import json
import uuid

import pytest

from tests.support.shop import BACK, row_id
from tests.support.subscription_life import Life

RECONCILED = True  # payments are confirmed by notifications, renewals by the reconciler


# --- the end of a period ---

@pytest.mark.quick
def test_a_renewal(shop, buyer, life):
    life.end_period()
    end = life.now()["periodEnd"]
    life.wait(periodStart=end)
    assert life.row("current_period_end = period_anchor + make_interval(months => period_months),"
                    " period_months, renewal_attempts") == (True, 2, 0)
    assert life.renewals() == [("succeeded", None)]
    order = json.loads([entry["body"] for entry in shop.posts()
                        if buyer.user_id().encode() in entry["body"]][-1])
    assert order["payment_method_id"] == life.method
    assert "confirmation" not in order and order["amount"]["value"] == "999.00"
    life.end_period()
    shop.wait(lambda: len(life.renewals()) == 2, "the next month as well")


def test_a_new_price_counts_from_the_next_renewal(shop, buyer):
    shop.query("INSERT INTO plans (plan, daily_generations, history_max, quality, price)"
               " VALUES ('rising', 50, 50, '2K', 100) ON CONFLICT DO NOTHING")
    life = Life(shop, buyer, "rising")
    shop.query("UPDATE plans SET price = 150 WHERE plan = 'rising'")
    life.end_period()
    shop.wait(life.renewals, "it is renewed")
    amounts = [payment["amount"] for payment in
               buyer.request("GET", "/api/payments").data["payments"]]
    assert amounts == ["150.00", "100.00"]


def test_a_renewal_that_fails_is_tried_again_on_days_1_3_and_7(shop, buyer, life):
    shop.provider.books.methods[life.method] = "insufficient_funds"
    life.end_period()
    for attempt, day in enumerate((1, 3, 7), 1):
        shop.wait(lambda: life.row("renewal_attempts") == attempt, f"attempt {attempt}")
        assert life.renewals() == [("canceled", "insufficient_funds")] * attempt
        assert buyer.plan() == "pro", "the service goes on"
        assert life.row("round(extract(epoch FROM next_check_at - current_period_end) / 86400)"
                        "::int") == day
        life.pass_days((1, 2, 4)[attempt - 1])
    life.wait(status="expired", renews=False)
    assert len(life.renewals()) == 4
    assert buyer.plan() == "free"


def test_a_retry_that_succeeds_extends_from_the_old_end(shop, life):
    shop.provider.books.methods[life.method] = "insufficient_funds"
    life.end_period()
    shop.wait(lambda: life.row("renewal_attempts") == 1, "it has failed")
    shop.provider.books.methods[life.method] = None
    life.pass_days(1)
    end = life.now()["periodEnd"]
    life.wait(periodStart=end)
    assert life.row("renewal_attempts") == 0


def test_a_permission_that_was_revoked(shop, buyer, life):
    shop.provider.books.methods[life.method] = "permission_revoked"
    life.end_period()
    life.wait(status="expired")
    assert life.renewals() == [("canceled", "permission_revoked")]
    assert life.row("payment_method_id") is None
    assert buyer.plan() == "free"
    shop.provider.books.methods[life.method] = None
    assert buyer.subscribe("pro").status == 200, "it may begin anew"


def test_a_method_that_the_provider_does_not_know(shop, life):
    """A 400 is an attempt like a refusal of the bank: it is not repeated every few seconds."""
    del shop.provider.books.methods[life.method]
    life.end_period()
    shop.wait(lambda: life.row("renewal_attempts") == 1, "it has failed")
    assert life.renewals() == [("canceled", "refused")]
    assert life.row("round(extract(epoch FROM next_check_at - current_period_end) / 86400)"
                    "::int") == 1


@pytest.mark.parametrize("fault", ["error_500_before", "error_500_after", "timeout_after",
                                   "cut_after", "too_many_requests"])
def test_a_renewal_without_an_answer_is_paid_once(shop, buyer, life, fault):
    shop.provider.faults.set(**{fault: 1})
    before = shop.provider.faults.counts[fault]
    life.end_period()
    shop.wait(lambda: shop.provider.faults.counts[fault] > before, "it is asked")
    shop.provider.faults.set()
    end = life.now()["periodEnd"]
    shop.wait(lambda: life.now()["periodStart"] == end or life.renewals() == [("succeeded", None)],
              "it is renewed", 60)
    user = buyer.user_id()
    charged = [payment for payment in shop.provider.books.payments.values()
               if payment["metadata"].get("user_id") == user
               and payment["id"] != life.method and payment["status"] == "succeeded"]
    assert len(charged) == 1


def test_a_cancelled_one_ends_with_its_period(shop, buyer, life):
    buyer.request("DELETE", "/api/subscriptions")
    life.end_period()
    life.wait(status="cancelled")
    assert life.renewals() == [] and buyer.plan() == "free"
    assert buyer.request("DELETE", "/api/subscriptions").code == "not_found"
    assert buyer.subscribe("pro").data["confirmationUrl"], "afterwards it begins anew"


def test_a_method_that_was_not_saved(shop, buyer):
    """Some ways of paying cannot be used again: it ends with the period."""
    answer = buyer.subscribe()
    provider_id = answer.data["confirmationUrl"].rpartition("/")[2]
    shop.provider.books.save_wanted.discard(provider_id)
    shop.provider.pay(provider_id)
    shop.notify("payment.succeeded", provider_id)
    [one] = buyer.subscriptions()
    assert (one["status"], one["renews"]) == ("active", False)
    shop.query("UPDATE subscriptions SET current_period_end = now() AT TIME ZONE 'utc',"
               " next_check_at = now() AT TIME ZONE 'utc' WHERE id = %s",
               (row_id(one["id"]),))
    shop.wait(lambda: buyer.subscriptions()[0]["status"] == "expired", "it has expired")


def test_a_plan_that_is_not_sold_any_more(shop, buyer):
    name = f"old{uuid.uuid4().hex[:6]}"
    shop.query("INSERT INTO plans (plan, daily_generations, history_max, quality, price)"
               " VALUES (%s, 50, 50, '2K', 100)", (name,))
    life = Life(shop, buyer, name)
    shop.query("UPDATE plans SET price = 0 WHERE plan = %s", (name,))
    life.end_period()
    life.wait(cancelAtPeriodEnd=True)
    shop.query("UPDATE subscriptions SET next_check_at = now() AT TIME ZONE 'utc' WHERE id = %s",
               (life.id,))
    life.wait(status="cancelled")
    assert life.renewals() == []


def test_an_account_that_was_erased_is_not_charged(shop, buyer, life):
    user = buyer.user_id()
    buyer.request("DELETE", "/api/user")
    life.end_period()
    shop.query("UPDATE subscriptions SET next_check_at = now() AT TIME ZONE 'utc'"
               " WHERE id = %s AND status = 'active'", (life.id,))
    other = Life(shop, shop.buyer())
    other.end_period()
    shop.wait(other.renewals, "somebody else's renewal, which was due later")
    charged = [payment for payment in shop.provider.books.payments.values()
               if payment["metadata"].get("user_id") == user]
    assert len(charged) == 1
    other.buyer.client.close()


def test_several_reconcilers_renew_once(shop):
    lives = [Life(shop, shop.buyer()) for _ in range(8)]
    with shop.reconciler(), shop.reconciler():
        for life in lives:
            life.end_period()
        for life in lives:
            shop.wait(lambda: life.renewals() == [("succeeded", None)], "it is renewed")
    for life in lives:
        user = life.buyer.user_id()
        assert sum(payment["metadata"].get("user_id") == user
                   for payment in shop.provider.books.payments.values()) == 2
        life.buyer.client.close()


# --- past due ---

@pytest.fixture
def past_due(shop, life):
    """Its renewal was declined."""
    shop.provider.books.methods[life.method] = "insufficient_funds"
    life.end_period()
    life.wait(status="past_due")
    return life


@pytest.mark.quick
def test_past_due_is_told(buyer, past_due):
    one = past_due.now()
    assert one["renews"] is False and one["cancelAtPeriodEnd"] is False
    end, following, grace = past_due.row(
        "to_char(current_period_end, 'YYYY-MM-DD'), to_char(current_period_end + interval '1 day',"
        " 'YYYY-MM-DD'), to_char(current_period_end + interval '7 days', 'YYYY-MM-DD')")
    assert [one[name][:10] for name in ("periodEnd", "nextAttemptAt", "graceEndsAt")] == [
        end, following, grace]
    profile = buyer.request("GET", "/api/user").data
    told = profile["subscription"]
    # What clients of the original read stays a word they know.
    assert (profile["plan"], profile["status"], told["status"]) == ("pro", "active", "active")
    assert (told["state"], told["nextAttemptAt"], told["graceEndsAt"]) == (
        "past_due", one["nextAttemptAt"], one["graceEndsAt"])


def test_nothing_is_due_of_an_active_one(buyer, life):
    one, told = life.now(), buyer.request("GET", "/api/user").data["subscription"]
    assert (one["status"], told["state"]) == ("active", "active")
    assert one["nextAttemptAt"] is one["graceEndsAt"] is None
    assert told["nextAttemptAt"] is told["graceEndsAt"] is None


def test_another_card_ends_the_grace(shop, buyer, past_due):
    end = past_due.now()["periodEnd"]
    data = buyer.paid_month("pro", returnUrl=BACK)
    assert data["creditDays"] == 0
    one = past_due.now()
    assert (one["status"], one["renews"], one["periodStart"]) == ("active", True, end)
    assert one["graceEndsAt"] is None and one["nextAttemptAt"] is None
    method = data["confirmationUrl"].rpartition("/")[2]
    assert past_due.row("payment_method_id, renewal_attempts") == (method, 0)
    assert buyer.subscribe("pro").code == "subscription_active"
    past_due.end_period()
    shop.wait(lambda: past_due.renewals()[-1] == ("succeeded", None), "by the new card")


def test_cancelled_while_past_due(shop, buyer, past_due):
    for _ in range(3):
        answer = buyer.request("DELETE", "/api/subscriptions")
        assert answer.status == 200
        one = answer.data["subscription"]
        assert (one["id"], one["status"], one["renews"]) == (past_due.public_id, "cancelled", False)
    assert buyer.plan() == "free"
    assert buyer.request("GET", "/api/tokens").data["plan"] == "free", "nor cached"
    assert buyer.subscribe("pro").data["confirmationUrl"], "it may begin anew"


# --- the reconciler was away ---

def test_a_renewal_that_is_late(shop, buyer, life):
    """It is tried all the same; grace begins then, and the operator learns of it."""
    shop.provider.books.methods[life.method] = "insufficient_funds"
    life.end_period()
    shop.query("UPDATE subscriptions SET next_check_at = 'infinity' WHERE id = %s", (life.id,))
    life.pass_days(12)
    assert buyer.plan() == "pro"
    shop.query("UPDATE subscriptions SET next_check_at = current_period_end WHERE id = %s",
               (life.id,))
    life.wait(status="past_due")
    assert buyer.plan() == "pro" and shop.differences(life.id) == {"renewal_late"}
    assert life.row("round(extract(epoch FROM grace_until - now() AT TIME ZONE 'utc') / 86400)"
                    "::int") == 7
    assert [event["kind"] for event in shop.stack.events("payments-reconciler")
            if event["message"] == "payment difference" and event["provider_id"] == life.id] == [
                "renewal_late"]
