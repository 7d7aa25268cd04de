"""POST /api/payments/webhook: what is believed, and every order in which things can come."""

import collections
import concurrent.futures
import json
import re
import uuid

import pytest

from tests.support.postgres import database_name
from tests.support.process import wait_until
from tests.support.shop import EVENTS, KNOWN, RECEIVED, WEBHOOK, WELCOME


def change(shop, payment, **changes):
    """The provider says something else from now on."""
    with shop.provider.books.lock:
        shop.provider.books.payments[payment.provider_id].update(changes)


def succeeded(shop, payment):
    """The notification that it was paid; its body."""
    answer = shop.notify("payment.succeeded", payment.provider_id)
    assert answer.status == 200, answer
    return answer.json


# --- the good ones ---

@pytest.mark.quick
def test_it_is_credited_at_once_and_once(shop, buyer, paid):
    assert buyer.balance() == WELCOME
    assert succeeded(shop, paid) == RECEIVED
    assert buyer.balance() == WELCOME + 10
    assert succeeded(shop, paid) == KNOWN
    assert shop.notify("payment.canceled", paid.provider_id).json == KNOWN
    assert buyer.balance() == WELCOME + 10
    [entry] = [entry for entry in buyer.request("GET", "/api/tokens/transactions").data[
        "transactions"] if entry["type"] == "purchase"]
    assert (entry["amount"], entry["balanceAfter"]) == (10, WELCOME + 10)


def test_many_at_once_credit_once(shop, buyer, paid):
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: succeeded(shop, paid), range(10)))
    assert collections.Counter(len(answer) for answer in answers) == {1: 1, 2: 9}
    assert buyer.balance() == WELCOME + 10


def test_a_payment_that_was_declined(shop, buyer, pending):
    shop.provider.decline(pending.provider_id, "insufficient_funds")
    assert shop.notify("payment.canceled", pending.provider_id).json == RECEIVED
    found = buyer.payment(pending.public_id)
    assert (found["status"], found["cancellationReason"]) == ("canceled", "insufficient_funds")
    assert shop.notify("payment.canceled", pending.provider_id).json == KNOWN
    assert buyer.balance() == WELCOME


def test_a_payment_that_waits_for_capture_is_captured(shop, buyer, pending):
    shop.provider.pay(pending.provider_id, hold=True)
    assert shop.notify("payment.waiting_for_capture", pending.provider_id).json == RECEIVED
    assert shop.provider.books.get("payments", pending.provider_id)["status"] == "succeeded"
    assert buyer.balance() == WELCOME + 10


def test_a_capture_without_an_answer_is_made_again(shop, buyer, pending):
    shop.provider.pay(pending.provider_id, hold=True)
    shop.provider.faults.set(timeout_after=1)
    assert shop.notify("payment.waiting_for_capture", pending.provider_id).status == 503
    shop.provider.faults.set()
    assert shop.notify("payment.waiting_for_capture", pending.provider_id).json == RECEIVED
    assert buyer.balance() == WELCOME + 10


def test_statuses_may_be_skipped_and_come_in_any_order(shop, buyer, pending):
    """What counts is what the provider says now, not what the notification was about."""
    shop.provider.pay(pending.provider_id)
    assert shop.notify("payment.waiting_for_capture", pending.provider_id).json == RECEIVED
    assert buyer.payment(pending.public_id)["status"] == "succeeded"
    for event in EVENTS[:3]:
        assert shop.notify(event, pending.provider_id).json == KNOWN
    assert buyer.balance() == WELCOME + 10


def test_a_notification_before_the_creation_was_answered(shop, buyer):
    """The provider tells while our own request still waits."""
    shop.send_all()
    shop.provider.faults.set(early=1)
    payment = buyer.buy()
    shop.wait(lambda: buyer.balance() == WELCOME + 10, "credited")
    assert buyer.payment(payment.public_id)["status"] == "succeeded"
    shop.provider.sender.lead(None)


