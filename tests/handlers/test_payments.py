"""/api/payments through nginx: what begins a payment, its repetition, receipts, what reads it."""

import collections
import concurrent.futures
import json
import uuid

import pytest

from tests.support.clerk import Clerk, Issuer, Person
from tests.support.shop import BACK, WELCOME, Buyer, Shop, alone, ours, theirs

PACKAGES = {"small": ("99.00", 10), "medium": ("399.00", 50), "large": ("699.00", 100)}


# --- creating ---

@pytest.mark.quick
@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_is_bought(shop, buyer, package):
    amount, tokens = PACKAGES[package]
    payment = buyer.buy(package, returnUrl=BACK)
    assert payment.status == "pending" and payment.url.startswith("http")
    [order] = [json.loads(entry["body"]) for entry in shop.posts()
               if buyer.user_id().encode() in entry["body"]]
    assert order["amount"] == {"value": amount, "currency": "RUB"}
    assert order["capture"] is True
    assert order["confirmation"] == {"type": "redirect", "return_url": BACK}
    assert str(tokens) in order["description"]
    shop.provider.pay(payment.provider_id)
    assert buyer.balance() == WELCOME
    assert shop.notify("payment.succeeded", payment.provider_id).json == {"received": True}
    assert buyer.balance() == WELCOME + tokens
    assert buyer.payment(payment.public_id) | {"createdAt": None} == {
        "id": payment.public_id, "purpose": "tokens", "status": "succeeded", "amount": amount,
        "currency": "RUB", "package": package, "tokens": tokens, "plan": None,
        "refundedAmount": "0.00", "confirmationUrl": payment.url, "cancellationReason": None,
        "createdAt": None}


def test_our_id_is_the_providers_key_and_comes_back_as_metadata(shop, buyer):
    payment = buyer.buy()
    user, our_id = payment.row("user_id::text, id::text")
    entry = shop.posts()[-1]
    assert entry["key"] == our_id
    assert json.loads(entry["body"])["metadata"] == {"user_id": user, "payment_id": our_id}


def test_the_request_is_kept_until_it_is_answered(shop, buyer):
    shop.provider.faults.set(timeout_after=1)
    assert buyer.order().code == "payment_provider_unavailable"
    kept = shop.value("SELECT request_body FROM payments WHERE user_id = %s", (buyer.user_id(),))
    assert kept.encode() == shop.posts()[-1]["body"]
    shop.provider.faults.set()
    assert buyer.buy().row("request_body") is None


@pytest.mark.parametrize("body", [{}, {"package": None}, {"package": ""}, {"package": "huge"},
                                  {"package": "SMALL"}, {"package": "x" * 60000}])
def test_a_package_that_is_not_sold(shop, buyer, body):
    answer = buyer.request("POST", "/api/payments/create", body)
    assert (answer.status, answer.code) == (400, "invalid_package")
    assert answer.json["error"] == 'Invalid package. Must be "small", "medium", or "large"'
    assert ours(shop, buyer) == []


@pytest.mark.parametrize("package", [7, True, ["small"], {"a": 1}])
def test_a_package_of_the_wrong_type(buyer, package):
    answer = buyer.order(package)
    assert (answer.status, answer.code, answer.json["field"]) == (400, "invalid_field", "package")


@pytest.mark.parametrize("price,tokens", [("0.01", 1), ("1.10", 3), ("99999999.99", 2000000),
                                          ("1234567.89", 77)])
def test_packages_are_rows_and_money_is_exact(shop, buyer, price, tokens):
    name = f"p{uuid.uuid4().hex[:8]}"
    shop.query("INSERT INTO token_packages (package, tokens, price) VALUES (%s, %s, %s)",
               (name, tokens, price))
    payment = buyer.buy(name)
    assert shop.provider.books.payments[payment.provider_id]["amount"]["value"] == price
    shop.provider.pay(payment.provider_id)
    shop.notify("payment.succeeded", payment.provider_id)
    assert buyer.balance() == WELCOME + tokens
    assert payment.row("amount::text") == price


def test_a_new_price_counts_from_the_next_payment(shop, buyer):
    shop.query("INSERT INTO token_packages (package, tokens, price) VALUES ('changing', 7, 10)")
    first = buyer.buy("changing")
    shop.query("UPDATE token_packages SET tokens = 70, price = 20 WHERE package = 'changing'")
    shop.provider.pay(first.provider_id)
    shop.notify("payment.succeeded", first.provider_id)
    assert buyer.balance() == WELCOME + 7
    assert buyer.payment(buyer.buy("changing").public_id)["amount"] == "20.00"


# --- receipts ---

def test_receipts_are_sent_when_configured(shop, make_handler):
    create = alone(shop, make_handler, PAYMENTS_RETURN_URL=BACK, YOOKASSA_VAT_CODE="3",
                   YOOKASSA_RECEIPT_EMAIL="shop@dreamlens.example")
    for wanted, expected in (("me@home.example", "me@home.example"),
                             (None, "shop@dreamlens.example")):
        assert create(receiptEmail=wanted).status == 200
        receipt = json.loads(shop.posts()[-1]["body"])["receipt"]
        assert receipt["customer"] == {"email": expected}
        [item] = receipt["items"]
        assert item["vat_code"] == 3
        assert item["amount"] == {"value": "99.00", "currency": "RUB"}


