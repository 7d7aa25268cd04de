"""POST /api/payments/webhook: who may send."""

import re

import pytest

from tests.support.fastcgi import Connection
from tests.support.process import REPOSITORY
from tests.support.shop import EVENTS, WEBHOOK, WELCOME
from tests.support.stack import Stack


@pytest.mark.quick
@pytest.mark.parametrize("address", ["8.8.8.8", "203.0.113.7", "2001:db8::1", "10.0.0.1",
                                     "128.0.0.1", "::1"])
@pytest.mark.parametrize("event", EVENTS)
def test_nobody_else_may(shop, buyer, paid, address, event):
    before = len(shop.provider.requests)
    answer = shop.notify(event, paid.provider_id, address)
    assert (answer.status, answer.code) == (403, "forbidden")
    assert len(shop.provider.requests) == before, "the provider is not even asked"
    assert buyer.balance() == WELCOME


@pytest.mark.parametrize("headers", [
    {"X-Forwarded-For": "127.0.0.1, 8.8.8.8"}, {"X-Forwarded-For": "8.8.8.8, 127.0.0.1"},
    {"X-Forwarded-For": "8.8.8.8", "X-Real-IP": "127.0.0.1"},
    {"X-Forwarded-For": "8.8.8.8", "Forwarded": "for=127.0.0.1"},
    {"X-Forwarded-For": "8.8.8.8", "Remote-Addr": "127.0.0.1"},
    {"X-Forwarded-For": "8.8.8.8", "Client-Ip": "127.0.0.1"},
])
def test_an_address_that_is_claimed(shop, buyer, paid, headers):
    """The balancer is trusted, what stands to the left of what it says is not."""
    client = shop.stack.client(anonymous=True)
    answer = client.post(WEBHOOK, {"type": "notification", "event": "payment.succeeded",
                                   "object": {"id": paid.provider_id}}, headers=headers)
    client.close()
    assert (answer.status, answer.code) == (403, "forbidden")
    assert buyer.balance() == WELCOME


@pytest.mark.parametrize("address,status", [("127.0.0.1", 200), ("127.9.9.9", 200),
                                            ("8.8.8.8", 403), ("", 403), ("x", 403), (None, 403)])
def test_the_handler_looks_for_itself(shop, buyer, paid, address, status):
    """Past nginx, as something else in front of it would be."""
    body = {"type": "notification", "event": "payment.succeeded",
            "object": {"id": paid.provider_id}}
    with Connection(shop.stack.socket_path("payments-webhook")) as connection:
        answer = connection.request("POST", WEBHOOK, body=body, REMOTE_ADDR=address)
    assert answer.status == status
    assert buyer.balance() == WELCOME + (10 if status == 200 else 0)


@pytest.mark.parametrize("address,inside", [
    ("185.71.76.0", True), ("185.71.76.31", True), ("185.71.76.32", False),
    ("185.71.77.1", True), ("185.71.77.32", False), ("77.75.153.127", True),
    ("77.75.153.128", False), ("77.75.154.127", False), ("77.75.154.128", True),
    ("77.75.156.11", True), ("77.75.156.12", False), ("77.75.156.35", True),
    ("2a02:5180::1", True), ("2a02:5180:ffff::1", True), ("2a02:5181::1", False),
    ("127.0.0.1", False),
])
def test_the_published_addresses_are_the_default(default_stack, address, inside):
    client = default_stack.client(anonymous=True)
    answer = client.post(WEBHOOK, {}, headers={"X-Forwarded-For": address})
    client.close()
    assert (answer.status, answer.code) == (
        (503, "payments_not_configured") if inside else (403, "forbidden"))


@pytest.fixture(scope="module")
def default_stack(cluster, template, binaries):
    """An instance without a shop and with the default list."""
    url = cluster.create_database(template)
    with Stack(url, binaries) as made:
        yield made
    cluster.drop(url)


def test_edge_and_handler_have_one_list():
    with open(f"{REPOSITORY}/common/base/config.h", encoding="utf-8") as file:
        config = file.read()
    with open(f"{REPOSITORY}/scripts/lib-settings.sh", encoding="utf-8") as file:
        script = file.read().replace("\\\n", "")  # lines that go on
    row = re.search(r'"YOOKASSA_WEBHOOK_NETWORKS", (.*?), 0, 0', config, re.S).group(1)
    networks = "".join(re.findall(r'"([^"]*)"', row))
    assert f"${{YOOKASSA_WEBHOOK_NETWORKS:-{networks}}}" in script
