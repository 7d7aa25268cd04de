"""The provider of the tests keeps the rules of the real one, and its faults are faults."""

import contextlib
import http.client
import json
import queue
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.process import wait_until
from tests.support.yookassa import FAULTS, TRANSPORT, Provider
from tests.support.yookassa_books import Refusal
from tests.support.yookassa_process import ProviderProcess

ORDER = {"amount": {"value": "99.00", "currency": "RUB"}, "capture": True, "description": "50",
         "confirmation": {"type": "redirect", "return_url": "https://app.example/"},
         "metadata": {"user_id": "u", "payment_id": "p"}}
CREDENTIALS = "Basic MTIzNDU2OnRlc3Rfc2VjcmV0"


class Caller:
    """Calls the API as a shop does; one connection a call."""

    def __init__(self, provider):
        self.provider = provider

    def __call__(self, method, path, body=None, key=None, timeout=5, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.provider.port, timeout=timeout)
        sent = {"Authorization": CREDENTIALS, "Content-Type": "application/json", **headers}
        if key:
            sent["Idempotence-Key"] = key
        with contextlib.closing(connection):
            connection.request(method, path, json.dumps(body) if body is not None else None, sent)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def create(self, key="k", timeout=5, **changes):
        """POST /payments with an order of the tests."""
        return self("POST", "/v3/payments", {**ORDER, **changes}, key, timeout)


@pytest.fixture
def provider():
    """A provider without faults and without a webhook."""
    with Provider() as made:
        yield made


@pytest.fixture
def call(provider):
    """A Caller of it."""
    return Caller(provider)


@pytest.fixture
def inbox():
    """A webhook: (url, queue of what came, list of the statuses to answer before 200)."""
    came, answers = queue.Queue(), []

    class Hook(BaseHTTPRequestHandler):
        """Takes notifications."""

        def do_POST(self):  # pylint: disable=invalid-name
            """One."""
            body = self.rfile.read(int(self.headers["Content-Length"]))
            came.put((json.loads(body), self.headers.get("X-Forwarded-For")))
            self.send_response(answers.pop(0) if answers else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):  # pylint: disable=arguments-differ
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/hook", came, answers
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_payment_from_order_to_refund(provider, call):
    status, payment = call.create()
    assert status == 200 and payment["status"] == "pending" and not payment["paid"]
    assert payment["recipient"]["account_id"] == "123456" and not payment["test"]
    assert payment["confirmation"]["confirmation_url"].startswith(provider.url[:-3])
    request = urllib.request.Request(payment["confirmation"]["confirmation_url"], b"pay")
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert answer.status == 200
    path = f"/v3/payments/{payment['id']}"
    paid = call("GET", path)[1]
    assert (paid["status"], paid["paid"], paid["refundable"]) == ("succeeded", True, True)
    assert paid["metadata"] == ORDER["metadata"] and paid["amount"] == ORDER["amount"]
    part = {"payment_id": payment["id"], "amount": {"value": "60.00", "currency": "RUB"}}
    status, refund = call("POST", "/v3/refunds", part, "r1")
    assert (status, refund["status"]) == (200, "succeeded")
    status, refused = call("POST", "/v3/refunds", part, "r2")
    assert (status, refused["code"], refused["parameter"]) == (
        400, "invalid_request", "amount.value")
    assert call("GET", path)[1]["refunded_amount"]["value"] == "60.00"
    assert call("GET", f"/v3/refunds/{refund['id']}")[1] == refund
    part["amount"]["value"] = "39.00"
    assert call("POST", "/v3/refunds", part, "r3")[0] == 200
    assert not call("GET", path)[1]["refundable"]


def test_the_same_key_is_the_same_payment(provider, call):
    first = call.create("key")[1]
    provider.pay(first["id"])
    # The first answer again, whatever became of the payment.
    assert call.create("key")[1] == first
    assert len(provider.books.payments) == 1
    status, refused = call.create("key", description="other")
    assert (status, refused["parameter"]) == (400, "Idempotence-Key")
    provider.books.forget_keys()
    assert call.create("key")[1]["id"] != first["id"]


