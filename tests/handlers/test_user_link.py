"""Linking a device to a Clerk account: the contract, what moves, bonuses once a person."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.books import BROKEN_BOOKS
from tests.support.clerk import Person
from tests.support.process import wait_until
from tests.support.stack import Stack, new_device


@pytest.fixture(scope="module")
def stack(cluster, template, binaries, clerk):
    """An instance that trusts it."""
    url = cluster.create_database(template)
    with Stack(url, binaries, clerk.environment()) as made:
        made.database_url = url
        # Everybody here comes from one address.
        cluster.query(url, "UPDATE app_settings SET value = 10000 WHERE name LIKE '%%_per_minute'")
        yield made
        assert cluster.query(url, BROKEN_BOOKS) == []
    cluster.drop(url)


@pytest.fixture
def person(stack, clerk):
    """Somebody with a Clerk account and, not linked yet, a device."""
    made = Person(stack, clerk)
    made.device_client = stack.client()
    made.device_id = made.device_client.device
    made.link = lambda device=None, **options: made.request(
        "POST", "/api/user/link", headers={"X-Device-Id": device or made.device_id}, **options)
    yield made
    made.client.close()
    made.device_client.close()


def user_id(cluster, stack, identity):
    """Whose an identity is."""
    rows = cluster.query(stack.database_url,
                         "SELECT user_id FROM user_identities WHERE identity = %s", (identity,))
    return rows[0][0] if rows else None


def entries(answer):
    """(amount, description) of each entry of an answer, oldest first."""
    return [(entry["amount"], entry["description"])
            for entry in reversed(answer.data["transactions"])]


# --- the contract ---


def test_contract(person, stack, clerk):
    """200, again 200, 409 for another account, 400 without a good device id, 401 for a device."""
    assert person.device_client.get("/api/tokens").data["balance"] == 5
    assert person.link().data == {"linked": True}
    for _ in range(3):
        assert person.link().data == {"linked": True}
    # The welcome bonus counts once: 10 of the account, not 15.
    assert person.request("GET", "/api/tokens").data["balance"] == 10
    assert person.device_client.get("/api/tokens").data["balance"] == 10

    other = Person(stack, clerk)
    answer = other.request("POST", "/api/user/link", headers={"X-Device-Id": person.device_id})
    assert (answer.status, answer.code) == (409, "device_already_linked")
    assert answer.json["error"] == "Устройство уже привязано к другому аккаунту"
    answer = other.request("POST", "/api/user/link", headers={"X-Device-Id": person.device_id,
                                                              "Accept-Language": "en"})
    assert answer.json["error"] == "The device is already linked to another account"
    assert other.request("GET", "/api/tokens").data["balance"] == 10
    for device in (None, "", "device_short", "x" * 30, "device_" + "x" * 300, "device_'; DROP --x",
                   f"{person.device_id}, {person.device_id}"):
        headers = {} if device is None else {"X-Device-Id": device}
        answer = person.request("POST", "/api/user/link", headers=headers)
        assert (answer.status, answer.json["field"]) == (400, "X-Device-Id"), device
    for headers in ({"X-Device-Id": new_device()}, {"X-Device-Id": person.device_id}, {}):
        answer = person.device_client.post("/api/user/link", headers=headers)
        assert (answer.status, answer.code) == (401, "unauthorized")
    answer = person.request("GET", "/api/user/link")
    assert (answer.status, answer.headers["Allow"]) == (405, "POST, OPTIONS")
    anonymous = stack.client(anonymous=True)
    assert anonymous.post("/api/user/link").status == 401
    anonymous.close()
    other.client.close()


def test_unknown_device(person, stack, cluster):
    """A device nobody has seen gets no account and no bonus: it leads to the caller's."""
    device = new_device()
    assert person.link(device).data == {"linked": True}
    assert person.link(device).data == {"linked": True}
    client = stack.client(device)
    assert client.get("/api/tokens").data["balance"] == 10
    client.close()
    assert user_id(cluster, stack, f"device:{device}") == user_id(
        cluster, stack, f"clerk:{person.subject}")
    assert cluster.value(stack.database_url, "SELECT count(*) FROM users WHERE device_id = %s",
                         (device,)) == 0


