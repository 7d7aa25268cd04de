"""/api/payments through nginx: what begins a payment, what reads it, refunds, and every way in which
the provider can fail to answer."""

import base64
import collections
import concurrent.futures
import json
import uuid

import pytest

from tests.support.clerk import Clerk, Issuer, Person
from tests.support.shop import BACK, WELCOME, Buyer, Shop, row_id
from tests.support.yookassa_books import Refusal

PACKAGES = {"small": ("99.00", 10), "medium": ("399.00", 50), "large": ("699.00", 100)}
NOTHING_HAPPENED = ("error_500_before", "timeout_before", "cut_before")
IT_HAPPENED = ("error_500_after", "timeout_after", "cut_after")


@pytest.fixture(scope="module")
def shop(cluster, template, binaries):
    """One for the whole file; nothing happens but what a test does."""
    with Shop(cluster, template, binaries, quiet=True) as made:
        yield made


@pytest.fixture
def buyer(shop):
    """Somebody nobody has seen."""
    made = shop.buyer()
    yield made
    shop.provider.faults.set()
    made.client.close()


def ours(shop, buyer):
    """The rows of a buyer's payments: (status, provider id), oldest first."""
    return shop.query("SELECT status, yookassa_payment_id FROM payments WHERE user_id = %s"
                      " ORDER BY created_at", (buyer.user_id(),))


def theirs(shop, buyer):
    """The payments the provider has of a buyer."""
    user = buyer.user_id()
    with shop.provider.books.lock:
        return [payment for payment in shop.provider.books.payments.values()
                if payment["metadata"].get("user_id") == user]


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


# --- where the person comes back to ---

@pytest.mark.parametrize("url,opened", [
    ("https://app.example", "https://app.example/"),
    ("https://app.example/a/b?c=d#e", "https://app.example/a/b?c=d#e"),
    ("https://other.example?x", "https://other.example/?x"),
    ("https://app.example/" + "a" * (2048 - 20), "https://app.example/" + "a" * (2048 - 20)),
    ("HTTPS://APP.example:443/A", "https://app.example/A"),
    (" https://app.ex\tample/\n", "https://app.example/"),
    ("https:\\\\app.example\\x", "https://app.example/x"),
    ("https:///app.example", "https://app.example/"),
    ("https://app%2Eexample/a/%2e%2E/b", "https://app.example/b"),
    ("https://app.example\\@evil.example", "https://app.example/@evil.example"),
    ("https://app.example/ x\u00e4", "https://app.example/%20x%C3%A4"),
])
def test_a_return_url_that_is_allowed(shop, buyer, url, opened):
    """The provider gets what a browser would open, which is what was checked."""
    buyer.buy(returnUrl=url)
    assert json.loads(shop.posts()[-1]["body"])["confirmation"]["return_url"] == opened


@pytest.mark.parametrize("url", [
    "", "app.example", "//app.example", "http://app.example/", "ftp://app.example/",
    "javascript:alert(1)", "https://evil.example/", "https://app.example.evil.example/",
    "https://app.example@evil.example/", "https://evil.example/https://app.example",
    "https://app.example:444/", "https://user:pw@app.example/", "https://evil.example\\@app.example",
    "https://", "https:///", "HTTPS://evil.example", "https://app.example/" + "a" * 2048,
    "https://app.example/" + "\u00e4" * 400, "https:evil.example", "https:/\\evil.example",
    "https://evil.example\\.app.example/", "https://app.example%40evil.example/",
    "https://app.ex\u0430mple/", "https://app.example./", "https://0x7f.1/",
])
def test_a_return_url_that_is_not(buyer, url):
    answer = buyer.order(returnUrl=url)
    assert (answer.status, answer.code, answer.json["field"]) == (400, "invalid_field", "returnUrl")


def test_the_default_return_url(shop, buyer):
    buyer.buy()
    assert (json.loads(shop.posts()[-1]["body"])["confirmation"]["return_url"]
            == "https://app.example/")


def alone(shop, make_handler, **environment):
    """create(**body) on a payments handler with other settings, past nginx."""
    handler = make_handler("payments", POSTGRES_URL=shop.url, **{**shop.environment, **environment})
    device = shop.stack.client().device

    def create(**body):
        return handler.request("POST", "/api/payments/create", device=device,
                               body={"package": "small", **body})
    return create


