"""/api/usage and the rate limits of users."""

import datetime

import pytest

from tests.handlers.test_generations import IMAGE
from tests.handlers.test_tokens import TIME


def parse(time):
    """A time of the contract."""
    assert TIME.fullmatch(time)
    return datetime.datetime.fromisoformat(time.replace("Z", "+00:00"))


@pytest.mark.quick
def test_record_and_read(client):
    before = datetime.datetime.now(datetime.timezone.utc)
    answer = client.post("/api/usage", {"action": "download"})
    assert answer.status == 201
    assert answer.data["remaining"] == 59
    wait = parse(answer.data["resetAt"]) - before
    assert datetime.timedelta(seconds=55) < wait < datetime.timedelta(seconds=65)
    assert answer.headers["RateLimit"].startswith("limit=60, remaining=59, reset=")
    assert client.get("/api/usage").data == {
        "today": {"generation": 0, "download": 1},
        "limits": {"generationsPerMinute": 10, "downloadsPerMinute": 60}}


def assert_limited(answer, limit):
    assert answer.status == 429
    whole = answer.json
    wait = whole["waitTime"]
    assert whole == {"success": False, "error": "Rate limit exceeded", "code": "rate_limited",
                     "message": f"Please wait {wait} seconds", "waitTime": wait}
    assert 1 <= wait <= 60
    assert answer.headers["Retry-After"] == str(wait)
    assert answer.headers["RateLimit"] == f"limit={limit}, remaining=0, reset={wait}"


@pytest.mark.quick
def test_downloads_a_minute(client):
    remaining = [client.post("/api/usage", {"action": "download"}).data["remaining"]
                 for _ in range(60)]
    assert remaining == list(range(59, -1, -1))
    assert_limited(client.post("/api/usage", {"action": "download"}), 60)
    assert client.get("/api/usage").data["today"]["download"] == 60


def test_generations_a_minute(client):
    for _ in range(10):
        assert client.post("/api/generations", {"imageUrl": IMAGE}).status == 201
    assert_limited(client.post("/api/generations", {"imageUrl": IMAGE}), 10)
    assert client.get("/api/generations").data["total"] == 10
    # Another action has its own count.
    assert client.post("/api/usage", {"action": "download"}).status == 201


def test_the_window_moves(client, stack, cluster):
    for _ in range(10):
        client.post("/api/generations", {"imageUrl": IMAGE})
    me = client.get("/api/user").data["user"]["id"]
    cluster.query(stack.database_url, "UPDATE usage_logs SET created_at = created_at - interval"
                                      " '55 seconds' WHERE user_id = %s", (me,))
    answer = client.post("/api/generations", {"imageUrl": IMAGE})
    assert_limited(answer, 10)
    assert answer.json["waitTime"] <= 5
    cluster.query(stack.database_url, "UPDATE usage_logs SET created_at = created_at - interval"
                                      " '5 seconds' WHERE user_id = %s", (me,))
    assert client.post("/api/generations", {"imageUrl": IMAGE}).status == 201


def test_a_refused_request_does_not_count(client):
    for _ in range(15):
        client.post("/api/generations", {"imageUrl": ""})
        client.post("/api/usage", {"action": "nothing"})
    assert client.get("/api/usage").data["today"] == {"generation": 0, "download": 0}


def test_the_limit_is_each_users_own(client, stack):
    for _ in range(60):
        client.post("/api/usage", {"action": "download"})
    assert client.post("/api/usage", {"action": "download"}).status == 429
    assert stack.client().post("/api/usage", {"action": "download"}).status == 201


def test_an_operator_changes_a_limit_without_a_build(cluster, database, make_handler):
    cluster.query(database, "UPDATE app_settings SET value = 2 WHERE name = 'downloads_per_minute'")
    handler = make_handler("usage", POSTGRES_URL=database)
    statuses = [handler.request("POST", "/api/usage", device="device_settings_0000001",
                                body={"action": "download"}).status for _ in range(3)]
    assert statuses == [201, 201, 429]


def test_an_operator_switches_off(cluster, database, make_handler):
    cluster.query(database, "UPDATE app_settings SET value = 0 WHERE name = 'downloads_per_minute'")
    handler = make_handler("usage", POSTGRES_URL=database)
    answer = handler.request("POST", "/api/usage", device="device_settings_0000001",
                             body={"action": "download"})
    assert answer.status == 429