def test_automatically_once(person, stack, clerk):
    """A Clerk request that carries a device's id links it; somebody else's device is left alone."""
    person.device_client.post("/api/generations", {"imageUrl": "https://img.example/1"})
    person.device = person.device_id
    assert person.request("GET", "/api/tokens").data["balance"] == 10
    assert person.request("GET", "/api/generations").data["total"] == 1
    expected = [(10, "Приветственный бонус"), (5, "Приветственный бонус"),
                (-5, "Перенос на аккаунт"), (5, "Перенос с устройства"),
                (-5, "Бонус уже был начислен")]
    for path in ("/api/tokens", "/api/user", "/api/generations", "/api/user/stats"):
        assert person.request("GET", path).status == 200
    got = entries(person.request("GET", "/api/tokens/transactions"))
    assert sorted(got) == sorted(expected) and got[-1] == expected[-1]

    other = Person(stack, clerk, device=person.device_id)
    for _ in range(3):
        assert other.request("GET", "/api/tokens").data["balance"] == 10
        assert other.request("GET", "/api/generations").data["total"] == 0
    for bad in ("", "x", "device_short"):
        other.device = bad
        assert other.request("GET", "/api/tokens").status == 200
    other.client.close()


def test_everything_moves(person, stack, cluster):
    """Balance, entries, generations, usage, payments, subscriptions, the daily bonus."""
    device = person.device_client
    bonus = device.post("/api/tokens").data["tokensAwarded"]
    made = [device.post("/api/generations", {"imageUrl": f"https://img.example/{n}", "trend": "t"})
            .data["generation"]["id"] for n in range(3)]
    device.post("/api/usage", {"action": "download"})
    device_user = user_id(cluster, stack, f"device:{person.device_id}")
    cluster.query(stack.database_url, """
        INSERT INTO payments (user_id, yookassa_payment_id, amount, status, token_package,
                              tokens_amount)
        VALUES (%(user)s, %(user)s, 399, 'succeeded', 'medium', 50);
        INSERT INTO subscriptions (user_id, plan, status, current_period_end)
        VALUES (%(user)s, 'pro', 'active', '2099-01-01')""", {"user": device_user})
    mine = person.request("POST", "/api/generations",
                          body={"imageUrl": "https://img.example/mine"}).data["generation"]["id"]
    assert person.request("GET", "/api/tokens").data["balance"] == 10  # now it is cached

    assert person.link().data == {"linked": True}
    # At once, in every handler, through either identity.
    for request in (lambda path: person.request("GET", path), device.get):
        tokens = request("/api/tokens").data
        assert tokens["balance"] == 10 + bonus
        assert (tokens["plan"], tokens["canClaimBonus"]) == ("pro", False)
        history = request("/api/generations").data
        assert {item["id"] for item in history["generations"]} == {*made, mine}
        assert request("/api/user/stats").data["user"]["total_generations"] == 4
        assert request("/api/usage").data["today"] == {"generation": 4, "download": 1}
    profile = person.request("GET", "/api/user").data
    assert (profile["plan"], profile["usage"]["usedToday"]) == ("pro", 4)
    assert profile["user"]["id"] == str(user_id(cluster, stack, f"clerk:{person.subject}"))
    got = entries(person.request("GET", "/api/tokens/transactions"))
    assert sorted(got) == sorted([
        (10, "Приветственный бонус"), (5, "Приветственный бонус"), (bonus, "Ежедневный бонус"),
        (-5 - bonus, "Перенос на аккаунт"), (5 + bonus, "Перенос с устройства"),
        (-5, "Бонус уже был начислен")])
    assert entries(device.get("/api/tokens/transactions")) == got
    # Page by page the same.
    paged, cursor = [], ""
    while cursor is not None:
        page = person.request("GET", f"/api/tokens/transactions?limit=2{cursor}").data
        paged += page["transactions"]
        cursor = page["nextCursor"] and f"&cursor={page['nextCursor']}"
    assert [(entry["amount"], entry["description"]) for entry in reversed(paged)] == got
    # The bonus of the day was the device's: the person has had it.
    assert person.request("POST", "/api/tokens").code == "bonus_already_claimed"
    assert device.post("/api/tokens").code == "bonus_already_claimed"

    export = person.request("GET", "/api/user/export").body
    lines = [json.loads(line) for line in export.splitlines()]
    count = lambda kind: sum(line["type"] == kind for line in lines)  # noqa: E731
    assert lines[-1] == {"type": "end", "lines": len(lines) - 1}
    assert {kind: count(kind) for kind in ("generation", "transaction", "usage", "payment",
                                           "subscription", "user")} == {
        "generation": 4, "transaction": 6, "usage": 5, "payment": 1, "subscription": 1, "user": 1}
    assert {line["identity"] for line in lines if line["type"] == "identity"} == {
        f"clerk:{person.subject}", f"device:{person.device_id}"}
    # A generation that moved can be deleted by its new owner, through either identity.
    assert person.request("DELETE", f"/api/generations/{made[0]}").status == 204
    assert device.delete(f"/api/generations/{mine}").status == 204


