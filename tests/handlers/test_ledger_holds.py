"""Holds of /api/ledger: captured, released, expired, listed."""

import datetime

import pytest

from tests.support.process import wait_until
from tests.support.service import BAD_AMOUNTS, NOBODY, agree, new_account


# --- holds ---

def test_hold_and_capture(service, user, client):
    hold = service.hold(user, 3).data
    assert (hold["balance"], hold["held"]) == (2, 3)
    status = client.get("/api/tokens").data
    assert (status["balance"], status["held"]) == (2, 3)
    assert service.spend(user, 3).json["data"] == {"balance": 2}
    captured = service.post(f"holds/{hold['holdId']}/capture", {"amount": 1})
    assert captured.status == 200 and captured.data["balance"] == 4
    status = client.get("/api/tokens").data
    assert (status["balance"], status["held"]) == (4, 0)
    entry = service.get(f"users/{user}").data["entries"][0]
    assert (entry["id"], entry["amount"]) == (captured.data["transactionId"], -1)
    for verb in ("capture", "release"):
        answer = service.post(f"holds/{hold['holdId']}/{verb}")
        assert (answer.status, answer.code) == (409, "hold_not_pending"), verb
    agree(service)


@pytest.mark.parametrize("body", [None, b"", {}, {"amount": None}, {"amount": 3}], ids=repr)
def test_capture_of_all(service, user, body):
    hold = service.hold(user, 3).data["holdId"]
    assert service.post(f"holds/{hold}/capture", body).data["balance"] == 2


@pytest.mark.parametrize("amount", [value for value in BAD_AMOUNTS if value is not None] + [4],
                         ids=repr)
def test_bad_capture(service, user, amount):
    hold = service.hold(user, 3).data["holdId"]
    answer = service.post(f"holds/{hold}/capture", {"amount": amount})
    assert (answer.status, answer.code, answer.json["field"]) == (400, "invalid_field", "amount")
    assert service.post(f"holds/{hold}/release").data["balance"] == 5


def test_release(service, user, client):
    hold = service.hold(user, 5).data["holdId"]
    assert client.get("/api/tokens").data["balance"] == 0
    for _ in range(2):
        answer = service.post(f"holds/{hold}/release")
        assert answer.status == 200 and answer.data == {"balance": 5}
        assert client.get("/api/tokens").data["balance"] == 5
    answer = service.post(f"holds/{hold}/capture")
    assert (answer.status, answer.code) == (409, "hold_not_pending")


def test_one_hold_in_every_state(service, user, stack, cluster):
    what = {"userId": user, "amount": 1, "ttlSeconds": 600, "description": "портрет"}
    waiting = service.post("holds", what).data
    expected = {"holdId": waiting["holdId"], "userId": user, "status": "pending", "amount": 1,
                "captured": None, "transactionId": None, "description": "портрет",
                "expiresAt": waiting["expiresAt"]}
    found = service.get("holds/" + waiting["holdId"]).data["hold"]
    assert found.pop("createdAt") < waiting["expiresAt"]
    assert found == expected

    taken = service.hold(user, 2).data["holdId"]
    entry = service.post(f"holds/{taken}/capture", {"amount": 1}).data["transactionId"]
    found = service.get("holds/" + taken).data["hold"]
    assert (found["status"], found["amount"], found["captured"], found["transactionId"]) == (
        "captured", 2, 1, entry)

    free = service.hold(user, 1).data["holdId"]
    service.post(f"holds/{free}/release")
    assert service.get("holds/" + free).data["hold"]["status"] == "released"

    late = service.hold(user, 1, ttl=1).data["holdId"]
    wait_until(lambda: service.get("holds/" + late).data["hold"]["status"] == "expired", 5,
               "from that moment, swept or not")
    service.spend(user, 1)  # sweeps what expired of this account
    wait_until(lambda: cluster.value(
        stack.database_url, "SELECT count(*) FROM token_holds WHERE user_id = %s"
        " AND status = 'pending'", (user,)) == 1, 20, "it is swept")
    assert service.get("holds/" + late).data["hold"]["status"] == "expired"

    assert [hold["holdId"] for hold in service.get(f"users/{user}/holds").data["holds"]] == [
        late, free, taken, waiting["holdId"]], "newest first"
    for status, hold in (("pending", waiting["holdId"]), ("captured", taken), ("released", free),
                         ("expired", late)):
        page = service.get(f"users/{user}/holds?status={status}").data
        assert [found["holdId"] for found in page["holds"]] == [hold]
        assert page["nextCursor"] is None


