"""/api/tokens: balance, daily bonus, transactions."""

import datetime
import re

import pytest

from tests.support.stack import new_device

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")


def fill_ledger(cluster, stack, client, count, step="1 second", kind="purchase"):
    """Adds entries to the client's ledger, one step apart, and returns how many there are now."""
    client.get("/api/tokens")
    cluster.query(stack.database_url, """
        WITH me AS (SELECT user_id FROM user_identities WHERE identity = 'device:' || %s)
        INSERT INTO token_transactions (user_id, id, amount, type, description, balance_after,
                                        created_at)
        SELECT me.user_id, gen_random_uuid(), 1, %s, 'n' || n, 5 + n,
               timestamp '2024-01-01' + n * %s::interval
        FROM me, generate_series(1, %s) n""", (client.device, kind, step, count))
    return count + 1


def pages(client, path, name, limit):
    """Every item of a list, page by page."""
    items, cursor, count = [], None, 0
    while True:
        separator = "&" if "?" in path else "?"
        query = f"{separator}limit={limit}" + (f"&cursor={cursor}" if cursor else "")
        data = client.get(path + query).data
        items += data[name]
        count += 1
        assert len(data[name]) <= limit and count < 1000
        cursor = data["nextCursor"]
        if cursor is None:
            return items
        assert len(data[name]) == limit


@pytest.mark.quick
def test_a_new_device_has_its_welcome_bonus(client):
    answer = client.get("/api/tokens")
    data = answer.data
    assert answer.status == 200
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    assert data == {
        "balance": 5, "lastBonusDate": None, "serverDate": today, "canClaimBonus": True,
        "freeGenerations": {"remaining": 0, "total": 0, "maxQuality": "1K"}, "plan": "free",
        "held": 0, "asOf": data["asOf"]}
    assert TIME.fullmatch(data["asOf"])


def test_nobody_may_store_a_balance(client):
    headers = client.get("/api/tokens?_t=1").headers
    assert headers["Cache-Control"] == "no-store, no-cache, must-revalidate, proxy-revalidate"
    assert headers["Pragma"] == "no-cache"
    assert headers["Expires"] == "0"


@pytest.mark.parametrize("query", ["?_t=1", "?", "?a=b&c", "?%zz", "?limit=0", "?x=%00"])
def test_any_query_string_is_accepted(client, query):
    assert client.get("/api/tokens" + query).status == 200


@pytest.mark.quick
def test_daily_bonus_once_a_day(client):
    answer = client.post("/api/tokens")
    data = answer.data
    assert answer.status == 200
    assert 1 <= data["tokensAwarded"] <= 10
    assert data["balance"] == 5 + data["tokensAwarded"]
    assert isinstance(data["message"], str) and data["message"]

    again = client.post("/api/tokens")
    assert again.status == 400
    assert again.code == "bonus_already_claimed"
    assert again.json["error"] == "Ежедневный бонус уже получен сегодня"

    after = client.get("/api/tokens").data
    assert after["balance"] == data["balance"]
    assert after["canClaimBonus"] is False
    assert after["lastBonusDate"] == after["serverDate"]


@pytest.mark.parametrize("body", [None, b"", b"{}", b"  ", {"anything": [1, {"x": None}]}])
def test_bonus_takes_any_or_no_body(client, body):
    assert client.post("/api/tokens", body).status == 200


def test_the_bonus_of_yesterday_does_not_count(client, stack, cluster):
    client.get("/api/tokens")
    cluster.query(stack.database_url, """
        UPDATE user_tokens SET last_bonus_date = (now() AT TIME ZONE 'utc')::date - 1
        WHERE user_id = (SELECT user_id FROM user_identities WHERE identity = 'device:' || %s)""",
                  (client.device,))
    assert client.post("/api/tokens").status == 200
    assert client.post("/api/tokens").status == 400


def test_amounts_of_the_bonus_cover_the_range(stack):
    client = stack.client()
    seen = set()
    for _ in range(120):
        client.device = new_device()
        seen.add(client.post("/api/tokens").data["tokensAwarded"])
    assert seen == set(range(1, 11))


def test_transactions_of_a_new_device(client):
    client.get("/api/tokens")
    data = client.get("/api/tokens/transactions").data
    [entry] = data["transactions"]
    assert data["nextCursor"] is None
    assert set(entry) == {"id", "amount", "type", "description", "balanceAfter", "createdAt"}
    assert (entry["amount"], entry["type"], entry["balanceAfter"]) == (5, "bonus", 5)
    assert TIME.fullmatch(entry["createdAt"])


