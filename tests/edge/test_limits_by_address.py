"""The limits of generations: by account, and a wider one for all devices of an address."""

import secrets
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.clerk import bearer
from tests.support.stack import new_device

DRAFT = {"imageUrl": "https://img.example/limit"}
LIMIT = 10
ADDRESS_LIMIT = 60


@pytest.fixture
def handler(make_handler, database, clerk):
    """The handler alone: what nginx would say of the address is the test's to choose."""
    return make_handler("generations", POSTGRES_URL=database, **clerk.environment())


def new_address():
    """An address nobody has used."""
    return f"198.18.{secrets.randbelow(256)}.{secrets.randbelow(256)}"


def create(handler, address, device=None, token=None):
    """Records a generation from an address, as a device or with a token."""
    headers = bearer(token) if token else {}
    return handler.request("POST", "/api/generations", device=device, headers=headers, body=DRAFT,
                           REMOTE_ADDR=address)


def rate_limit(answer):
    """The RateLimit header as {name: number}."""
    return {name: int(number) for name, number in
            (item.strip().split("=") for item in answer.headers["RateLimit"].split(","))}


def assert_limited(answer):
    """A 429 as the contract has it."""
    assert (answer.status, answer.code) == (429, "rate_limited")
    wait = answer.json["waitTime"]
    assert answer.json["error"] == "Rate limit exceeded"
    assert answer.json["message"] == f"Please wait {wait} seconds"
    assert 1 <= wait <= 60 and answer.headers["Retry-After"] == str(wait)
    assert rate_limit(answer) == {"limit": LIMIT, "remaining": 0, "reset": wait}


def assert_address_limited(answer):
    """A 429 because of the others: what the caller may still do is told, and when."""
    assert (answer.status, answer.code) == (429, "rate_limited")
    wait = answer.json["waitTime"]
    assert 1 <= wait <= 60 and answer.headers["Retry-After"] == str(wait)
    assert rate_limit(answer) == {"limit": LIMIT, "remaining": LIMIT, "reset": 60}


def test_one_device(handler):
    """Ten a minute from wherever it comes, with headers that count down."""
    device = new_device()
    for n in range(LIMIT):
        answer = create(handler, new_address(), device)
        assert answer.status == 201
        told = rate_limit(answer)
        assert (told["limit"], told["remaining"]) == (LIMIT, LIMIT - 1 - n)
        assert 55 <= told["reset"] <= 60 and answer.headers["Retry-After"] is None
    assert_limited(create(handler, new_address(), device))


def test_many_devices_of_one_address(handler):
    """A household or a carrier: each has its own ten, and is told of nobody else's."""
    address = new_address()
    for _ in range(3 * LIMIT):
        answer = create(handler, address, new_device())
        assert answer.status == 201 and rate_limit(answer)["remaining"] == LIMIT - 1


@pytest.mark.parametrize("addresses", [
    ["198.18.0.1"], ["::ffff:198.18.0.1", "198.18.0.1"],
    [f"2001:db8:1:2::{number:x}" for number in range(1, 99)]], ids=["IPv4", "mapped", "IPv6 /64"])
def test_made_up_devices_of_one_address(handler, addresses):
    """A new device id costs nothing, so an address has a limit too, an IPv6 one with its /64."""
    for number in range(ADDRESS_LIMIT):
        assert create(handler, addresses[number % len(addresses)], new_device()).status == 201
    for number in range(3):
        assert_address_limited(create(handler, addresses[number % len(addresses)], new_device()))
    # Another address is not concerned, and a text that is none is like no address.
    for other in ("198.18.0.2", "2001:db8:1:3::1", "unix:"):
        assert create(handler, other, new_device()).status == 201


def test_the_limit_of_an_address_is_a_setting(handler, database, cluster):
    address = new_address()
    cluster.query(database, "UPDATE app_settings SET value = 3"
                  " WHERE name = 'generations_per_minute_address'")
    statuses = [create(handler, address, new_device()).status for _ in range(5)]
    assert statuses == [201] * 3 + [429] * 2