def test_a_notification_of_a_payment_whose_creation_was_never_answered(shop, buyer):
    shop.provider.faults.set(timeout_after=1)
    assert buyer.order(key="k").status == 502
    shop.provider.faults.set()
    user = buyer.user_id()
    [made] = [payment for payment in shop.provider.books.payments.values()
              if payment["metadata"].get("user_id") == user]
    shop.provider.pay(made["id"])
    assert shop.notify("payment.succeeded", made["id"]).json == RECEIVED
    assert buyer.balance() == WELCOME + 10
    assert buyer.buy(key="k").status == "succeeded"


@pytest.mark.parametrize("fault", ["unknown_fields"])
def test_fields_we_do_not_know(shop, buyer, paid, fault):
    shop.provider.faults.set(**{fault: 1})
    assert succeeded(shop, paid) == RECEIVED
    assert buyer.balance() == WELCOME + 10


# --- what is not believed ---

@pytest.mark.parametrize("lie", [
    {"status": "succeeded", "paid": True}, {"status": "canceled"},
    {"amount": {"value": "999999.00", "currency": "RUB"}, "status": "succeeded"},
    {"metadata": {"user_id": str(uuid.uuid4())}},
])
@pytest.mark.parametrize("event", EVENTS[:3])
def test_a_lie_about_a_real_payment(shop, buyer, pending, lie, event):
    """From the right address even: the object is fetched, and it still waits."""
    assert shop.notify(event, pending.provider_id, **lie).json == KNOWN
    assert buyer.payment(pending.public_id)["status"] == "pending"
    assert buyer.balance() == WELCOME


def test_a_lie_about_whose_payment_it_is(shop, buyer, paid):
    other = shop.buyer()
    mine = other.buy()
    our_id, user = mine.row("id::text, user_id::text")
    answer = shop.notify("payment.succeeded", paid.provider_id,
                         metadata={"user_id": user, "payment_id": our_id})
    assert answer.json == RECEIVED
    assert (buyer.balance(), other.balance()) == (WELCOME + 10, WELCOME)


@pytest.mark.parametrize("event", EVENTS)
def test_an_object_that_the_provider_does_not_have(shop, event):
    answer = shop.notify(event, str(uuid.uuid4()))
    assert (answer.status, answer.code) == (404, "not_found")


@pytest.mark.parametrize("body,code", [
    (b"", "invalid_field"), (b"{}", "invalid_field"), (b"{", "malformed_json"),
    (b"null", "malformed_json"), (b"[]", "malformed_json"), (b"\xff\xfe", "malformed_json"),
    (b'{"event":"payment.succeeded"}', "invalid_field"),
    (b'{"event":"payment.succeeded","object":null}', "invalid_field"),
    (b'{"event":"payment.succeeded","object":{"id":7}}', "invalid_field"),
    (b'{"event":"payment.succeeded","object":{"id":""}}', "invalid_field"),
    (b'{"event":"payment.succeeded","object":{"id":"../refunds"}}', "invalid_field"),
    (b'{"event":"payment.succeeded","object":{"id":"a?b=c"}}', "invalid_field"),
    (b'{"event":"payment.succeeded","object":{"id":"' + b"a" * 65 + b'"}}', "invalid_field"),
    (b'{"event":7,"object":{"id":"a"}}', "invalid_field"),
    (b'{"object":{"id":"a"}}', "invalid_field"),
    (b'{"a":' * 40 + b"1" + b"}" * 40, "malformed_json"),
])
def test_what_is_no_notification(shop, body, code):
    before = len(shop.provider.requests)
    answer = shop.send(body)
    assert answer.status == 400
    # An empty body and a deep one may be told either way.
    assert answer.code in (code, "malformed_json"), answer
    assert len(shop.provider.requests) == before


@pytest.mark.parametrize("event", ["payout.succeeded", "deal.closed", "payment_method.active"])
def test_an_object_that_is_not_used_here(shop, event):
    """Any other answer would make it come again for a day."""
    before = len(shop.provider.requests)
    for thing in ({"id": str(uuid.uuid4())}, {}):
        answer = shop.send({"type": "notification", "event": event, "object": thing})
        assert (answer.status, answer.json) == (200, {"received": True, "ignored": True})
    assert len(shop.provider.requests) == before


