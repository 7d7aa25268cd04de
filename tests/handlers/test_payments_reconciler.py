"""payments-reconciler: what it finds when every notification is lost, an answer never came, a
handler was killed, or the provider has what we do not know."""

import collections
import concurrent.futures
import json
import os
import signal
import threading
import time
import uuid

import pytest

from tests.support.fastcgi import Handler
from tests.support.process import alive, wait_until
from tests.support.shop import WELCOME, Buyer, theirs

NAME = "payments-reconciler"
RECONCILED = True  # every notification is lost


def credited(shop, buyer, tokens=10):
    """Waits until the tokens are there."""
    shop.wait(lambda: buyer.balance() == WELCOME + tokens, "the payment is credited")


def row(shop, buyer, columns):
    """Of a buyer's only payment."""
    [found] = shop.query(f"SELECT {columns} FROM payments WHERE user_id = %s", (buyer.user_id(),))
    return found if len(found) > 1 else found[0]


def age(shop, buyer, hours):
    """Makes a buyer's payment that old."""
    shop.query("UPDATE payments SET created_at = created_at - make_interval(hours => %s)"
               " WHERE user_id = %s", (hours, buyer.user_id()))


# --- what nobody told ---

@pytest.mark.quick
def test_a_payment_is_credited_without_any_notification(shop, buyer):
    payment = buyer.buy()
    shop.provider.pay(payment.provider_id)
    credited(shop, buyer)
    assert row(shop, buyer, "next_check_at") is None, "it is not looked at any more"


def test_a_payment_is_credited_within_a_minute(shop, buyer):
    """As often as a new installation looks."""
    often = "UPDATE app_settings SET value = %s WHERE name = 'payments_poll_seconds' RETURNING 1"
    default = shop.value("SELECT value FROM app_settings WHERE name = 'payments_poll_seconds'")
    assert shop.query(often, (15,))
    try:
        payment = buyer.buy()
        shop.provider.pay(payment.provider_id)
        shop.wait(lambda: buyer.balance() == WELCOME + 10, "the payment is credited", seconds=60)
    finally:
        shop.query(often, (default,))


def test_a_payment_that_was_declined(shop, buyer):
    payment = buyer.buy()
    shop.provider.decline(payment.provider_id, "card_expired")
    shop.wait(lambda: buyer.payment(payment.public_id)["status"] == "canceled", "it is canceled")
    assert buyer.payment(payment.public_id)["cancellationReason"] == "card_expired"
    assert row(shop, buyer, "next_check_at") is None


def test_a_payment_that_waits_for_capture(shop, buyer):
    payment = buyer.buy()
    shop.provider.pay(payment.provider_id, hold=True)
    credited(shop, buyer)


def test_a_pending_payment_is_looked_at_again_and_again(shop, buyer):
    payment = buyer.buy()
    path = f"/v3/payments/{payment.provider_id}"

    def looks():
        return sum(entry["path"] == path for entry in list(shop.provider.requests))
    shop.wait(lambda: looks() >= 3, "three looks")
    age(shop, buyer, 2)
    shop.look_again()
    # From then on every ten minutes.
    shop.wait(lambda: row(shop, buyer, "next_check_at > (now() AT TIME ZONE 'utc')"
                                       " + interval '5 minutes'"), "the next look is far")


@pytest.mark.parametrize("fault", ["error_500_before", "timeout_before", "cut_before",
                                   "too_many_requests", "error_500_after", "cut_after"])
def test_the_provider_fails_for_a_while(shop, buyer, fault):
    payment = buyer.buy()
    shop.provider.faults.set(**{fault: 1})
    shop.provider.pay(payment.provider_id)
    before = shop.provider.faults.counts[fault]
    shop.wait(lambda: shop.provider.faults.counts[fault] > before, "it has failed")
    assert buyer.balance() == WELCOME
    shop.provider.faults.set()
    credited(shop, buyer)


def test_the_provider_restarts(shop, buyer):
    payment = buyer.buy()
    shop.provider.pay(payment.provider_id)
    shop.provider.restart(1)
    credited(shop, buyer)


def test_a_payment_that_the_provider_has_forgotten(shop, buyer):
    payment = buyer.buy()
    with shop.provider.books.lock:
        gone = shop.provider.books.payments.pop(payment.provider_id)
        shop.provider.books.order["payments"] = [
            pair for pair in shop.provider.books.order["payments"] if pair[1] != gone["id"]]
    wait_until(lambda: any(event["message"] == "the provider does not know what it once took"
                           and event["provider_id"] == payment.provider_id
                           for event in shop.stack.events(NAME)), 30, "the log says so")
    assert buyer.payment(payment.public_id)["status"] == "pending"
    age(shop, buyer, 30)


