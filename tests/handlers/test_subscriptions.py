"""/api/subscriptions: how one begins, changes and is paid back."""

import json

import pytest

from tests.support.shop import BACK, row_id
from tests.support.subscription_life import Life

PRICES = {"pro": "999.00", "premium": "2999.00"}
RECONCILED = True  # payments are confirmed by notifications, renewals by the reconciler


# --- beginning ---

@pytest.mark.quick
@pytest.mark.parametrize("plan", PRICES)
def test_a_first_month(shop, buyer, plan):
    answer = buyer.subscribe(plan, returnUrl=BACK)
    assert answer.status == 200 and answer.data["status"] == "pending"
    provider_id = answer.data["confirmationUrl"].rpartition("/")[2]
    order = json.loads([entry["body"] for entry in shop.posts()
                        if buyer.user_id().encode() in entry["body"]][-1])
    assert order["amount"] == {"value": PRICES[plan], "currency": "RUB"}
    assert order["save_payment_method"] is True
    assert order["confirmation"]["return_url"] == BACK
    assert buyer.subscriptions() == [] and buyer.plan() == "free"
    shop.provider.pay(provider_id)
    assert shop.notify("payment.succeeded", provider_id).json == {"received": True}
    [one] = buyer.subscriptions()
    assert one["plan"] == plan and one["status"] == "active"
    assert one["renews"] is True and one["cancelAtPeriodEnd"] is False
    assert buyer.plan() == plan
    months, = shop.query("SELECT current_period_end = current_period_start + interval '1 month'"
                         " FROM subscriptions WHERE id = %s", (row_id(one["id"]),))[0]
    assert months
    assert buyer.balance() == 5, "a subscription is no tokens"
    found = buyer.payment(answer.data["paymentId"])
    assert (found["purpose"], found["plan"], found["tokens"]) == ("subscription", plan, None)


def test_the_plan_counts_at_once(buyer, life):
    """Also where the balance was cached a moment ago."""
    assert buyer.request("GET", "/api/tokens").data["freeGenerations"]["total"] == 50
    assert life.now()["status"] == "active"


def test_a_month_that_is_not_paid(shop, buyer):
    answer = buyer.subscribe()
    shop.provider.decline(answer.data["confirmationUrl"].rpartition("/")[2])
    shop.wait(lambda: buyer.payment(answer.data["paymentId"])["status"] == "canceled", "canceled")
    assert buyer.subscriptions() == [] and buyer.plan() == "free"


@pytest.mark.parametrize("plan", ["free", "gold", "", "PRO", None, 7, "x" * 30])
def test_a_plan_that_is_not_sold(buyer, plan):
    answer = buyer.subscribe(plan)
    assert (answer.status, answer.code, answer.json["field"]) == (400, "invalid_field", "plan")


def test_a_plan_is_a_row(shop, buyer):
    shop.query("INSERT INTO plans (plan, daily_generations, history_max, quality, price)"
               " VALUES ('studio', 500, 500, '4K', 4999.50)")
    life = Life(shop, buyer, "studio")
    assert life.now()["plan"] == "studio" and buyer.plan() == "studio"
    assert buyer.request("GET", "/api/payments").data["payments"][0]["amount"] == "4999.50"


def test_the_same_key_is_the_same_payment(shop, buyer):
    first = buyer.subscribe(key="k")
    again = buyer.subscribe(key="k")
    assert again.body == first.body and again.headers["Idempotency-Replayed"] == "true"
    assert buyer.subscribe("premium", key="k").code == "idempotency_key_reused"
    provider_id = first.data["confirmationUrl"].rpartition("/")[2]
    shop.provider.pay(provider_id)
    shop.notify("payment.succeeded", provider_id)
    # The answer of the first time, and not that it is active by now.
    assert buyer.subscribe(key="k").data["status"] == "succeeded"
    assert len(buyer.subscriptions()) == 1


def test_two_first_payments_are_two_months(shop, buyer):
    """Opened in two tabs and both paid: nothing that was paid for is lost."""
    ids = [buyer.subscribe().data["confirmationUrl"].rpartition("/")[2] for _ in range(2)]
    for provider_id in ids:
        shop.provider.pay(provider_id)
        shop.notify("payment.succeeded", provider_id)
    [one] = [one for one in buyer.subscriptions() if one["status"] == "active"]
    months, = shop.query("SELECT current_period_end > now() AT TIME ZONE 'utc'"
                         " + interval '55 days' FROM subscriptions WHERE id = %s",
                         (row_id(one["id"]),))[0]
    assert months