def test_clerk_accounts_of_one_address(handler, clerk):
    """An office full of people with accounts: each has their own ten."""
    address = new_address()
    people = [clerk.token() for _ in range(3)]
    for token in people:
        for _ in range(LIMIT):
            assert create(handler, address, token=token).status == 201
        assert_limited(create(handler, address, token=token))
        assert_limited(create(handler, new_address(), token=token))
    # They leave the address to its devices.
    assert create(handler, address, new_device()).status == 201


@pytest.mark.parametrize("who", ["one device", "one account", "devices of one address"])
def test_fifty_at_once(handler, clerk, database, cluster, who):
    """Fifty concurrent requests never get more than the limit through."""
    cluster.query(database, "UPDATE app_settings SET value = %s"
                  " WHERE name = 'generations_per_minute_address'", (LIMIT,))
    address, device, token = new_address(), new_device(), clerk.token()
    if who == "one device":
        calls = [(new_address(), device, None) for _ in range(50)]
    elif who == "one account":
        calls = [(address, None, token) for _ in range(50)]
    else:
        calls = [(address, new_device(), None) for _ in range(50)]
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda call: create(handler, *call), calls))
    statuses = sorted(answer.status for answer in answers)
    assert statuses == [201] * LIMIT + [429] * (50 - LIMIT)
    for answer in answers:
        if answer.status == 429:
            (assert_address_limited if who == "devices of one address" else assert_limited)(answer)
    remaining = sorted(rate_limit(answer)["remaining"] for answer in answers
                       if answer.status == 201)
    assert remaining == ([LIMIT - 1] * LIMIT if who == "devices of one address"
                         else list(range(LIMIT)))
    for table in ("generations", "usage_logs"):
        assert cluster.value(database, f"SELECT count(*) FROM {table}") == LIMIT


def test_window_moves_on(handler, database, cluster):
    """What is older than a minute counts no more; the wait told is the oldest's."""
    address, device = new_address(), new_device()
    for _ in range(LIMIT):
        assert create(handler, address, device).status == 201
    cluster.query(database, "UPDATE usage_logs SET created_at = created_at - interval '40 seconds'")
    answer = create(handler, address, device)
    assert_limited(answer)
    assert answer.json["waitTime"] <= 20
    cluster.query(database, "UPDATE usage_logs SET created_at = created_at - interval '18 seconds'")
    began = time.monotonic()
    wait = create(handler, address, device).json["waitTime"]
    time.sleep(wait)  # what a client would do
    assert create(handler, address, device).status == 201
    assert time.monotonic() - began < 4


def test_welcome_bonuses_of_one_address(make_handler, database, cluster, clerk):
    """Beyond the setting a new device opens without the bonus; nobody is refused."""
    cluster.query(database, "UPDATE app_settings SET value = 3"
                  " WHERE name = 'anonymous_bonuses_per_hour'")
    handler = make_handler("tokens", POSTGRES_URL=database, **clerk.environment())

    def balance(address, device=None, token=None):
        answer = handler.request("GET", "/api/tokens", device=device,
                                 headers=bearer(token) if token else {}, REMOTE_ADDR=address)
        assert answer.status == 200
        return answer.data["balance"]

    first = new_device()
    assert balance("198.18.0.1", first) == 5
    assert [balance("198.18.0.1", new_device()) for _ in range(4)] == [5, 5, 0, 0]
    assert balance("198.18.0.1", first) == 5
    assert balance("198.18.0.1", token=clerk.token()) == 10
    assert [balance(f"2001:db8:1:2::{n}", new_device()) for n in range(4)] == [5, 5, 5, 0]
    # A device without the bonus does everything else.
    late = new_device()
    assert balance("198.18.0.1", late) == 0
    claimed = handler.request("POST", "/api/tokens", device=late, REMOTE_ADDR="198.18.0.1")
    assert claimed.status == 200