@pytest.mark.parametrize("environment,expected", [
    ({"PAYMENTS_RETURN_URL": "https://paid.example/x"}, "https://paid.example/x"),
    ({"PAYMENTS_RETURN_URL": "https://paid.example/x", "ALLOWED_ORIGINS": "https://o.example"},
     "https://paid.example/x"),
    ({"ALLOWED_ORIGINS": ",https://o.example,https://p.example"}, "https://o.example"),
    ({}, None),
])
def test_default_return_urls(shop, make_handler, environment, expected):
    answer = alone(shop, make_handler, **environment)()
    if expected is None:
        assert (answer.code, answer.json["field"]) == ("invalid_field", "returnUrl")
        return
    assert answer.status == 200
    assert json.loads(shop.posts()[-1]["body"])["confirmation"]["return_url"] == expected


@pytest.mark.parametrize("url,allowed", [
    ("http://localhost/", True), ("http://localhost:3000/x", True), ("https://any.example", True),
    ("http://localhost.evil.example/", False), ("http://localhost@evil.example/", False),
    ("http://127.0.0.1/", False), ("http://any.example", False),
])
def test_return_urls_without_allowed_origins(shop, make_handler, url, allowed):
    assert (alone(shop, make_handler)(returnUrl=url).status == 200) is allowed


@pytest.mark.parametrize("origins", ["", "https://o.example"])
@pytest.mark.parametrize("url,allowed", [
    ("https://paid.example/y", True), ("https://paid.example", True),
    ("https://o.example/y", None), ("https://paid.example.evil.example/", False),
    ("https://any.example/", False), ("http://localhost/", False)])
def test_return_urls_with_a_default(shop, make_handler, origins, url, allowed):
    """Nobody is sent anywhere but where the operator's own pages are."""
    more = {"ALLOWED_ORIGINS": origins} if origins else {}
    create = alone(shop, make_handler, PAYMENTS_RETURN_URL="https://paid.example/x", **more)
    expected = bool(origins) if allowed is None else allowed
    assert (create(returnUrl=url).status == 200) is expected


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


# --- when the provider does not answer ---

@pytest.mark.parametrize("fault", NOTHING_HAPPENED + IT_HAPPENED)
def test_an_unclear_outcome(shop, buyer, fault):
    """The payment stays, and asking again with its key makes no second one."""
    shop.provider.faults.set(**{fault: 1})
    answer = buyer.order(key="k")
    assert (answer.status, answer.code) == (502, "payment_provider_unavailable")
    assert ours(shop, buyer) == [("pending", None)]
    assert len(theirs(shop, buyer)) == (fault in IT_HAPPENED)
    assert buyer.order(key="k").code == "idempotency_in_progress"
    shop.provider.faults.set()
    shop.look_again()
    [made] = shop.wait(lambda: theirs(shop, buyer) if ours(shop, buyer)[0][1] else None,
                       "the reconciler asks again")
    assert ours(shop, buyer) == [("pending", made["id"])]
    bodies = {entry["body"] for entry in shop.posts() if buyer.user_id().encode() in entry["body"]}
    keys = {entry["key"] for entry in shop.posts() if buyer.user_id().encode() in entry["body"]}
    assert len(bodies) == len(keys) == 1
    payment = buyer.buy(key="k")
    assert payment.provider_id == made["id"]


def test_a_refusal_for_now_frees_the_key(shop, buyer):
    shop.provider.faults.set(too_many_requests=1)
    answer = buyer.order(key="k")
    assert (answer.status, answer.code) == (502, "payment_provider_unavailable")
    assert ours(shop, buyer) == []
    shop.provider.faults.set()
    assert buyer.order(key="k").status == 200
    assert len(theirs(shop, buyer)) == 1


@pytest.mark.parametrize("environment", [
    {"YOOKASSA_SECRET_KEY": "wrong"}, {"YOOKASSA_SHOP_ID": "654321"},
    {"YOOKASSA_API_URL": "http://127.0.0.1:1/v3"},
])
def test_a_provider_that_cannot_be_used(shop, make_handler, environment):
    create = alone(shop, make_handler, PAYMENTS_RETURN_URL=BACK, **environment)
    before = shop.value("SELECT count(*) FROM payments")
    answer = create()
    assert (answer.status, answer.code) == (502, "payment_provider_unavailable")
    assert answer.headers["Retry-After"]
    assert shop.value("SELECT count(*) FROM payments") == before
    denied = "YOOKASSA_SECRET_KEY" in environment or "YOOKASSA_SHOP_ID" in environment
    assert shop.differences("shop") == ({"denied"} if denied else set())
    # The right shop is taken again.
    buyer = shop.buyer()
    buyer.buy()
    buyer.client.close()
    assert shop.differences("shop") == set()


