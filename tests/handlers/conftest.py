"""What tests of several files of this folder begin with: services, shops, buyers."""

import pytest

from tests.support.service import Service
from tests.support.shop import Shop
from tests.support.subscription_life import Life


@pytest.fixture(scope="module")
def service(stack):
    """A back-end service with every scope."""
    return Service(stack, "all-scopes")


@pytest.fixture
def user(client):
    """The id of a new anonymous account, which has 5 tokens; client is its person."""
    return client.get("/api/user").data["user"]["id"]


@pytest.fixture(scope="module")
def shop(cluster, template, binaries, request):
    """A shop for the tests of a module. Nothing happens but what a test does, unless the module
    says RECONCILED = True: then the reconciler looks every second."""
    quiet = not getattr(request.module, "RECONCILED", False)
    with Shop(cluster, template, binaries, quiet=quiet) as made:
        yield made


@pytest.fixture
def buyer(shop):
    """Somebody nobody has seen."""
    made = shop.buyer()
    yield made
    shop.provider.faults.set()
    made.client.close()


@pytest.fixture
def pending(buyer):
    """A small package that waits for the person."""
    return buyer.buy()


@pytest.fixture
def paid(shop, pending):
    """One that was paid, which nobody has told us."""
    shop.provider.pay(pending.provider_id)
    return pending


@pytest.fixture
def life(shop, buyer):
    """An active subscription to pro."""
    return Life(shop, buyer)
