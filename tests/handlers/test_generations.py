"""/api/generations: create, list, delete."""

import re
import uuid

import pytest

from tests.handlers.test_tokens import TIME, pages

IMAGE = "https://images.example/1.png"


def fill_history(cluster, stack, client, count, step="1 second"):
    """Adds generations to the client's history, one step apart."""
    client.get("/api/tokens")
    cluster.query(stack.database_url, """
        INSERT INTO generations (user_id, id, image_url, created_at)
        SELECT i.user_id, gen_random_uuid(), 'n' || n, timestamp '2024-01-01' + n * %s::interval
        FROM user_identities i, generate_series(1, %s) n
        WHERE i.identity = 'device:' || %s""", (step, count, client.device))


@pytest.mark.quick
def test_create_list_delete(client):
    body = {"imageUrl": IMAGE, "promptUsed": "a cat", "trend": "retro", "quality": "2K"}
    answer = client.post("/api/generations", body)
    assert answer.status == 201
    created = answer.data["generation"]
    assert created == {
        "id": created["id"], "user_id": client.get("/api/user").data["user"]["id"],
        "image_url": IMAGE, "prompt_used": "a cat", "trend": "retro", "quality": "2K",
        "status": "completed", "error_message": None, "created_at": created["created_at"],
        "updated_at": created["updated_at"]}
    uuid.UUID(created["id"])
    assert TIME.fullmatch(created["created_at"]) and TIME.fullmatch(created["updated_at"])

    listed = client.get("/api/generations").data
    assert listed == {"generations": [created], "total": 1, "nextCursor": None}

    deleted = client.delete(f"/api/generations/{created['id']}")
    assert (deleted.status, deleted.body) == (204, b"")
    assert client.get("/api/generations").data == {
        "generations": [], "total": 0, "nextCursor": None}
    again = client.delete(f"/api/generations/{created['id']}")
    assert (again.status, again.code) == (404, "not_found")


def test_only_the_image_is_needed(client):
    created = client.post("/api/generations", {"imageUrl": IMAGE}).data["generation"]
    assert created["image_url"] == IMAGE
    assert (created["prompt_used"], created["trend"], created["quality"]) == (None, None, None)


@pytest.mark.parametrize("body", [
    {}, {"imageUrl": ""}, {"imageUrl": None}, {"promptUsed": "x"}, {"imageurl": IMAGE}])
def test_without_an_image(client, body):
    answer = client.post("/api/generations", body)
    assert answer.status == 400
    assert answer.json["error"] == "imageUrl is required"


def test_unknown_fields_are_ignored(client):
    body = {"imageUrl": IMAGE, "user_id": str(uuid.uuid4()), "id": str(uuid.uuid4()),
            "status": "failed", "x": {"y": [1, 2, {"z": None}]}}
    created = client.post("/api/generations", body).data["generation"]
    assert created["status"] == "completed"
    assert created["id"] != body["id"] and created["user_id"] != body["user_id"]


@pytest.mark.parametrize("field,value", [
    ("imageUrl", 1), ("imageUrl", True), ("imageUrl", ["x"]), ("imageUrl", {"a": 1}),
    ("imageUrl", 1.5), ("promptUsed", 7), ("promptUsed", []), ("promptUsed", "x" * 10001),
    ("promptUsed", "я" * 10001), ("trend", "t" * 51), ("trend", "ж" * 51), ("trend", False),
    ("quality", "8K"), ("quality", "1k"), ("quality", ""), ("quality", 1), ("quality", "1K,2K"),
    ("imageUrl", "x" * 8193),
])
def test_a_wrong_value_is_refused_by_name(client, field, value):
    answer = client.post("/api/generations", {"imageUrl": IMAGE, field: value})
    assert answer.status == 400
    assert (answer.code, answer.json["field"]) == ("invalid_field", field)
    assert client.get("/api/generations").data["total"] == 0


@pytest.mark.parametrize("field,value", [
    ("promptUsed", "x" * 10000), ("promptUsed", "\U0001f600" * 10000), ("trend", "ж" * 50),
    ("imageUrl", "x" * 8192), ("promptUsed", ""), ("promptUsed", "\"\\/\b\f\n\r\t\u2028\x7f"),
    ("promptUsed", "e\u0301 \u202e \U0010ffff \ufffd"),
])
def test_the_largest_and_the_strangest_text_comes_back(client, field, value):
    names = {"promptUsed": "prompt_used", "imageUrl": "image_url", "trend": "trend"}
    answer = client.post("/api/generations", {"imageUrl": IMAGE, field: value})
    assert answer.status == 201, answer
    created = answer.data["generation"]
    assert created[names[field]] == value
    assert client.get("/api/generations").data["generations"] == [created]


def test_somebody_elses_generation(stack, client):
    created = client.post("/api/generations", {"imageUrl": IMAGE}).data["generation"]
    other = stack.client()
    other.get("/api/tokens")
    answer = other.delete(f"/api/generations/{created['id']}")
    assert (answer.status, answer.code) == (404, "not_found")
    assert client.get("/api/generations").data["total"] == 1
    assert other.get("/api/generations").data["total"] == 0


def test_unknown_generation(client):
    assert client.delete(f"/api/generations/{uuid.uuid4()}").code == "not_found"