def test_a_receipt_needs_an_address(shop, make_handler):
    create = alone(shop, make_handler, PAYMENTS_RETURN_URL=BACK, YOOKASSA_VAT_CODE="1")
    before = len(shop.posts())
    answer = create()
    assert (answer.status, answer.code, answer.json["field"]) == (
        400, "invalid_field", "receiptEmail")
    assert len(shop.posts()) == before
    assert create(receiptEmail="me@home.example").status == 200


@pytest.mark.parametrize("email", ["", "me", "@home.example", "me@", "a@b@c", "a b@c.example", 7,
                                   "a" * 250 + "@b.example", "me@home.example\n"])
def test_an_address_that_is_none(buyer, email):
    answer = buyer.order(receiptEmail=email)
    assert (answer.code, answer.json["field"]) == ("invalid_field", "receiptEmail")


def test_without_a_tax_code_nobody_learns_the_address(shop, buyer):
    buyer.buy(receiptEmail="me@home.example")
    assert b"home.example" not in shop.posts()[-1]["body"]


# --- repetition ---

@pytest.mark.quick
def test_the_same_key_is_the_same_payment(shop, buyer):
    first = buyer.order(key="k1")
    again = buyer.order(key="k1")
    assert again.body == first.body
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(theirs(shop, buyer)) == len(ours(shop, buyer)) == 1
    assert buyer.order("medium", key="k1").code == "idempotency_key_reused"
    assert buyer.order(key="k2").data["paymentId"] != first.data["paymentId"]
    assert len(theirs(shop, buyer)) == 2


def test_without_a_key_each_request_is_a_payment(shop, buyer):
    assert buyer.buy().public_id != buyer.buy().public_id
    assert len(theirs(shop, buyer)) == 2


def test_a_repetition_after_the_payment_tells_how_it_went(shop, buyer):
    payment = buyer.buy(key="k")
    shop.provider.pay(payment.provider_id)
    shop.notify("payment.succeeded", payment.provider_id)
    again = buyer.buy(key="k")
    assert (again.public_id, again.status) == (payment.public_id, "succeeded")


def test_one_key_from_many_at_once(shop, buyer):
    buyer.balance()
    clients = [shop.stack.client(buyer.client.device) for _ in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda client: Buyer(shop, client).order(key="race"), clients))
    for client in clients:
        client.close()
    statuses = collections.Counter(answer.status for answer in answers)
    assert set(statuses) <= {200, 409} and statuses[200] >= 1, statuses
    assert {answer.code for answer in answers if answer.status == 409} <= {
        "idempotency_in_progress"}
    assert len({answer.data["paymentId"] for answer in answers if answer.status == 200}) == 1
    assert len(theirs(shop, buyer)) == len(ours(shop, buyer)) == 1


# --- reading ---

def test_payments_in_pages(shop, buyer):
    made = [buyer.buy().public_id for _ in range(5)]
    seen, cursor = [], None
    while True:
        path = "/api/payments?limit=2" + (f"&cursor={cursor}" if cursor else "")
        data = buyer.request("GET", path).data
        assert len(data["payments"]) <= 2
        seen += [payment["id"] for payment in data["payments"]]
        cursor = data["nextCursor"]
        if cursor is None:
            break
    assert seen == made[::-1]
    assert buyer.request("GET", "/api/payments?limit=0").code == "invalid_parameter"
    assert buyer.request("GET", "/api/payments?cursor=x").code == "invalid_parameter"


def test_somebody_elses_payment_is_not_found(shop, buyer):
    payment = buyer.buy()
    other = shop.buyer()
    assert other.request("GET", f"/api/payments/{payment.public_id}").code == "not_found"
    assert other.request("GET", "/api/payments").data["payments"] == []


@pytest.mark.parametrize("name", ["x", "create", "A" * 43, "%00", str(uuid.uuid4())])
def test_an_id_that_is_none(buyer, name):
    assert buyer.client.get(f"/api/payments/{name}").status in (400, 404)


def test_a_device_that_is_linked_takes_its_payments_along(cluster, template, binaries):
    """Opened by the device, paid after the link, credited to the account."""
    with Issuer() as issuer, Clerk(issuer) as clerk, \
            Shop(cluster, template, binaries, quiet=True, **clerk.environment()) as shop:
        device = shop.buyer()
        payment = device.buy(key="k")
        person = Person(shop.stack, clerk)
        linked = person.request("POST", "/api/user/link",
                                headers={"X-Device-Id": device.client.device})
        assert linked.status == 200
        before = person.request("GET", "/api/tokens").data["balance"]
        shop.provider.pay(payment.provider_id)
        assert shop.notify("payment.succeeded", payment.provider_id).json == {"received": True}
        assert person.request("GET", "/api/tokens").data["balance"] == before + 10
        [listed] = person.request("GET", "/api/payments").data["payments"]
        assert listed["status"] == "succeeded"
        # The id the device was given leads there as well, and so does its key.
        found = person.request("GET", f"/api/payments/{payment.public_id}").data["payment"]
        assert found["id"] == listed["id"]
        key = shop.service_key("refunds")
        answer = shop.stack.client(anonymous=True).post(
            f"/api/payments/{payment.public_id}/refund",
            headers={"Authorization": f"Service {key}"})
        assert answer.data["tokensTaken"] == 10
        assert person.request("GET", "/api/tokens").data["balance"] == before
        person.client.close()