@pytest.mark.parametrize("changes,parameter", [
    ({"amount": {"value": "99", "currency": "RUB"}}, "amount.value"),
    ({"amount": {"value": 99.0, "currency": "RUB"}}, "amount.value"),
    ({"amount": {"value": "0.00", "currency": "RUB"}}, "amount.value"),
    ({"amount": {"value": "99.00", "currency": "rub"}}, "amount.currency"),
    ({"amount": None}, "amount"),
    ({"capture": None}, "capture"),
    ({"description": "x" * 129}, "description"),
    ({"confirmation": None}, "confirmation.type"),
    ({"confirmation": {"type": "redirect"}}, "confirmation.return_url"),
    ({"metadata": {"x" * 33: "1"}}, "metadata." + "x" * 33),
    ({"metadata": {"a": "x" * 513}}, "metadata.a"),
    ({"metadata": {"a": 5}}, "metadata.a"),
    ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
    ({"payment_method_id": "none"}, "payment_method_id"),
    ({"receipt": {"customer": {}}}, "receipt.customer.email"),
    ({"receipt": {"customer": {"email": "a@b.c"}, "items": []}}, "receipt.items"),
])
def test_a_bad_order_is_refused(provider, call, changes, parameter):
    status, refused = call.create(**changes)
    assert (status, refused["type"], refused["code"]) == (400, "error", "invalid_request")
    assert refused["parameter"] == parameter
    assert not provider.books.payments


def test_receipts():
    item = {"description": "50 tokens", "quantity": 1, "vat_code": 1, "amount": ORDER["amount"]}
    with Provider(receipts_required=True) as provider:
        call = Caller(provider)
        assert call.create("1")[1]["parameter"] == "receipt"
        for key, receipt, wrong in (
                ("2", {"customer": {"email": "a@b.c"}, "items": [item]}, None),
                ("3", {"customer": {"email": "a@b.c"}, "items": [item, item]}, "receipt.items"),
                ("4", {"customer": {"email": "a@b.c"}, "items": [{**item, "vat_code": 13}]},
                 "receipt.items[0].vat_code")):
            status, answer = call.create(key, receipt=receipt)
            assert status == (400 if wrong else 200) and answer.get("parameter") == wrong


def test_who_may_call(call):
    assert call("GET", "/v3/payments", Authorization="Basic eDp5")[0] == 401
    assert call("GET", "/v3/payments", Authorization="")[0] == 401
    assert call("GET", "/v3/nothing")[0] == 404
    assert call("GET", "/v3/payments/none")[1]["code"] == "not_found"
    assert call("DELETE", "/v3/payments")[0] == 405
    assert call("POST", "/v3/payments", ORDER, "k", **{"Content-Type": "text/plain"})[0] == 415
    assert call("POST", "/v3/payments", ORDER)[1]["parameter"] == "Idempotence-Key"
    assert call("POST", "/v3/payments", ORDER, "k" * 65)[0] == 400


def test_hold_capture_and_cancel(provider, call):
    first, second = call.create("1")[1]["id"], call.create("2")[1]["id"]
    assert call("POST", f"/v3/payments/{first}/capture", {}, "c0")[0] == 400
    assert provider.pay(first, hold=True)["status"] == "waiting_for_capture"
    assert call("POST", f"/v3/payments/{first}/capture", {}, "c1")[1]["status"] == "succeeded"
    assert call("POST", f"/v3/payments/{first}/cancel", {}, "c2")[0] == 400
    provider.pay(second, hold=True)
    canceled = call("POST", f"/v3/payments/{second}/cancel", {}, "c3")[1]
    assert (canceled["status"], canceled["paid"]) == ("canceled", False)
    with pytest.raises(Refusal):
        provider.pay(second)


