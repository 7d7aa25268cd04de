"""/api/payments and every way in which the provider can fail to answer."""

import pytest

from tests.support.shop import BACK, IT_HAPPENED, NOTHING_HAPPENED, WELCOME, alone, ours, theirs


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