# --- while it runs ---

def test_the_same_plan_again(buyer, life):
    assert life.now()["renews"]
    answer = buyer.subscribe("pro")
    assert (answer.status, answer.code) == (409, "subscription_active")


def test_another_plan_replaces_it_when_it_is_paid(shop, buyer, life):
    answer = buyer.subscribe("premium")
    assert buyer.plan() == "pro"
    provider_id = answer.data["confirmationUrl"].rpartition("/")[2]
    shop.provider.pay(provider_id)
    shop.notify("payment.succeeded", provider_id)
    assert buyer.plan() == "premium"
    statuses = {one["plan"]: (one["status"], one["renews"]) for one in buyer.subscriptions()}
    assert statuses == {"premium": ("active", True), "pro": ("cancelled", False)}
    assert life.row("current_period_end <= now() AT TIME ZONE 'utc'")


def test_cancelled_and_taken_back(buyer, life):
    for _ in range(2):
        answer = buyer.request("DELETE", "/api/subscriptions")
        one = answer.data["subscription"]
        assert (one["status"], one["cancelAtPeriodEnd"], one["renews"]) == ("active", True, False)
    assert buyer.plan() == "pro"
    resumed = buyer.subscribe("pro")
    assert resumed.data == {"paymentId": None, "confirmationUrl": None, "status": "active"}
    assert life.now()["renews"] is True
    assert buyer.subscribe("pro").code == "subscription_active"


def test_nothing_to_cancel(buyer):
    assert buyer.request("DELETE", "/api/subscriptions").code == "not_found"


def test_somebody_else_has_nothing_of_it(shop, life):
    other = shop.buyer()
    assert other.subscriptions() == []
    assert other.request("DELETE", "/api/subscriptions").code == "not_found"
    assert life.now()["renews"] is True
    other.client.close()


# --- without renewal ---

@pytest.mark.quick
def test_a_month_without_renewal(shop, buyer):
    buyer.paid_month("pro", renews=False)
    order = json.loads([entry["body"] for entry in shop.posts()
                        if buyer.user_id().encode() in entry["body"]][-1])
    assert "save_payment_method" not in order
    [one] = buyer.subscriptions()
    assert (one["status"], one["renews"]) == ("active", False)
    end = one["periodEnd"]
    # It is bought on while it runs, once more without renewal and then with it.
    buyer.paid_month("pro", renews=False)
    [one] = buyer.subscriptions()
    assert one["periodEnd"] > end and one["renews"] is False
    buyer.paid_month("pro")
    [one] = buyer.subscriptions()
    assert one["renews"] is True
    assert buyer.subscribe("pro").code == "subscription_active"


def test_an_adopted_one_is_bought_on(shop, buyer):
    """As the original backend left it: active, and nothing was saved."""
    shop.query("INSERT INTO subscriptions (user_id, plan, status, current_period_start,"
               " current_period_end) VALUES (%s, 'pro', 'active', now() AT TIME ZONE 'utc',"
               " (now() AT TIME ZONE 'utc') + interval '10 days')", (buyer.user_id(),))
    [before] = buyer.subscriptions()
    assert before["renews"] is False
    buyer.paid_month("pro")
    [one] = buyer.subscriptions()
    assert (one["id"], one["renews"]) == (before["id"], True)
    assert one["periodEnd"] > before["periodEnd"]


@pytest.mark.parametrize("renews", [1, "no", [], {}])
def test_renews_is_true_or_false(buyer, renews):
    answer = buyer.subscribe("pro", renews=renews)
    assert (answer.status, answer.code, answer.json["field"]) == (400, "invalid_field", "renews")


# --- a provider that refuses ---

@pytest.fixture
def no_saving(shop):
    """The shop may not save payment methods."""
    shop.provider.books.saving_allowed = False
    yield
    shop.provider.books.saving_allowed = True


def health(shop):
    """What GET /api/health says of payments."""
    client = shop.stack.client(anonymous=True)
    data = client.get("/api/health").data
    client.close()
    return data["status"], data["checks"]["payments"]