# --- creations without an answer ---

@pytest.mark.parametrize("fault", ["error_500_before", "timeout_before", "cut_before",
                                   "error_500_after", "timeout_after", "cut_after"])
def test_a_creation_without_an_answer_is_repeated(shop, buyer, fault):
    shop.provider.faults.set(**{fault: 1})
    assert buyer.order(key="k").code == "payment_provider_unavailable"
    shop.provider.faults.set()
    shop.wait(lambda: row(shop, buyer, "yookassa_payment_id"), "it is found or asked for again")
    [made] = theirs(shop, buyer)
    mine = [entry for entry in shop.posts() if buyer.user_id().encode() in entry["body"]]
    assert len({entry["key"] for entry in mine}) == len({entry["body"] for entry in mine}) == 1
    # One that the provider took, its list may tell of before it is asked again.
    assert len(mine) >= (1 if fault.endswith("_after") else 2)
    assert buyer.buy(key="k").provider_id == made["id"]
    assert row(shop, buyer, "request_body") is None
    shop.provider.pay(made["id"])
    credited(shop, buyer)


def test_a_handler_that_is_killed_while_it_asks(shop, buyer):
    """kill -9 between the call and its answer: the row is there, and the provider has taken it."""
    shop.stack.deaths_expected = True
    buyer.balance()
    shop.provider.faults.set(timeout_after=1)
    victim = shop.stack.pids()["payments"]
    answers = []
    asking = threading.Thread(target=lambda: answers.append(
        shop.stack.client(buyer.client.device).post("/api/payments/create", {"package": "small"},
                                                    headers={"Idempotency-Key": "k"})))
    asking.start()
    shop.wait(lambda: theirs(shop, buyer), "the provider has it")
    os.kill(victim, signal.SIGKILL)
    asking.join()
    assert answers[0].status == 502
    shop.provider.faults.set()
    assert row(shop, buyer, "status, yookassa_payment_id") == ("pending", None)
    shop.wait(lambda: row(shop, buyer, "yookassa_payment_id"), "the reconciler finishes it")
    [made] = theirs(shop, buyer)
    shop.provider.pay(made["id"])
    credited(shop, buyer)
    assert buyer.buy(key="k").status == "succeeded"


def test_a_creation_that_is_too_old_is_found_in_the_list(shop, buyer):
    """The provider has forgotten its key: asking again would make a second payment."""
    shop.provider.faults.set(timeout_after=1)
    assert buyer.order().status == 502
    age(shop, buyer, 24)
    posts = len([entry for entry in shop.posts() if buyer.user_id().encode() in entry["body"]])
    shop.provider.faults.set()
    [made] = theirs(shop, buyer)
    shop.provider.books.forget_keys()
    shop.look_again()
    shop.list_again()
    shop.wait(lambda: row(shop, buyer, "yookassa_payment_id") == made["id"], "it is found")
    assert posts == len([entry for entry in shop.posts()
                         if buyer.user_id().encode() in entry["body"]])
    shop.provider.pay(made["id"])
    shop.look_again()
    credited(shop, buyer)


def test_a_creation_that_never_happened_is_given_up_and_may_still_show_up(shop, buyer):
    shop.provider.faults.set(timeout_after=1)
    assert buyer.order().status == 502
    age(shop, buyer, 49)
    shop.look_again()
    shop.wait(lambda: row(shop, buyer, "status") == "canceled", "it is given up")
    assert row(shop, buyer, "cancellation_reason") == "never_created"
    shop.provider.faults.set()
    [made] = theirs(shop, buyer)
    shop.provider.pay(made["id"])
    shop.list_again()
    credited(shop, buyer)
    assert row(shop, buyer, "status") == "succeeded"


# --- what the provider has ---

def test_a_payment_of_somebody_else_is_found_in_the_list(shop):
    body = json.dumps({"amount": {"value": "5.00", "currency": "RUB"}, "capture": True,
                       "confirmation": {"type": "redirect", "return_url": "https://x.example"}})
    made, _ = shop.provider.books.create_payment(str(uuid.uuid4()), body.encode())
    shop.provider.pay(made["id"])
    refund = json.dumps({"payment_id": made["id"], "amount": {"value": "1.00", "currency": "RUB"}})
    refunded, _ = shop.provider.books.create_refund(str(uuid.uuid4()), refund.encode())
    shop.list_again()
    assert shop.differences(made["id"]) == {"unknown_payment"}
    assert shop.differences(refunded["id"]) == {"unknown_refund"}