@pytest.mark.parametrize("given", [
    "1", "x", "00000000-0000-4000-8000-00000000000", "00000000-0000-4000-8000-0000000000000",
    "00000000-0000-4000-8000-00000000000g", "%27%3B%20DROP%20TABLE%20users%3B%20--", "a" * 2000,
    "%E2%82%AC", "00000000%2D0000-4000-8000-00000000000z", "..%2f..", "-", "%20", "%FF",
])
def test_a_bad_uuid(client, given):
    answer = client.delete(f"/api/generations/{given}")
    assert answer.status in (400, 404), answer
    if answer.status == 400:
        assert (answer.code, answer.json["field"]) == ("invalid_parameter", "id")
    else:
        assert "%2f" in given  # nginx decodes it: then it is another path
        assert answer.code == "not_found"


@pytest.mark.parametrize("limit", [1, 4, 100])
@pytest.mark.parametrize("step", ["1 second", "1 microsecond", "0 seconds"])
def test_pages_lose_and_repeat_nothing(client, stack, cluster, limit, step):
    fill_history(cluster, stack, client, 23, step)
    items = pages(client, "/api/generations", "generations", limit)
    assert len({item["id"] for item in items}) == len(items) == 23
    times = [item["created_at"] for item in items]
    assert times == sorted(times, reverse=True)
    if step == "1 second":
        assert [item["image_url"] for item in items] == [f"n{n}" for n in range(23, 0, -1)]


def test_what_is_deleted_between_pages_moves_nothing(client, stack, cluster):
    fill_history(cluster, stack, client, 10)
    first = client.get("/api/generations?limit=5").data
    for item in first["generations"][2:]:
        assert client.delete(f"/api/generations/{item['id']}").status == 204
    rest = client.get(f"/api/generations?limit=5&cursor={first['nextCursor']}").data
    assert [item["image_url"] for item in rest["generations"]] == ["n5", "n4", "n3", "n2", "n1"]


def test_a_cursor_of_another_list(client, stack, cluster):
    """A cursor names its list; the same list takes it, with any other parameters."""
    fill_history(cluster, stack, client, 3)
    cursor = client.get("/api/generations?limit=1").data["nextCursor"]
    assert client.get(f"/api/generations?limit=2&x=1&cursor={cursor}").status == 200
    for path in ("/api/tokens/transactions", "/api/payments"):
        answer = client.get(f"{path}?cursor={cursor}")
        assert (answer.status, answer.code, answer.json["field"]) == (
            400, "invalid_parameter", "cursor")


def test_somebody_elses_cursor_shows_only_ones_own(client, stack, cluster):
    fill_history(cluster, stack, client, 10)
    cursor = client.get("/api/generations?limit=5").data["nextCursor"]
    other = stack.client()
    fill_history(cluster, stack, other, 3)
    mine = {item["user_id"] for item in
            other.get(f"/api/generations?cursor={cursor}").data["generations"]}
    assert mine == {other.get("/api/user").data["user"]["id"]}


@pytest.mark.parametrize("path", ["/api/generations", "/api/tokens/transactions"])
@pytest.mark.parametrize("query,field", [
    ("limit=0", "limit"), ("limit=1e9", "limit"), ("limit=1000000000", "limit"),
    ("limit=101", "limit"), ("limit=-1", "limit"), ("limit=", "limit"), ("limit=x", "limit"),
    ("limit=1.5", "limit"), ("limit=0x10", "limit"), ("limit=99999999999999999999", "limit"),
    ("limit=5%00", "limit"), ("limit=%2B5x", "limit"), ("limit=5&limit=0", None),
    ("cursor=", "cursor"), ("cursor=x", "cursor"), ("cursor=%00", "cursor"),
    ("cursor=" + "A" * 39, "cursor"), ("cursor=" + "A" * 38, "cursor"),
    ("cursor=" + "/" * 39, "cursor"), ("cursor=" + "A" * 4000, "cursor"),
    ("cursor=%27%3B%20DROP%20TABLE%20users%3B%20--", "cursor"), ("cursor=%FF%FE", "cursor"),
])
def test_a_bad_limit_or_cursor(client, path, query, field):
    answer = client.get(f"{path}?{query}")
    if field is None:
        assert answer.status in (200, 400)
        return
    assert answer.status == 400, answer
    assert (answer.code, answer.json["field"]) == ("invalid_parameter", field)


def test_a_cursor_that_was_tampered_with_does_no_harm(client, stack, cluster):
    """Every single character changed: refused, or another position in one's own list."""
    fill_history(cluster, stack, client, 6)
    cursor = client.get("/api/generations?limit=3").data["nextCursor"]
    assert re.fullmatch(r"[A-Za-z0-9_-]+", cursor)
    me = client.get("/api/user").data["user"]["id"]
    for position in range(len(cursor)):
        for replacement in "AZ9_":
            changed = cursor[:position] + replacement + cursor[position + 1:]
            answer = client.get(f"/api/generations?limit=3&cursor={changed}")
            assert answer.status in (200, 400), answer
            if answer.status == 200:
                assert {item["user_id"] for item in answer.data["generations"]} <= {me}
                assert answer.data["total"] >= 0, (changed, answer.data["total"])