@pytest.mark.quick
def test_a_shop_that_may_not_save(shop, buyer, no_saving):
    assert health(shop) == ("healthy", {"status": "healthy"})
    answer = buyer.subscribe("pro", key="k")
    assert (answer.status, answer.code) == (422, "saving_not_allowed")
    assert "Retry-After" not in answer.headers
    status, payments = health(shop)
    assert status == payments["status"] == "degraded"
    assert "save payment methods" in payments["error"]
    assert shop.differences("shop") == {"may_not_save"}
    assert [event["kind"] for event in shop.stack.events("subscriptions")
            if event["message"] == "payment provider: the operator has to act"] == ["may_not_save"]
    # The key is free, and a month is sold without it.
    assert buyer.subscribe("pro", key="k", renews=False).data["confirmationUrl"]
    assert health(shop)[0] == "degraded", "that shows nothing"
    shop.provider.books.saving_allowed = True
    other = shop.buyer()
    assert other.subscribe("pro", key="k").data["confirmationUrl"]
    assert health(shop) == ("healthy", {"status": "healthy"})
    other.client.close()


def test_the_same_request_once_it_may(shop, buyer, no_saving):
    assert buyer.subscribe("pro", key="k").code == "saving_not_allowed"
    shop.provider.books.saving_allowed = True
    assert buyer.subscribe("pro", key="k").data["confirmationUrl"]


# --- another plan ---

def test_what_is_left_becomes_days_of_another_plan(shop, buyer, life):
    data = buyer.subscribe("premium", key="k", returnUrl=BACK).data
    # All of 999.00, in days of a month for 2999.00.
    month, = shop.query("SELECT extract(epoch FROM created_at + interval '1 month' - created_at)"
                        "::int / 86400 FROM payments WHERE id = %s",
                        (row_id(data["paymentId"]),))[0]
    assert data["creditDays"] == -(-99900 * month // 299900)
    assert buyer.subscribe("premium", key="k", returnUrl=BACK).data["creditDays"] == data[
        "creditDays"]
    provider_id = data["confirmationUrl"].rpartition("/")[2]
    shop.provider.pay(provider_id)
    shop.notify("payment.succeeded", provider_id)
    one = buyer.subscriptions()[0]
    assert one["plan"] == "premium"
    assert shop.query("SELECT current_period_end = current_period_start + make_interval(days => %s)"
                      " + interval '1 month' FROM subscriptions WHERE id = %s",
                      (data["creditDays"], row_id(one["id"]))) == [(True,)]
    assert buyer.subscribe("pro", returnUrl=BACK).data["creditDays"] > 31, "and back"


def test_nothing_is_left_of_nothing(buyer):
    assert buyer.subscribe("pro").data["creditDays"] == 0


# --- refunds and the operator ---

def refund(shop, buyer, **body):
    """Gives the newest payment back."""
    public_id = buyer.request("GET", "/api/payments").data["payments"][0]["id"]
    return shop.operate("POST", f"/api/payments/{public_id}/refund", body=body)


def test_a_whole_refund_ends_it(shop, buyer, life):
    answer = refund(shop, buyer)
    assert (answer.data["tokensTaken"], answer.data["tokensOwed"]) == (0, 0)
    assert life.now()["status"] == "cancelled" and life.now()["renews"] is False
    assert buyer.plan() == "free" and buyer.balance() == 5
    assert buyer.request("GET", "/api/tokens").data["plan"] == "free", "nor cached"


def test_a_refund_in_part_leaves_the_period(shop, buyer, life):
    refund(shop, buyer, amount="500.00")
    assert life.now()["renews"] is True and buyer.plan() == "pro"


def test_the_operator_ends_any(shop, buyer, life):
    path = f"/api/subscriptions/{life.public_id}"
    assert buyer.request("DELETE", path).status == 401
    assert shop.operate("DELETE", path, scopes="reverse").status == 403
    assert life.now()["status"] == "active"
    for _ in range(2):
        answer = shop.operate("DELETE", path)
        assert answer.status == 200
        assert answer.data["subscription"]["id"] == life.public_id
        assert answer.data["subscription"]["status"] == "cancelled"
    assert buyer.plan() == "free"
    assert buyer.request("GET", "/api/tokens").data["plan"] == "free", "nor cached"
    assert shop.operate("DELETE", "/api/subscriptions/" + "A" * 43).code == "not_found"
    assert shop.operate("DELETE", "/api/subscriptions/7").code == "not_found"