def test_a_refund_in_the_providers_pages_is_found_in_the_list(shop, buyer):
    payment = buyer.buy()
    shop.provider.pay(payment.provider_id)
    credited(shop, buyer)
    refund = json.dumps({"payment_id": payment.provider_id,
                         "amount": {"value": "99.00", "currency": "RUB"}})
    shop.provider.books.create_refund(str(uuid.uuid4()), refund.encode())
    shop.list_again()
    assert buyer.balance() == WELCOME
    assert buyer.payment(payment.public_id)["status"] == "refunded"


def test_a_list_of_several_pages(shop):
    """The provider gives a hundred at once."""
    made = []
    for number in range(230):
        body = json.dumps({"amount": {"value": "5.00", "currency": "RUB"}, "capture": True,
                           "metadata": {"number": str(number)},
                           "confirmation": {"type": "redirect", "return_url": "https://x.example"}})
        made.append(shop.provider.books.create_payment(str(uuid.uuid4()), body.encode())[0]["id"])
    shop.list_again()
    assert shop.value("SELECT count(*) FROM payment_differences WHERE provider_id = ANY(%s)"
                      " AND kind = 'unknown_payment'", (made,)) == 230


def test_what_cannot_be_booked_is_read_again_and_keeps_nothing_waiting(shop, buyer):
    """A payment in a state nobody has heard of, and its refund, for which the payment is asked."""
    payment = buyer.buy()
    shop.provider.pay(payment.provider_id)
    credited(shop, buyer)
    books, amount = shop.provider.books, {"value": "99.00", "currency": "RUB"}
    order = {"amount": amount, "capture": True,
             "confirmation": {"type": "redirect", "return_url": "https://x.example"}}
    strange = books.create_payment(str(uuid.uuid4()), json.dumps(order).encode())[0]["id"]
    shop.provider.pay(strange)
    # The provider lists the newest first.
    refunds = [books.create_refund(str(uuid.uuid4()), json.dumps(
        {"payment_id": paid, "amount": amount}).encode())[0]["id"]
        for paid in (payment.provider_id, strange)]

    def since(what="since"):
        return [value for value, in shop.query(f"SELECT {what} FROM payment_windows ORDER BY name")]
    with books.lock:
        books.payments[strange]["status"] = "unheard_of"
    shop.list_again()
    before = since()
    shop.list_again()
    assert since() == before and buyer.balance() == WELCOME
    shop.query("UPDATE payment_windows SET since = since - interval '5 days'")
    shop.list_again()
    lag = "now() AT TIME ZONE 'utc' - since BETWEEN interval '71 hours' AND interval '73 hours'"
    assert since(lag) == [True, True]
    with books.lock:
        books.payments[strange]["status"] = "succeeded"
    shop.list_again()
    assert since("since > now() AT TIME ZONE 'utc' - interval '1 minute'") == [True, True]
    assert shop.differences(strange) == {"unknown_payment"}
    assert shop.differences(refunds[1]) == {"unknown_refund"}


# --- the program ---

def test_several_at_once_do_everything_once(shop):
    with shop.reconciler(), shop.reconciler():
        buyers = [shop.buyer() for _ in range(10)]
        with concurrent.futures.ThreadPoolExecutor(5) as pool:
            payments = list(pool.map(lambda buyer: [buyer.buy(), buyer.buy(), buyer.buy()], buyers))
        for payment in [payment for three in payments for payment in three]:
            shop.provider.pay(payment.provider_id)
        for buyer in buyers:
            credited(shop, buyer, 30)
            buyer.client.close()


def test_it_is_killed_and_goes_on(shop, buyer):
    shop.stack.deaths_expected = True
    payments = [buyer.buy() for _ in range(5)]
    for payment in payments:
        shop.provider.pay(payment.provider_id)
    os.kill(shop.stack.pids()[NAME], signal.SIGKILL)
    credited(shop, buyer, 50)