def test_a_request_that_the_provider_does_not_like(shop, buyer):
    shop.provider.books.receipts_required = True
    try:
        answer = buyer.order(key="k")
    finally:
        shop.provider.books.receipts_required = False
    assert (answer.status, answer.code) == (422, "payment_refused")
    assert "Retry-After" not in answer.headers
    assert ours(shop, buyer) == []
    event = [event for event in shop.stack.events("payments")
             if event["message"] == "payment provider"][-1]
    assert (event["result"], event["status"], event["parameter"]) == ("refused", 400, "receipt")
    assert buyer.order(key="k").status == 200


@pytest.mark.parametrize("damage", ["other_amount", "other_currency", "test_flag"])
def test_an_answer_that_is_not_what_was_ordered(shop, buyer, damage):
    shop.provider.faults.set(**{damage: 1})
    answer = buyer.order()
    assert (answer.status, answer.code) == (502, "payment_provider_unavailable")
    [made] = theirs(shop, buyer)
    kind = {"test_flag": "test_payment"}.get(damage, damage)
    assert shop.differences(made["id"]) == {kind}
    shop.provider.pay(made["id"])
    shop.notify("payment.succeeded", made["id"])
    assert buyer.balance() == WELCOME
    assert ours(shop, buyer) == [("pending", None)]


def test_test_payments_count_when_they_are_wanted(shop, make_handler):
    create = alone(shop, make_handler, PAYMENTS_RETURN_URL=BACK, YOOKASSA_TEST_PAYMENTS="on")
    shop.provider.faults.set(test_flag=1)
    try:
        assert create().status == 200
    finally:
        shop.provider.faults.set()


@pytest.mark.parametrize("method,path,body", [
    ("POST", "/api/payments/create", {"package": "small"}),
    ("POST", "/api/subscriptions", {"plan": "pro"}),
])
def test_without_a_shop(make_handler, database, method, path, body):
    name = "payments" if "payments" in path else "subscriptions"
    handler = make_handler(name, POSTGRES_URL=database)
    answer = handler.request(method, path, device="device_without_a_shop_1", body=body)
    assert (answer.status, answer.code) == (503, "payments_not_configured")
    assert answer.headers["Retry-After"]


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


# --- refunds ---

@pytest.fixture(scope="module")
def operator(shop):
    """refund(payment, amount, key, **more): by the operator."""
    service = shop.service_key("operator")

    def refund(payment, amount=None, key=None, **members):
        caller = Buyer(shop, shop.stack.client(anonymous=True))
        body = {"amount": amount, **members} if amount is not None or members else None
        answer = caller.request("POST", f"/api/payments/{payment.public_id}/refund", body, key,
                                {"Authorization": f"Service {service}"})
        caller.client.close()
        return answer
    return refund


@pytest.fixture
def paid(shop, buyer):
    """A medium package, 50 tokens for 399.00, that was paid and credited."""
    payment = buyer.buy("medium")
    shop.provider.pay(payment.provider_id)
    shop.notify("payment.succeeded", payment.provider_id)
    assert buyer.balance() == WELCOME + 50
    return payment


@pytest.mark.quick
def test_a_whole_refund(shop, buyer, paid, operator):
    answer = operator(paid, key="r")
    assert answer.status == 201
    assert answer.data | {"refundId": ""} == {
        "refundId": "", "status": "succeeded", "amount": "399.00", "currency": "RUB",
        "tokensTaken": 50, "tokensOwed": 0}
    assert buyer.balance() == WELCOME
    found = buyer.payment(paid.public_id)
    assert (found["status"], found["refundedAmount"]) == ("refunded", "399.00")
    again = operator(paid, key="r")
    assert again.body == answer.body and again.headers["Idempotency-Replayed"] == "true"
    assert operator(paid).code == "refund_exceeds_payment"
    assert len(shop.posts("refunds")) >= 1
    assert buyer.balance() == WELCOME


def test_refunds_in_parts_take_tokens_in_proportion(shop, buyer, paid, operator):
    taken = [operator(paid, amount).data["tokensTaken"] for amount in ("100.00", "100", "0.01")]
    assert taken == [12, 13, 0]  # 50 x 100/399 = 12.5, x 200/399 = 25.06, x 200.01/399 = 25.06
    assert buyer.payment(paid.public_id)["status"] == "succeeded"
    assert operator(paid).data | {"refundId": ""} == {
        "refundId": "", "status": "succeeded", "amount": "198.99", "currency": "RUB",
        "tokensTaken": 25, "tokensOwed": 0}
    assert buyer.balance() == WELCOME
    assert buyer.payment(paid.public_id)["status"] == "refunded"