def test_pages_of_holds(service, user, stack):
    made = [service.hold(user, 1).data["holdId"] for _ in range(5)]
    found, cursor = [], ""
    while cursor is not None:
        page = service.get(f"users/{user}/holds?limit=2&status=pending{cursor}").data
        found += [hold["holdId"] for hold in page["holds"]]
        assert len(page["holds"]) <= 2
        last, cursor = cursor, page["nextCursor"] and f"&cursor={page['nextCursor']}"
    assert found == made[::-1]
    # Of this list and this account alone.
    for path in (f"users/{user}?limit=2", f"users/{new_account(stack)}/holds?limit=2"):
        answer = service.get(path + last)
        assert (answer.status, answer.code, answer.json["field"]) == (
            400, "invalid_parameter", "cursor")


@pytest.mark.parametrize("query,field", [
    ("status=", "status"), ("status=open", "status"), ("status=PENDING", "status"),
    ("status=" + "x" * 100, "status"), ("status=%FF", "status"), ("limit=0", "limit"),
    ("cursor=x", "cursor")])
def test_bad_queries_of_holds(service, user, query, field):
    answer = service.get(f"users/{user}/holds?{query}")
    assert (answer.status, answer.code, answer.json["field"]) == (400, "invalid_parameter", field)


def test_holds_that_are_not_there(service, user):
    assert service.get(f"users/{user}/holds").data == {"holds": [], "nextCursor": None}
    for ident in (NOBODY, "x"):
        answer = service.get(f"users/{ident}/holds")
        assert (answer.status, answer.code) == (404, "user_not_found")
    for ident in ("x", "A" * 43):
        answer = service.get("holds/" + ident)
        assert (answer.status, answer.code) == (404, "not_found")


def test_an_expired_hold_is_released(service, user, client, stack, cluster):
    for ttl in (1, 2, 4, 8, 16):  # a busy machine may look at it too late
        hold = service.hold(user, 5, ttl=ttl).data
        held = client.get("/api/tokens").data["held"]
        if held:
            break
    assert held == 5
    expires = datetime.datetime.fromisoformat(hold["expiresAt"].rstrip("Z") + "+00:00")
    wait_until(lambda: datetime.datetime.now(datetime.timezone.utc) > expires, 20, "it expires")
    assert client.get("/api/tokens").data["balance"] == 5, "from that moment, swept or not"
    assert service.get(f"users/{user}").data["balance"] == 5
    answer = service.post(f"holds/{hold['holdId']}/capture")
    assert (answer.status, answer.code) == (409, "hold_not_pending")
    assert service.spend(user, 5).status == 201
    assert service.post(f"holds/{hold['holdId']}/release").status == 200

    swept = service.hold(new_account(stack), 1, ttl=1).data["holdId"]
    wait_until(lambda: cluster.value(
        stack.database_url, "SELECT count(*) FROM token_holds WHERE status = 'pending'"
        " AND expires_at < now() AT TIME ZONE 'utc'") == 0 and cluster.value(
            stack.database_url, "SELECT count(*) FROM token_holds WHERE status = 'pending'"
            " AND expires_at < (now() AT TIME ZONE 'utc') + interval '1 second'") == 0,
               20, f"the background sweep releases {swept}")
    agree(service)


# --- many at once ---

def test_captures_and_releases_at_once(service, user):
    for number in range(5):
        service.grant(user, 1)
        hold = service.hold(user, 1).data["holdId"]
        answers = service.at_once([
            lambda own, verb=verb, hold=hold: service.post(f"holds/{hold}/{verb}", client=own)
            for verb in ["capture", "release"] * 8])
        captured = sum(answer.status == 200 for answer in answers[::2])
        released = sum(answer.status == 200 for answer in answers[1::2])
        assert (captured, released) in ((1, 0), (0, 8)), number
    agree(service)