def test_bonuses_once(person, stack, clerk):
    """Both claimed today, and two devices: each bonus counts once."""
    of_device = person.device_client.post("/api/tokens").data["tokensAwarded"]
    of_account = person.request("POST", "/api/tokens").data["tokensAwarded"]
    person.link()
    balance = 10 + max(of_device, of_account)
    assert person.request("GET", "/api/tokens").data["balance"] == balance
    second = stack.client()
    assert second.get("/api/tokens").data["balance"] == 5
    person.link(second.device)
    assert person.request("GET", "/api/tokens").data["balance"] == balance
    assert second.get("/api/tokens").data["balance"] == balance
    second.close()


def test_what_was_spent_stays_spent(person, stack, cluster):
    """A doubled bonus is taken back as far as there are tokens; the balance is never negative."""
    person.device_client.get("/api/tokens")
    person.request("GET", "/api/tokens")
    for identity, amount in ((f"device:{person.device_id}", 4), (f"clerk:{person.subject}", 8)):
        cluster.query(stack.database_url, """
            UPDATE user_tokens SET balance = balance - %(n)s WHERE user_id = %(user)s;
            INSERT INTO token_transactions (user_id, id, amount, type, balance_after)
            SELECT user_id, gen_random_uuid(), -%(n)s, 'generation', balance FROM user_tokens
            WHERE user_id = %(user)s""", {"n": amount, "user": user_id(cluster, stack, identity)})
    assert person.link().status == 200
    assert person.request("GET", "/api/tokens").data["balance"] == 0
    assert entries(person.request("GET", "/api/tokens/transactions"))[-1] == (
        -3, "Бонус уже был начислен")


def test_two_subscriptions(person, stack, cluster):
    """The account's own active subscription stays the active one."""
    person.device_client.get("/api/tokens")
    person.request("GET", "/api/tokens")
    for identity, plan in ((f"device:{person.device_id}", "pro"),
                           (f"clerk:{person.subject}", "premium")):
        cluster.query(stack.database_url, "INSERT INTO subscriptions (user_id, plan, status) VALUES"
                      " (%s, %s, 'active'), (%s, 'pro', 'expired')",
                      (user_id(cluster, stack, identity), plan,
                       user_id(cluster, stack, identity)))
    assert person.link().status == 200
    assert person.request("GET", "/api/user").data["plan"] == "premium"
    assert cluster.query(
        stack.database_url,
        "SELECT plan, status FROM subscriptions WHERE user_id = %s ORDER BY 1, 2",
        (user_id(cluster, stack, f"clerk:{person.subject}"),)) == [
            ("premium", "active"), ("pro", "cancelled"), ("pro", "expired"), ("pro", "expired")]


def test_erase(person, stack, cluster):
    """Erasing a linked account erases every identity of it, and keeps the books."""
    second = stack.client()
    for client in (person.device_client, second):
        client.post("/api/generations", {"imageUrl": "https://img.example/secret"})
        assert person.link(client.device).status == 200
    account = user_id(cluster, stack, f"clerk:{person.subject}")
    people = [row[0] for row in cluster.query(
        stack.database_url, "SELECT id FROM users WHERE id = %s OR merged_into = %s",
        (account, account))]
    assert len(people) == 3
    books = cluster.query(stack.database_url, "SELECT id, amount FROM token_transactions"
                          " WHERE user_id::text = ANY(%s) ORDER BY 1, 2", (people,))
    assert person.request("DELETE", "/api/user").status == 204
    assert cluster.query(stack.database_url, "SELECT clerk_id, device_id, email, erased_at IS NULL"
                         " FROM users WHERE id::text = ANY(%s)", (people,)) == [
                             (None, None, None, False)] * 3
    for table in ("user_identities", "generations", "usage_logs"):
        assert cluster.value(stack.database_url, f"SELECT count(*) FROM {table}"
                             " WHERE user_id::text = ANY(%s)", (people,)) == 0
    assert cluster.query(stack.database_url, "SELECT id, amount FROM token_transactions"
                         " WHERE user_id::text = ANY(%s) ORDER BY 1, 2", (people,)) == books
    # An identity that comes back has a new account, each its own, and no second welcome bonus.
    ids = {client.get("/api/user").data["user"]["id"] for client in (person.device_client, second)}
    ids.add(person.request("GET", "/api/user").data["user"]["id"])
    assert len(ids) == 3 and not ids & set(people)
    assert {client.get("/api/tokens").data["balance"]
            for client in (person.device_client, second)} == {0}
    assert person.request("GET", "/api/tokens").data["balance"] == 0
    assert person.link().data == {"linked": True}
    second.close()