def test_a_refund_of_more_than_was_paid(paid, operator):
    assert operator(paid, "399.01").code == "refund_exceeds_payment"
    assert operator(paid, "300").status == 201
    assert operator(paid, "99.01").code == "refund_exceeds_payment"
    assert operator(paid, "99.00").status == 201


@pytest.mark.parametrize("amount", ["0", "0.00", "-1", "1.001", "1e2", " 1", "1,5", "abc", "", 5,
                                    "100000000.00", "9" * 20])
def test_an_amount_that_is_none(paid, operator, amount):
    answer = operator(paid, amount)
    assert (answer.status, answer.code, answer.json["field"]) == (400, "invalid_field", "amount")


def test_a_refund_of_what_was_not_paid(shop, buyer, operator):
    payment = buyer.buy()
    assert operator(payment).code == "payment_not_paid"
    shop.provider.decline(payment.provider_id)
    shop.notify("payment.canceled", payment.provider_id)
    assert operator(payment).code == "payment_not_paid"


def test_tokens_that_were_spent_are_owed(shop, buyer, paid, operator):
    spender = shop.service_key(f"spender-{uuid.uuid4().hex[:8]}", "spend")
    buyer.request("POST", "/api/ledger/spend", {"userId": buyer.user_id(), "amount": 40},
                  headers={"Authorization": f"Service {spender}"})
    data = operator(paid).data
    assert (data["tokensTaken"], data["tokensOwed"]) == (15, 35)
    assert buyer.balance() == 0
    refund = shop.value("SELECT yookassa_refund_id FROM payment_refunds WHERE user_id = %s",
                        (buyer.user_id(),))
    assert shop.differences(refund) == {"tokens_owed"}


@pytest.mark.parametrize("echoed", [{}, {"metadata": {}}, {"metadata": {"refund_id": "none"}}])
def test_a_refund_whose_answer_does_not_say_which(shop, buyer, paid, operator, monkeypatch, echoed):
    """It answers our own request, so it is that refund."""
    make = shop.provider.books.create_refund

    def create_refund(key, body):
        made, is_new = make(key, body)
        return {**{name: made[name] for name in made if name != "metadata"}, **echoed}, is_new
    monkeypatch.setattr(shop.provider.books, "create_refund", create_refund)
    data = operator(paid, key="r").data
    assert (data["status"], data["tokensTaken"]) == ("succeeded", 50)
    assert buyer.balance() == WELCOME
    assert shop.query("SELECT status FROM payment_refunds WHERE user_id = %s",
                      (buyer.user_id(),)) == [("succeeded",)]


@pytest.mark.parametrize("fault", NOTHING_HAPPENED + IT_HAPPENED)
def test_an_unclear_refund(shop, buyer, paid, operator, fault):
    shop.provider.faults.set(**{fault: 1})
    assert operator(paid, "399.00", key="r").code == "payment_provider_unavailable"
    assert operator(paid, "399.00", key="r").code == "idempotency_in_progress"
    assert operator(paid, "0.01").code == "refund_exceeds_payment", "a pending one counts"
    shop.provider.faults.set()
    shop.look_again("payment_refunds")
    shop.wait(lambda: buyer.balance() == WELCOME, "the reconciler asks again")
    made = [refund for refund in shop.provider.books.refunds.values()
            if refund["payment_id"] == paid.provider_id]
    assert len(made) == 1
    assert operator(paid, "399.00", key="r").data["tokensTaken"] == 50


def test_a_refund_that_the_provider_never_makes(shop, buyer, paid, operator, monkeypatch):
    def refuse(*_):
        raise Refusal(400, "invalid_request", "Payment doesn't allow refunds", "payment_id")
    with monkeypatch.context() as changed:
        changed.setattr(shop.provider.books, "create_refund", refuse)
        answer = operator(paid, key="r")
    assert (answer.status, answer.code) == (422, "payment_refused")
    assert operator(paid, key="r").data["tokensTaken"] == 50, "the key is free"


def test_a_refund_that_the_provider_refuses(shop, buyer, paid, operator):
    shop.provider.faults.set(too_many_requests=1)
    assert operator(paid, key="r").code == "payment_provider_unavailable"
    shop.provider.faults.set()
    assert shop.value("SELECT count(*) FROM payment_refunds WHERE user_id = %s",
                      (buyer.user_id(),)) == 0
    assert operator(paid, key="r").status == 201