def test_saved_methods(provider, call):
    method = call.create("1", save_payment_method=True)[1]["id"]
    assert provider.pay(method)["payment_method"] == {
        "type": "bank_card", "id": method, "saved": True}
    again = {"payment_method_id": method, "confirmation": None}
    assert call.create("2", **again)[1]["status"] == "succeeded"
    for key, reason in (("3", "insufficient_funds"), ("4", "permission_revoked")):
        provider.books.methods[method] = reason
        refused = call.create(key, **again)[1]
        assert refused["status"] == "canceled"
        assert refused["cancellation_details"] == {"party": "payment_network", "reason": reason}
    once = call.create("5")[1]["id"]
    assert provider.pay(once)["payment_method"]["saved"] is False
    assert call.create("6", payment_method_id=once)[0] == 400


def test_lists(provider, call):
    made = [call.create(str(number))[1] for number in range(25)]
    for number, payment in enumerate(made):
        # A time of its own for each, so that the order is known.
        stored = provider.books.payments[payment["id"]]
        stored["created_at"] = f"2026-11-23T10:00:{number:02}.000Z"
    provider.books.order["payments"] = sorted(
        (payment["created_at"], payment["id"]) for payment in provider.books.payments.values())
    found, cursor, pages = [], "", 0
    while cursor is not None:
        status, page = call(
            "GET", "/v3/payments?limit=10&created_at.gte=2026-11-23T10%3A00%3A05.000Z"
            + (f"&cursor={cursor}" if cursor else ""))
        assert (status, page["type"]) == (200, "list")
        found += [payment["id"] for payment in page["items"]]
        cursor, pages = page.get("next_cursor"), pages + 1
    assert found == [payment["id"] for payment in reversed(made[5:])] and pages == 2
    assert call("GET", "/v3/refunds")[1] == {"type": "list", "items": []}
    for bad in ("limit=0", "limit=101", "limit=x", "cursor=x", "color=red"):
        assert call("GET", f"/v3/payments?{bad}")[0] == 400, bad


@pytest.mark.parametrize("fault", TRANSPORT)
def test_faults_on_the_way(provider, call, fault):
    provider.faults.set(**{fault: 1})
    was_done = fault.endswith("_after")
    if fault.startswith(("timeout", "cut")):
        with pytest.raises((OSError, http.client.HTTPException)):
            call.create(timeout=0.3)
    else:
        status = call.create()[0]
        assert status == (429 if fault == "too_many_requests" else 500)
    assert len(provider.books.payments) == was_done
    assert provider.faults.counts[fault] == 1
    provider.faults.set()
    assert call.create()[0] == 200
    assert len(provider.books.payments) == 1


def test_faults_of_the_object(provider, call):
    differs = {"other_amount": lambda payment: payment["amount"]["value"] != "99.00",
               "other_currency": lambda payment: payment["amount"]["currency"] != "RUB",
               "test_flag": lambda payment: payment["test"]}
    for fault, check in differs.items():
        provider.faults.set(**{fault: 1})
        payment = call.create(fault)[1]
        provider.faults.set()
        assert check(payment) and check(call("GET", f"/v3/payments/{payment['id']}")[1])
        assert provider.books.damage[payment["id"]] == [fault]
    provider.faults.set(unknown_fields=1)
    assert "new_object" in call.create("plain")[1]
    assert len(provider.books.damage) == 3


def test_a_restart_keeps_everything(provider, call):
    payment, port = call.create()[1], provider.port
    provider.restart(0.05)
    assert provider.port == port and provider.restarts == 1
    assert call("GET", f"/v3/payments/{payment['id']}")[1] == payment


def test_notifications_come_until_they_are_taken(inbox):
    url, came, answers = inbox
    answers += [503, 404]
    with Provider(webhook=url) as provider:
        payment = Caller(provider).create()[1]["id"]
        provider.pay(payment)
        bodies = [came.get(timeout=10)[0] for _ in range(3)]
        wait_until(lambda: not provider.sender.waiting(), 5, "nothing is left to send")
        assert provider.sender.answers() == {
            "genuine 503": 1, "genuine 404": 1, "genuine 200": 1}
    assert bodies[0] == bodies[1] == bodies[2] and came.empty()
    assert (bodies[0]["type"], bodies[0]["event"]) == ("notification", "payment.succeeded")
    assert (bodies[0]["object"]["id"], bodies[0]["object"]["status"]) == (payment, "succeeded")


