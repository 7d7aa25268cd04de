"""/api/subscriptions: a subscription's life, with the time moved in its rows."""

import json
import uuid

import pytest

from tests.support.shop import BACK, Shop, row_id

PRICES = {"pro": "999.00", "premium": "2999.00"}
DAY = 24 * 3600


@pytest.fixture(scope="module")
def shop(cluster, template, binaries):
    """The reconciler runs; payments are confirmed by notifications, renewals by the reconciler."""
    with Shop(cluster, template, binaries) as made:
        yield made


@pytest.fixture
def buyer(shop):
    """Somebody nobody has seen."""
    made = shop.buyer()
    yield made
    shop.provider.faults.set()
    made.client.close()


class Life:
    """A buyer's active subscription and the provider's saved method of it."""

    def __init__(self, shop, buyer, plan="pro"):
        self.shop, self.buyer, self.plan = shop, buyer, plan
        answer = buyer.subscribe(plan, returnUrl=BACK)
        self.method = answer.data["confirmationUrl"].rpartition("/")[2]
        shop.provider.pay(self.method)
        shop.notify("payment.succeeded", self.method)
        self.public_id = buyer.subscriptions()[0]["id"]
        self.id = row_id(self.public_id)

    def row(self, columns):
        """The columns of its row."""
        [found] = self.shop.query(f"SELECT {columns} FROM subscriptions WHERE id = %s",
                                  (self.id,))
        return found if len(found) > 1 else found[0]

    def now(self):
        """As GET tells it."""
        return next(one for one in self.buyer.subscriptions() if one["id"] == self.public_id)

    def pass_days(self, days):
        """Days go by, for this subscription and its payments."""
        self.shop.query(
            "UPDATE subscriptions SET next_check_at = next_check_at - make_interval(days => %(d)s),"
            " current_period_start = current_period_start - make_interval(days => %(d)s),"
            " current_period_end = current_period_end - make_interval(days => %(d)s),"
            " grace_until = grace_until - make_interval(days => %(d)s),"
            " period_anchor = period_anchor - make_interval(days => %(d)s) WHERE id = %(id)s",
            {"d": days, "id": self.id})
        self.shop.query("UPDATE payments SET created_at = created_at - make_interval(days => %s)"
                        " WHERE user_id = %s", (days, self.buyer.user_id()))

    def end_period(self):
        """The period is over this moment, whatever month it is; to the microsecond, for a renewal is
        told from the next one by the period's end."""
        seconds = self.row(
            "extract(epoch FROM current_period_end - now() AT TIME ZONE 'utc')::float8")
        self.shop.query(
            "UPDATE subscriptions SET next_check_at = next_check_at - make_interval(secs => %(s)s),"
            " current_period_start = current_period_start - make_interval(secs => %(s)s),"
            " current_period_end = current_period_end - make_interval(secs => %(s)s),"
            " period_anchor = period_anchor - make_interval(secs => %(s)s) WHERE id = %(id)s",
            {"s": seconds + 1, "id": self.id})

    def renewals(self):
        """(status, reason) of its renewals, oldest first."""
        return self.shop.query("SELECT status, cancellation_reason FROM payments WHERE"
                               " subscription_id = %s AND purpose = 'renewal'"
                               " ORDER BY created_at, id", (self.id,))

    def wait(self, **expected):
        """Until GET says so."""
        self.shop.wait(lambda: {name: self.now()[name] for name in expected} == expected,
                       f"{expected}, is {self.now()}")


@pytest.fixture
def life(shop, buyer):
    """An active subscription to pro."""
    return Life(shop, buyer)


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
                         " + interval '55 days' FROM subscriptions WHERE id = %s", (row_id(one["id"]),))[0]
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
    assert status == payments["status"] == "degraded" and "save payment methods" in payments["error"]
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
                        "::int / 86400 FROM payments WHERE id = %s", (row_id(data["paymentId"]),))[0]
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


def test_somebody_else_has_nothing_of_it(shop, life):
    other = shop.buyer()
    assert other.subscriptions() == []
    assert other.request("DELETE", "/api/subscriptions").code == "not_found"
    assert life.now()["renews"] is True
    other.client.close()