def test_who_may_refund(shop, buyer, paid):
    path = f"/api/payments/{paid.public_id}/refund"
    assert buyer.request("POST", path).code == "unauthorized"
    every = shop.stack.run("service-key", "create", f"every-{uuid.uuid4().hex[:8]}")
    for key, code in (("wrong", "unauthorized"), (every.stdout.splitlines()[-1], "forbidden")):
        answer = buyer.request("POST", path, headers={"Authorization": f"Service {key}"})
        assert answer.code == code
    assert buyer.balance() == WELCOME + 50


def test_a_refund_of_no_payment(operator, buyer, shop):
    payment = buyer.buy()
    payment.public_id = "x"
    assert operator(payment).code == "not_found"
    payment.public_id = "A" * 43
    assert operator(payment).code == "not_found"


def test_a_receipt_of_a_refund(shop, buyer, paid, make_handler):
    handler = make_handler("payments", POSTGRES_URL=shop.url,
                           **{**shop.environment, "YOOKASSA_VAT_CODE": "1"})
    key = shop.service_key(f"receipts-{uuid.uuid4().hex[:8]}")
    path = f"/api/payments/{paid.public_id}/refund"
    headers = {"Authorization": f"Service {key}"}
    answer = handler.request("POST", path, headers=headers)
    assert (answer.code, answer.json["field"]) == ("invalid_field", "receiptEmail")
    answer = handler.request("POST", path, headers=headers,
                             body={"receiptEmail": "me@home.example"})
    assert answer.status == 201
    receipt = json.loads(shop.posts("refunds")[-1]["body"])["receipt"]
    assert receipt["customer"] == {"email": "me@home.example"}


# --- one purchase is taken back once ---

def entries(shop, buyer):
    """(public id of the entry, its amount) of the purchases and refunds, oldest first."""
    rows = shop.query("SELECT user_id, id, amount FROM token_transactions WHERE user_id = %s AND"
                      " operation_id IS NOT NULL ORDER BY created_at, id", (buyer.user_id(),))
    return [(base64.urlsafe_b64encode(uuid.UUID(user).bytes + uuid.UUID(ident).bytes).decode()
             .rstrip("="), amount) for user, ident, amount in rows]


def verified(shop):
    """What GET /api/ledger/verify says of payments."""
    return shop.operate("GET", "/api/ledger/verify", scopes="verify").data["payments"]


def test_the_entry_of_a_payment_is_not_reversed(shop, buyer, paid, operator):
    """Neither before the refund nor after it, nor is the refund's own."""
    def reverse(entry):
        return shop.operate("POST", f"/api/ledger/transactions/{entry}/reverse", scopes="reverse")
    [(bought, amount)] = entries(shop, buyer)
    assert amount == 50
    answer = reverse(bought)
    assert (answer.status, answer.code) == (409, "payment_entry")
    assert operator(paid).data["tokensTaken"] == 50
    for entry, _ in entries(shop, buyer):
        assert reverse(entry).code == "payment_entry"
    assert [amount for _, amount in entries(shop, buyer)] == [50, -50]
    assert buyer.balance() == WELCOME and verified(shop) == []


def test_verify_sees_what_was_taken_back_beside(shop, buyer, paid):
    """As a reversal by hand would do it."""
    [(bought, _)] = entries(shop, buyer)
    shop.query("""
        WITH taken AS (UPDATE user_tokens SET balance = balance - 50 WHERE user_id = %(user)s
                       RETURNING balance)
        INSERT INTO token_transactions (user_id, id, amount, type, balance_after, reverses,
                                        created_at)
        SELECT %(user)s, gen_random_uuid(), -50, 'refund', taken.balance, %(entry)s,
               clock_timestamp() AT TIME ZONE 'utc' FROM taken""",
               {"user": buyer.user_id(), "entry": row_id(bought)})
    assert verified(shop) == [{"id": paid.public_id, "expected": 50, "found": 0, "entries": 2}]
    shop.query("""
        WITH given AS (UPDATE user_tokens SET balance = balance + 50 WHERE user_id = %(user)s
                       RETURNING balance), entry AS (SELECT gen_random_uuid() AS id)
        INSERT INTO token_transactions (user_id, id, amount, type, balance_after, reverses,
                                        created_at)
        SELECT %(user)s, gen_random_uuid(), 50, 'refund', given.balance, NULL,
               clock_timestamp() AT TIME ZONE 'utc' FROM given""", {"user": buyer.user_id()})