def test_the_ledger_explains_the_balance(client):
    bonus = client.post("/api/tokens").data
    entries = client.get("/api/tokens/transactions").data["transactions"]
    assert [entry["amount"] for entry in entries] == [bonus["tokensAwarded"], 5]
    assert sum(entry["amount"] for entry in entries) == bonus["balance"]
    assert entries[0]["balanceAfter"] == bonus["balance"]


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
@pytest.mark.parametrize("step", ["1 second", "1 microsecond", "0 seconds"])
def test_pages_lose_and_repeat_nothing(client, stack, cluster, limit, step):
    """Also when many entries have the same created_at."""
    total = fill_ledger(cluster, stack, client, 25, step)
    entries = pages(client, "/api/tokens/transactions", "transactions", limit)
    assert len(entries) == total
    assert len({entry["id"] for entry in entries}) == total
    times = [entry["createdAt"] for entry in entries]
    assert times == sorted(times, reverse=True)


def test_default_and_largest_page(client, stack, cluster):
    fill_ledger(cluster, stack, client, 120)
    assert len(client.get("/api/tokens/transactions").data["transactions"]) == 50
    assert len(client.get("/api/tokens/transactions?limit=100").data["transactions"]) == 100


def test_an_entry_that_comes_in_between_moves_no_page(client, stack, cluster):
    fill_ledger(cluster, stack, client, 10)
    first = client.get("/api/tokens/transactions?limit=4").data
    client.post("/api/tokens")
    rest = client.get(
        f"/api/tokens/transactions?limit=100&cursor={first['nextCursor']}").data["transactions"]
    seen = {entry["id"] for entry in first["transactions"]} | {entry["id"] for entry in rest}
    assert len(seen) == 11 and len(rest) == 7


@pytest.mark.parametrize("kind,count", [("bonus", 1), ("purchase", 3), ("refund", 0),
                                        ("generation", 0)])
def test_filter_by_type(client, stack, cluster, kind, count):
    fill_ledger(cluster, stack, client, 3)
    entries = client.get(f"/api/tokens/transactions?type={kind}").data["transactions"]
    assert [entry["type"] for entry in entries] == [kind] * count


@pytest.mark.parametrize("query,expected", [
    ("from=2024-01-01T00:00:03Z", 4),
    ("from=2024-01-01T00:00:03Z&to=2024-01-01T00:00:05Z", 2),
    ("to=2024-01-01T00:00:01Z", 0),
    ("to=2024-01-02T00:00:00Z", 5),
    ("from=2024-01-01&to=2024-01-02", 5),
    ("from=2024-01-01T03:00:03%2B03:00&to=2024-01-02", 3),
])
def test_filter_by_time(client, stack, cluster, query, expected):
    fill_ledger(cluster, stack, client, 5)
    assert len(client.get(f"/api/tokens/transactions?{query}").data["transactions"]) == expected


def test_filters_hold_on_every_page(client, stack, cluster):
    fill_ledger(cluster, stack, client, 9)
    fill_ledger(cluster, stack, client, 9, kind="refund")
    path = "/api/tokens/transactions?type=refund&from=2024-01-01T00:00:04Z"
    entries = pages(client, path, "transactions", 2)
    assert [entry["type"] for entry in entries] == ["refund"] * 6


@pytest.mark.parametrize("query,field", [
    ("type=gift", "type"), ("type=", "type"), ("from=yesterday", "from"), ("to=2024-13-01", "to"),
    ("from=2024-02-30", "from"), ("to=%00", "to"), ("from=%D1", "from"),
    ("from=" + "9" * 300, "from"),
])
def test_a_bad_filter_is_named(client, query, field):
    answer = client.get(f"/api/tokens/transactions?{query}")
    assert answer.status == 400
    assert (answer.code, answer.json["field"]) == ("invalid_parameter", field)


def test_somebody_elses_entries_are_not_seen(client, stack, cluster):
    fill_ledger(cluster, stack, client, 5)
    cursor = client.get("/api/tokens/transactions?limit=2").data["nextCursor"]
    other = stack.client()
    other.get("/api/tokens")
    answer = other.get(f"/api/tokens/transactions?cursor={cursor}")
    assert answer.data["transactions"] == []