def test_a_webhook_that_is_away_for_a_while(inbox):
    url, came, answers = inbox
    answers += [503]
    with Provider(webhook=url) as provider:
        payment = Caller(provider).create()[1]["id"]
        provider.pay(payment)
        came.get(timeout=10)
        provider.sender.lead(None)
        # What is under way waits; what happens meanwhile is lost.
        provider.pay(Caller(provider).create("other")[1]["id"])
        wait_until(lambda: provider.sender.idle_attempts, 10, "one was tried in vain")
        provider.sender.lead(url)
        assert came.get(timeout=10)[0]["object"]["id"] == payment
        wait_until(lambda: not provider.sender.waiting(), 5, "nothing is left to send")
    assert came.empty()


def test_faults_of_notifications(inbox):
    url, came, _ = inbox
    with Provider(webhook=url) as provider:
        call = Caller(provider)

        def events(fault, count):
            """What comes when a payment is paid for with this fault."""
            provider.faults.set(**({fault: 1} if fault else {}))
            payment = call.create(str(fault))[1]["id"]
            if fault != "early":
                provider.pay(payment)
            found = [came.get(timeout=10) for _ in range(count)]
            wait_until(lambda: not provider.sender.waiting(), 5, "nothing is left to send")
            assert came.empty()
            return payment, found

        assert len(events(None, 1)[1]) == 1
        assert [body["event"] for body, _ in events("duplicate", 2)[1]] == 2 * ["payment.succeeded"]
        events("reordered", 1)
        events("lost", 0)
        # It had arrived before the POST was answered.
        payment, found = events("early", 1)
        assert found[0][0]["object"]["id"] == payment
        for number in range(12):
            provider.faults.set(forged=1)
            provider.pay(call.create(f"forged {number}")[1]["id"])
        wait_until(lambda: not provider.sender.waiting(), 5, "nothing is left to send")
        kinds = {answer.split()[0] for answer in provider.sender.answers()}
    assert kinds <= {"genuine", "unknown", "lie", "elsewhere"} and len(kinds) > 2


def test_in_a_process_of_its_own(inbox):
    with ProviderProcess() as provider:
        provider.control("webhook", webhook=inbox[0])
        provider.control("faults", unknown_fields=1)
        request = urllib.request.Request(
            f"{provider.url}/payments", json.dumps(ORDER).encode(),
            {"Authorization": CREDENTIALS, "Content-Type": "application/json",
             "Idempotence-Key": "k"})
        with urllib.request.urlopen(request, timeout=5) as answer:
            payment = json.load(answer)
        assert payment["new_text"]
        assert provider.act(payment["confirmation"]["confirmation_url"], "pay")
        assert not provider.act(provider.page(payment["id"]), "pay")
        assert inbox[1].get(timeout=10)[0]["object"]["id"] == payment["id"]
        provider.control("refund", payment_id=payment["id"], amount=ORDER["amount"], key="r")
        books = provider.control("books")
        assert books["payments"][payment["id"]]["status"] == "succeeded" and books["refunds"]
        assert provider.control("state")["counts"]["unknown_fields"] == 1
        provider.control("restart", seconds=0.05)
        wait_until(lambda: _state(provider).get("restarts") == 1, 5, "it is back")


def _state(provider):
    try:
        return provider.control("state")
    except OSError:
        return {}


def test_every_fault_is_covered():
    assert set(FAULTS) == set(TRANSPORT) | {
        "other_amount", "other_currency", "test_flag", "unknown_fields",
        "early", "duplicate", "reordered", "lost", "forged"}