def test_erase_while_a_link_commits(person, stack, cluster):
    """An erasure that waited for a link erases the device that came with it."""
    person.device_client.get("/api/tokens")
    person.request("GET", "/api/tokens")
    device_id, subject = f"device:{person.device_id}", f"clerk:{person.subject}"
    device, account = (user_id(cluster, stack, name) for name in (device_id, subject))
    with cluster.connect(stack.database_url, autocommit=False) as linking:
        linking.cursor().execute("SELECT device_link(%s, %s, %s, %s)", (
            account, device, str(uuid.uuid4()), str(uuid.uuid4())))
        with ThreadPoolExecutor(1) as pool:
            erasing = pool.submit(person.request, "DELETE", "/api/user")
            wait_for_lock(cluster, stack.database_url)
            linking.commit()
            assert erasing.result().status == 204
    assert cluster.query(stack.database_url, "SELECT device_id, merged_into, erased_at IS NOT NULL"
                         " FROM users WHERE id = %s", (device,)) == [(None, account, True)]
    # The device has a new account now that works, without a second welcome bonus.
    answer = person.device_client.get("/api/tokens")
    assert answer.status == 200 and answer.data["balance"] == 0, answer
    assert person.device_client.post("/api/tokens").status == 200


PERSONAL = [
    ("GET", "/api/user", None), ("GET", "/api/user/export", None), ("DELETE", "/api/user", None),
    ("GET", "/api/payments", None), ("GET", f"/api/payments/{'0' * 44}", None),
    ("POST", "/api/payments/create", {"package": "small"}), ("GET", "/api/subscriptions", None),
    ("POST", "/api/subscriptions", {"plan": "pro"}), ("DELETE", "/api/subscriptions", None),
]


def test_a_linked_device_without_the_session(person, stack, cluster):
    """Balance, spending and images go on; what is about the person needs the session."""
    device = person.device_client
    for method, path, body in PERSONAL:
        if method == "GET":
            assert device.request(method, path, body=body).status in (200, 404)
    assert person.link().status == 200
    for method, path, body in PERSONAL:
        answer = device.request(method, path, body=body)
        assert (answer.status, answer.code) == (403, "sign_in_required"), (method, path, answer)
        if method == "GET":
            assert person.request(method, path, body=body).status in (200, 404)
    account = user_id(cluster, stack, f"clerk:{person.subject}")
    assert cluster.value(stack.database_url, "SELECT erased_at IS NULL FROM users WHERE id = %s",
                         (account,)) is True
    for method, path, body, status in (
            ("GET", "/api/tokens", None, 200), ("POST", "/api/tokens", None, 200),
            ("GET", "/api/tokens/transactions", None, 200), ("GET", "/api/stats", None, 200),
            ("GET", "/api/user/stats", None, 200), ("GET", "/api/usage", None, 200),
            ("POST", "/api/usage", {"action": "download"}, 201),
            ("GET", "/api/generations", None, 200),
            ("POST", "/api/generations", {"imageUrl": "https://img.example/1"}, 201)):
        assert device.request(method, path, body=body).status == status, (method, path)
    # With the session beside it, or before it was linked, a device is no obstacle.
    person.device = person.device_id
    assert person.request("GET", "/api/user").status == 200
    other = stack.client()
    assert other.get("/api/user").status == 200
    other.close()


def test_erase_by_a_device_while_it_is_linked(person, stack, cluster):
    """The erasure of a device that waited for its link does not erase the person's account."""
    person.device_client.get("/api/tokens")
    person.request("GET", "/api/tokens")
    device_id, subject = f"device:{person.device_id}", f"clerk:{person.subject}"
    device, account = (user_id(cluster, stack, name) for name in (device_id, subject))
    with cluster.connect(stack.database_url, autocommit=False) as linking:
        linking.cursor().execute("SELECT device_link(%s, %s, %s, %s)", (
            account, device, str(uuid.uuid4()), str(uuid.uuid4())))
        with ThreadPoolExecutor(1) as pool:
            erasing = pool.submit(person.device_client.delete, "/api/user")
            wait_for_lock(cluster, stack.database_url)
            linking.commit()
            answer = erasing.result()
    assert (answer.status, answer.code) == (403, "sign_in_required")
    assert cluster.query(stack.database_url, "SELECT count(*) FROM users WHERE id IN (%s, %s)"
                         " AND erased_at IS NOT NULL", (device, account)) == [(0,)]


def wait_for_lock(cluster, url):
    """Returns once somebody in the database waits for a lock."""
    wait_until(lambda: cluster.value(
        url, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock'"), 10, "somebody waits for a lock")