def test_other_methods_are_none(shop):
    client = shop.stack.client(anonymous=True)
    for method in ("GET", "PUT", "DELETE"):
        answer = client.request(method, WEBHOOK, headers={"X-Forwarded-For": "127.0.0.1"})
        assert answer.status == 405, method
    client.close()


# --- what does not fit is recorded ---

def test_a_payment_we_never_began(shop):
    body = json.dumps({"amount": {"value": "5.00", "currency": "RUB"}, "capture": True,
                       "confirmation": {"type": "redirect", "return_url": "https://x.example"},
                       "metadata": {"order": "7"}}).encode()
    made, _ = shop.provider.books.create_payment(str(uuid.uuid4()), body)
    shop.provider.pay(made["id"])
    for _ in range(2):
        assert shop.notify("payment.succeeded", made["id"]).json == RECEIVED
    [(kind, details)] = shop.query("SELECT kind, details FROM payment_differences"
                                   " WHERE provider_id = %s", (made["id"],))
    assert (kind, details) == ("unknown_payment", "5.00 RUB")
    lines = [event for event in shop.stack.events("payments-webhook")
             if event["message"] == "payment difference" and event["provider_id"] == made["id"]]
    assert len(lines) == 1 and lines[0]["level"] == "warning"


@pytest.mark.parametrize("metadata", [
    {}, {"user_id": "x", "payment_id": "y"}, {"payment_id": str(uuid.uuid4())},
    {"user_id": str(uuid.uuid4()), "payment_id": str(uuid.uuid4())},
])
def test_metadata_that_leads_nowhere(shop, metadata):
    body = json.dumps({"amount": {"value": "5.00", "currency": "RUB"}, "capture": True,
                       "confirmation": {"type": "redirect", "return_url": "https://x.example"},
                       "metadata": metadata}).encode()
    made, _ = shop.provider.books.create_payment(str(uuid.uuid4()), body)
    assert shop.notify("payment.succeeded", made["id"]).json == RECEIVED
    assert shop.differences(made["id"]) == {"unknown_payment"}


def test_a_second_payment_with_the_metadata_of_a_first(shop, buyer, paid):
    """Somebody with access to the shop copies what is sent with ours."""
    succeeded(shop, paid)
    our_id, user = paid.row("id::text, user_id::text")
    body = json.dumps({"amount": {"value": "99.00", "currency": "RUB"}, "capture": True,
                       "confirmation": {"type": "redirect", "return_url": "https://x.example"},
                       "metadata": {"user_id": user, "payment_id": our_id}}).encode()
    made, _ = shop.provider.books.create_payment(str(uuid.uuid4()), body)
    shop.provider.pay(made["id"])
    assert shop.notify("payment.succeeded", made["id"]).json == RECEIVED
    assert shop.differences(made["id"]) == {"other_provider_id"}
    assert buyer.balance() == WELCOME + 10


@pytest.mark.parametrize("changes,kind", [
    ({"amount": {"value": "0.01", "currency": "RUB"}}, "other_amount"),
    ({"amount": {"value": "99.01", "currency": "RUB"}}, "other_amount"),
    ({"amount": {"value": "990.00", "currency": "RUB"}}, "other_amount"),
    ({"amount": {"value": "99.00", "currency": "KZT"}}, "other_currency"),
    ({"test": True}, "test_payment"),
    ({"recipient": {"account_id": "654321", "gateway_id": "1"}}, "other_shop"),
])
def test_money_that_is_not_what_was_asked_for(shop, buyer, paid, changes, kind):
    old = shop.provider.books.get("payments", paid.provider_id)
    change(shop, paid, **changes)
    assert succeeded(shop, paid) == RECEIVED
    assert succeeded(shop, paid) == RECEIVED
    assert buyer.balance() == WELCOME
    assert shop.differences(paid.provider_id) == {kind}
    assert buyer.payment(paid.public_id)["status"] == "pending"
    # Once the provider says what we know, it is credited; the difference is resolved where the
    # payment is ours beyond doubt.
    change(shop, paid, **old)
    assert succeeded(shop, paid) == RECEIVED
    assert buyer.balance() == WELCOME + 10
    assert shop.differences(paid.provider_id) == set()


