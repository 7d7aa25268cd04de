"""POST /api/payments/{id}/refund: the money, the tokens, and that it is taken back once."""

import base64
import json
import uuid

import pytest

from tests.support.shop import IT_HAPPENED, NOTHING_HAPPENED, WELCOME, Buyer, row_id
from tests.support.yookassa_books import Refusal


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


@pytest.mark.parametrize("provider_id,currency", [
    ("telegram_stars_9", "RUB"), ("a-charge", "XTR"), ("telegram_stars_8", "XTR")])
def test_a_payment_that_another_provider_took(shop, buyer, paid, operator, provider_id, currency):
    """Adopted ones in Telegram's stars: YooKassa is not asked to give them back."""
    shop.value("UPDATE payments SET yookassa_payment_id = %s, currency = %s"
               " WHERE user_id = %s RETURNING id", (provider_id, currency, buyer.user_id()))
    before = len(shop.posts("refunds"))
    answer = operator(paid)
    assert (answer.status, answer.code) == (422, "payment_not_ours")
    assert len(shop.posts("refunds")) == before
    assert buyer.balance() == WELCOME + 50


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