def test_it_leaves_when_it_is_told(shop, buyer):
    """Also while the provider stalls it: what is cut off stays leased; the next one does it."""
    payment = buyer.buy()
    shop.provider.faults.set(timeout_before=1)
    with shop.reconciler(YOOKASSA_TIMEOUT_MS="20000") as one:
        before = shop.provider.faults.counts["timeout_before"]
        shop.wait(lambda: shop.provider.faults.counts["timeout_before"] > before, "calls hang")
        assert one.stop(10) < 10
        assert "stopped" in one.log()
    shop.provider.faults.set()
    shop.provider.pay(payment.provider_id)
    shop.look_again()
    credited(shop, buyer)


def test_it_is_restarted_like_a_handler(shop, buyer):
    old = shop.stack.pids()[NAME]
    done = shop.stack.run("restart", NAME)
    assert done.returncode == 0, done.stderr
    new = shop.stack.status()[NAME]
    assert new["state"] == "ready" and int(new["pid"]) != old
    wait_until(lambda: not alive(old), 20, "the old one has left")
    assert NAME in shop.stack.run("status").stdout
    assert "reconciling" in shop.stack.run("logs", "-n", "100", NAME).stdout
    payment = buyer.buy()
    shop.provider.pay(payment.provider_id)
    credited(shop, buyer)


def test_without_a_shop_it_ends_subscriptions_and_nothing_else(make_handler, database, cluster):
    user = str(uuid.uuid4())
    cluster.query(database, "INSERT INTO users (id, device_id) VALUES (%s, %s)",
                  (user, "device_" + user))
    cluster.query(database, """
        INSERT INTO subscriptions (user_id, id, plan, status, current_period_start,
                                   current_period_end, next_check_at)
        VALUES (%s, gen_random_uuid(), 'pro', 'active', now() - interval '1 month',
                now() AT TIME ZONE 'utc', now() AT TIME ZONE 'utc')""", (user,))
    one = make_handler(NAME, POSTGRES_URL=database)
    wait_until(lambda: cluster.value(database, "SELECT status FROM subscriptions") == "expired",
               20, "it has expired")
    assert [event["provider"] for event in one.events() if event["message"] == "reconciling"] == [
        "none"]


def test_a_wrong_setting_is_refused(binaries, database):
    with pytest.raises(AssertionError, match="YOOKASSA_VAT_CODE"):
        Handler(binaries, NAME, POSTGRES_URL=database, YOOKASSA_VAT_CODE="13")


def test_metrics_tell_what_it_does(shop, buyer):
    payment = buyer.buy()
    shop.provider.pay(payment.provider_id)
    credited(shop, buyer)
    client = shop.stack.client(anonymous=True)
    text = client.get("/metrics").body.decode()
    client.close()
    for series in ('payment_provider_calls_total{call="get_payment",result="done"}',
                   'payment_provider_calls_total{call="create_payment",result="done"}',
                   'payment_provider_calls_total{call="list_payments",result="done"}',
                   'payments_total{status="succeeded"}'):
        assert series in text


# --- everything at once ---

@pytest.mark.seconds(240)
def test_a_provider_that_fails_in_every_way(shop):
    """Each call meets each fault now and then; in the end the tokens are those that were paid."""
    names = ("timeout_before", "timeout_after", "error_500_before", "error_500_after",
             "too_many_requests", "cut_before", "cut_after")
    shop.provider.faults.set(**dict.fromkeys(names, 0.05), unknown_fields=0.3)
    buyers = [shop.buyer() for _ in range(12)]
    paid = collections.Counter()

    def shopping(number):
        buyer = buyers[number]
        buyer.balance()
        for round_ in range(3):
            client = shop.stack.client(buyer.client.device)
            answer = Buyer(shop, client).order(("small", "medium", "large")[round_],
                                               key=f"k{round_}")
            assert answer.status in (200, 502), answer
            client.close()
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(shopping, range(len(buyers))))
    # What the provider took, the people pay, as far as they get to see it.
    end = time.monotonic() + 20
    while time.monotonic() < end and shop.value(
            "SELECT count(*) FROM payments WHERE yookassa_payment_id IS NULL"
            " AND status = 'pending'"):
        time.sleep(0.2)
    tokens = {"99.00": 10, "399.00": 50, "699.00": 100}
    for number, buyer in enumerate(buyers):
        for payment in theirs(shop, buyer):
            if payment["status"] == "pending":
                shop.provider.pay(payment["id"])
            paid[number] += tokens[payment["amount"]["value"]]
    shop.provider.faults.set()
    for number, buyer in enumerate(buyers):
        shop.look_again()
        credited(shop, buyer, paid[number])
        buyer.client.close()