@pytest.mark.parametrize("first,then", [("succeeded", "canceled"), ("canceled", "succeeded")])
def test_there_is_no_way_back(shop, buyer, pending, first, then):
    if first == "succeeded":
        shop.provider.pay(pending.provider_id)
    else:
        shop.provider.decline(pending.provider_id)
    assert shop.notify(f"payment.{first}", pending.provider_id).json == RECEIVED
    balance = buyer.balance()
    change(shop, pending, status=then, paid=then == "succeeded")
    assert shop.notify(f"payment.{then}", pending.provider_id).json == RECEIVED
    assert shop.differences(pending.provider_id) == {"way_back"}
    assert buyer.payment(pending.public_id)["status"] == first
    assert buyer.balance() == balance


def test_differences_are_counted(shop, buyer, paid):
    def count():
        text = shop.stack.client(anonymous=True).get("/metrics").body.decode()
        found = re.search(r'payment_differences_total\{kind="other_currency"\} (\d+)', text)
        return int(found.group(1)) if found else 0
    before = count()
    change(shop, paid, amount={"value": "99.00", "currency": "USD"})
    succeeded(shop, paid)
    assert count() == before + 1


def test_an_account_that_was_erased(shop, buyer, paid):
    buyer.request("DELETE", "/api/user")
    assert succeeded(shop, paid) == RECEIVED
    assert shop.differences(paid.provider_id) == {"account_closed"}
    assert paid.row("status") == "succeeded"
    assert succeeded(shop, paid) == KNOWN
    assert buyer.balance() == 0, "a new account of the same device, whose bonus was had"


def test_a_balance_that_is_full(shop, buyer, paid):
    key = shop.service_key(f"granter-{uuid.uuid4().hex[:8]}", "grant,spend")
    headers = {"Authorization": f"Service {key}"}
    grant = {"userId": buyer.user_id(), "amount": 2**31 - 1 - WELCOME, "type": "bonus"}
    assert buyer.request("POST", "/api/ledger/grant", grant, headers=headers).status == 201
    assert succeeded(shop, paid) == RECEIVED
    assert shop.differences(paid.provider_id) == {"balance_limit"}
    spend = {"userId": buyer.user_id(), "amount": 10}
    assert buyer.request("POST", "/api/ledger/spend", spend, headers=headers).status == 201
    assert succeeded(shop, paid) == RECEIVED
    assert buyer.balance() == 2**31 - 1
    assert shop.differences(paid.provider_id) == set()


# --- when we cannot ask or cannot write ---

@pytest.mark.parametrize("fault", ["error_500_before", "error_500_after", "timeout_before",
                                   "cut_after", "too_many_requests"])
def test_the_provider_cannot_be_asked(shop, buyer, paid, fault):
    shop.provider.faults.set(**{fault: 1})
    answer = shop.notify("payment.succeeded", paid.provider_id)
    assert (answer.status, answer.code) == (503, "payment_unconfirmed")
    shop.provider.faults.set()
    assert succeeded(shop, paid) == RECEIVED
    assert buyer.balance() == WELCOME + 10


def test_the_database_cannot_be_asked(shop, cluster, buyer, paid):
    def allow(word):
        with cluster.admin() as connection:
            connection.cursor().execute(
                f'ALTER DATABASE "{database_name(shop.url)}" ALLOW_CONNECTIONS {word}')
            connection.cursor().execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                                        " WHERE datname = %s", (database_name(shop.url),))
    allow("false")
    try:
        answer = shop.notify("payment.succeeded", paid.provider_id)
    finally:
        allow("true")
    assert (answer.status, answer.code) == (503, "database_unavailable")
    assert answer.headers["Retry-After"]
    wait_until(lambda: buyer.client.get("/api/tokens").status == 200, 30, "the database is back")
    assert succeeded(shop, paid) == RECEIVED
    assert buyer.balance() == WELCOME + 10


# --- refunds ---

def refunded(shop, payment, amount="99.00"):
    """A refund made in the provider's own pages; its id."""
    body = json.dumps({"payment_id": payment.provider_id,
                       "amount": {"value": amount, "currency": "RUB"}}).encode()
    return shop.provider.books.create_refund(str(uuid.uuid4()), body)[0]["id"]


def test_a_refund_made_in_the_providers_pages(shop, buyer, paid):
    succeeded(shop, paid)
    refund = refunded(shop, paid, "49.50")
    assert shop.notify("refund.succeeded", refund).json == RECEIVED
    assert buyer.balance() == WELCOME + 5
    assert shop.notify("refund.succeeded", refund).json == KNOWN
    assert buyer.balance() == WELCOME + 5
    assert shop.notify("refund.succeeded", refunded(shop, paid, "49.50")).json == RECEIVED
    assert buyer.balance() == WELCOME
    assert buyer.payment(paid.public_id)["status"] == "refunded"


def test_a_refund_that_comes_before_its_payment(shop, buyer, paid):
    refund = refunded(shop, paid)
    assert shop.notify("refund.succeeded", refund).json == RECEIVED
    assert buyer.balance() == WELCOME
    assert succeeded(shop, paid) == KNOWN
    assert buyer.payment(paid.public_id)["status"] == "refunded"
    amounts = [entry["amount"] for entry in buyer.request(
        "GET", "/api/tokens/transactions").data["transactions"]]
    assert amounts == [-10, 10, WELCOME]


def test_a_refund_of_a_payment_we_never_began(shop):
    body = json.dumps({"amount": {"value": "5.00", "currency": "RUB"}, "capture": True,
                       "confirmation": {"type": "redirect", "return_url": "https://x.example"}})
    made, _ = shop.provider.books.create_payment(str(uuid.uuid4()), body.encode())
    shop.provider.pay(made["id"])
    body = json.dumps({"payment_id": made["id"], "amount": {"value": "5.00", "currency": "RUB"}})
    refund = shop.provider.books.create_refund(str(uuid.uuid4()), body.encode())[0]["id"]
    assert shop.notify("refund.succeeded", refund).json == RECEIVED
    assert shop.differences(refund) == {"unknown_refund"}
    assert shop.differences(made["id"]) == {"unknown_payment"}


def test_a_refund_that_is_still_pending(shop, buyer, paid):
    succeeded(shop, paid)
    body = json.dumps({"payment_id": paid.provider_id,
                       "amount": {"value": "99.00", "currency": "RUB"}}).encode()
    refund = shop.provider.books.create_refund(str(uuid.uuid4()), body, "pending")[0]["id"]
    assert shop.notify("refund.succeeded", refund).json == RECEIVED
    assert buyer.balance() == WELCOME + 10
    shop.provider.books.settle_refund(refund)
    assert shop.notify("refund.succeeded", refund).json == RECEIVED
    assert buyer.balance() == WELCOME


# --- all of it at once ---

def test_a_sender_that_repeats_reorders_and_forges(shop):
    """Thirty payments through the provider's own sender, with every fault of notifications."""
    shop.send_all()
    shop.provider.faults.set(duplicate=0.5, reordered=0.5, forged=0.5)
    buyers = [shop.buyer() for _ in range(10)]
    for buyer in buyers:
        for package in ("small", "medium", "large"):
            shop.provider.pay(buyer.buy(package).provider_id)
    shop.wait(lambda: shop.provider.sender.waiting() == 0, "everything was delivered", 60)
    shop.provider.sender.lead(None)
    answers = shop.provider.sender.answers()
    assert not any(name.startswith("elsewhere") and not name.endswith("403") for name in answers)
    assert [buyer.balance() for buyer in buyers] == [WELCOME + 160] * 10
    for buyer in buyers:
        buyer.client.close()
