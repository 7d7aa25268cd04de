"""/api/ledger through nginx: movements, bad input, keys, reversals, many at once."""

import pytest

from tests.support.service import ALL_SCOPES, BAD_AMOUNTS, INT_MAX, NOBODY, Service, agree


# --- movements ---

@pytest.mark.quick
def test_spend_and_grant(service, user, client):
    spent = service.post("spend", {"userId": user, "amount": 3, "description": "портрет"})
    assert spent.status == 201 and spent.data["balance"] == 2
    assert client.get("/api/tokens").data["balance"] == 2, "the cached balance is gone at once"
    granted = service.post("grant", {"userId": user, "amount": 50, "type": "refund"})
    assert granted.status == 201 and granted.data["balance"] == 52
    assert client.get("/api/tokens").data["balance"] == 52
    entries = client.get("/api/tokens/transactions").data["transactions"]
    assert [(e["amount"], e["type"], e["description"], e["balanceAfter"]) for e in entries[:2]] == [
        (50, "refund", None, 52), (-3, "generation", "портрет", 2)]
    assert [e["id"] for e in entries[:2]] == [
        granted.data["transactionId"], spent.data["transactionId"]]


@pytest.mark.parametrize("kind", ["purchase", "bonus", "refund"])
def test_types_of_grants(service, user, kind):
    assert service.post("grant", {"userId": user, "amount": 1, "type": kind}).status == 201
    assert service.get(f"users/{user}").data["entries"][0]["type"] == kind


def test_not_enough(service, user, client):
    answer = service.spend(user, 6)
    assert (answer.status, answer.code) == (402, "insufficient_tokens")
    assert answer.json["data"] == {"balance": 5}
    assert client.get("/api/tokens").data["balance"] == 5
    answer = service.hold(user, INT_MAX)
    assert (answer.status, answer.code, answer.json["data"]) == (
        402, "insufficient_tokens", {"balance": 5})


def test_limit_of_a_balance(service, user):
    answer = service.grant(user, INT_MAX - 4)
    assert (answer.status, answer.code) == (422, "balance_limit")
    assert service.grant(user, INT_MAX - 5).data["balance"] == INT_MAX
    assert service.grant(user, 1).code == "balance_limit"
    spent = service.spend(user, 10).data
    assert service.grant(user, 10).status == 201
    answer = service.post(f"transactions/{spent['transactionId']}/reverse")
    assert (answer.status, answer.code) == (422, "balance_limit")
    agree(service)


# --- what bad input gets ---

@pytest.mark.parametrize("path, rest", [
    ("spend", {}), ("grant", {"type": "bonus"}), ("holds", {"ttlSeconds": 60})])
@pytest.mark.parametrize("amount", BAD_AMOUNTS, ids=repr)
def test_bad_amounts(service, user, path, rest, amount):
    answer = service.post(path, {"userId": user, "amount": amount, **rest})
    assert (answer.status, answer.code, answer.json["field"]) == (400, "invalid_field", "amount")


@pytest.mark.parametrize("path, change, field", [
    ("spend", {"userId": None}, "userId"), ("spend", {"userId": "me"}, "userId"),
    ("spend", {"userId": 7}, "userId"), ("spend", {"userId": NOBODY + "0"}, "userId"),
    ("spend", {"description": 7}, "description"), ("spend", {"description": "x" * 501},
                                                   "description"),
    ("grant", {"type": None}, "type"), ("grant", {"type": "generation"}, "type"),
    ("grant", {"type": "gift"}, "type"), ("grant", {"type": 1}, "type"),
    ("holds", {"ttlSeconds": None}, "ttlSeconds"), ("holds", {"ttlSeconds": 0}, "ttlSeconds"),
    ("holds", {"ttlSeconds": 86401}, "ttlSeconds"), ("holds", {"ttlSeconds": "60"}, "ttlSeconds"),
], ids=repr)
def test_bad_fields(service, user, path, change, field):
    body = {"userId": user, "amount": 1, "type": "bonus", "ttlSeconds": 60, **change}
    answer = service.post(path, body)
    assert (answer.status, answer.code, answer.json["field"]) == (400, "invalid_field", field)


@pytest.mark.parametrize("body", [
    b"{", b"[]", b"{} x", b'{"amount":1,"amount":1}', b'{"userId":"\xff"}', b'"x"'], ids=repr)
def test_bad_json(service, user, body):
    hold = service.hold(user, 1).data["holdId"]
    for path in ("spend", "grant", "holds", f"holds/{hold}/capture", "batch"):
        answer = service.post(path, body)
        assert (answer.status, answer.code) == (400, "malformed_json"), path


def test_text_is_text(service, user):
    text = "'; DROP TABLE users; -- \u2028 😀 \\"
    service.post("spend", {"userId": user, "amount": 1, "description": text})
    assert service.get(f"users/{user}").data["entries"][0]["description"] == text
    assert service.post("spend", {"userId": user, "amount": 1, "description": "x\0"}).status == 400


def test_unknown_user(service):
    for path, rest in (("spend", {}), ("grant", {"type": "bonus"}), ("holds", {"ttlSeconds": 9})):
        answer = service.post(path, {"userId": NOBODY, "amount": 1, **rest})
        assert (answer.status, answer.code) == (404, "user_not_found"), path
    for name in (NOBODY, "me", "%27--"):
        answer = service.get(f"users/{name}")
        assert (answer.status, answer.code) == (404, "user_not_found"), name


def test_an_erased_person_has_no_account(service, user, client):
    assert client.delete("/api/user").status == 204
    assert service.grant(user, 1).code == "user_not_found"
    assert service.get(f"users/{user}").code == "user_not_found"


@pytest.mark.parametrize("ident", [NOBODY, "x", "A" * 43, "A" * 300, "%00", "..%2f.."])
def test_unknown_hold_or_entry(service, ident):
    for path in (f"holds/{ident}/capture", f"holds/{ident}/release",
                 f"transactions/{ident}/reverse"):
        answer = service.post(path)
        assert answer.status in (400, 404) and answer.code in ("bad_request", "not_found"), path
    assert service.post(f"holds/{'A' * 43}/capture").status == 404


def test_methods_and_paths(service):
    for method, path in (("GET", "spend"), ("DELETE", "batch"), ("POST", "verify"),
                         ("POST", f"users/{NOBODY}")):
        answer = service.request(method, "/api/ledger/" + path)
        assert answer.status == 405 and answer.headers["Allow"], path
    for path in ("", "nothing", "spend/", "holds/x", "holds/x/y", "transactions/x", "users/a/b"):
        assert service.get(path).code == "not_found", path


# --- keys ---

@pytest.mark.parametrize("credentials", [
    None, "Service", "Service ", "Service wrong", "Service " + "A" * 43, "Service " + "A" * 5000,
    "Bearer x", "Device device_0123456789abcdef"])
def test_without_a_good_key(service, user, credentials):
    for method, path in (("POST", "spend"), ("POST", "batch"), ("GET", "verify"),
                         ("GET", f"users/{user}"), ("POST", f"holds/{'A' * 43}/release")):
        answer = service.request(method, "/api/ledger/" + path, {} if method == "POST" else None,
                                 Authorization=credentials)
        assert (answer.status, answer.code) == (401, "unauthorized"), path


def test_a_service_is_no_person(service):
    assert service.request("GET", "/api/tokens").status == 401


def operations(user):
    """One request a scope: path and body."""
    item = {"operationId": "a", "userId": user, "amount": 1}
    return {
        "spend": [("spend", {"userId": user, "amount": 1}),
                  ("batch", {"operations": [{**item, "kind": "spend"}]})],
        "grant": [("grant", {"userId": user, "amount": 1, "type": "bonus"})],
        "hold": [("holds", {"userId": user, "amount": 1, "ttlSeconds": 1}),
                 (f"holds/{'A' * 43}/capture", {}), (f"holds/{'A' * 43}/release", {})],
        "reverse": [(f"transactions/{'A' * 43}/reverse", {})],
        "read": [(f"users/{user}", None)], "verify": [("verify", None)],
    }


@pytest.mark.parametrize("scope", ALL_SCOPES.split(","))
def test_scopes(stack, user, scope):
    service = Service(stack, f"only-{scope}", scope)
    for wanted, requests in operations(user).items():
        for path, body in requests:
            answer = service.request("GET" if body is None else "POST", "/api/ledger/" + path,
                                     body)
            if wanted == scope:
                assert answer.status in (200, 201, 404), path
            else:
                assert (answer.status, answer.code) == (403, "forbidden"), path


def test_scope_of_a_grant_in_a_batch(stack, user):
    service = Service(stack, "no-grant", "spend")
    results = service.post("batch", {"operations": [
        {"operationId": "1", "kind": "grant", "userId": user, "amount": 1, "type": "bonus"},
        {"operationId": "2", "kind": "spend", "userId": user, "amount": 1}]}).data["results"]
    assert [(r["status"], r.get("code")) for r in results] == [(403, "forbidden"), (201, None)]


@pytest.mark.quick
def test_a_revoked_key_is_refused_at_once(stack, user):
    for number in range(3):
        service = Service(stack, f"revoked-{number}")
        assert service.get(f"users/{user}").status == 200, "it is in the cache now"
        assert stack.run("service-key", "revoke", service.name).returncode == 0
        answer = service.get(f"users/{user}")
        assert (answer.status, answer.code) == (401, "unauthorized")


def test_service_key_script(stack, cluster):
    done = stack.run("service-key", "create", "of-the-script", "spend,read")
    key = done.stdout.splitlines()[-1]
    assert len(key) == 43
    kept = cluster.query(stack.database_url, "SELECT * FROM service_keys WHERE name = %s",
                         ("of-the-script",))
    assert key not in repr(kept), "only a digest is kept"
    listed = stack.run("service-key", "list").stdout
    assert "of-the-script" in listed and "spend,read" in listed and key not in listed
    assert stack.run("service-key", "create", "of-the-script").returncode != 0
    assert stack.run("service-key", "revoke", "of-the-script").returncode == 0
    again = stack.run("service-key", "create", "of-the-script")
    assert again.returncode != 0, "a name is used once"
    assert stack.run("service-key", "revoke", "no-such-key").returncode != 0
    for arguments in (["create", "UPPER"], ["create", ""], ["create", "n", "fly"], ["x"], []):
        assert stack.run("service-key", *arguments).returncode not in (0, 127), arguments
    assert key not in stack.all_logs()


# --- reversals ---

def test_reverse(service, user, client):
    spent = service.spend(user, 3).data["transactionId"]
    answer = service.post(f"transactions/{spent}/reverse")
    assert answer.status == 201 and answer.data["balance"] == 5
    assert client.get("/api/tokens").data["balance"] == 5
    entry = service.get(f"users/{user}").data["entries"][0]
    assert (entry["id"], entry["amount"], entry["type"]) == (
        answer.data["transactionId"], 3, "refund")
    for again in (spent, answer.data["transactionId"]):
        answer = service.post(f"transactions/{again}/reverse")
        assert (answer.status, answer.code) == (409, "already_reversed")
    agree(service)


def test_reverse_of_a_grant_needs_the_tokens(service, user):
    granted = service.grant(user, 10).data["transactionId"]
    service.spend(user, 12)
    answer = service.post(f"transactions/{granted}/reverse")
    assert (answer.status, answer.code, answer.json["data"]) == (
        402, "insufficient_tokens", {"balance": 3})
    service.grant(user, 7)
    assert service.post(f"transactions/{granted}/reverse").data["balance"] == 0


def test_reverse_of_a_capture(service, user):
    hold = service.hold(user, 4).data["holdId"]
    captured = service.post(f"holds/{hold}/capture").data["transactionId"]
    assert service.post(f"transactions/{captured}/reverse").data["balance"] == 5


# --- many at once ---

@pytest.mark.quick
def test_200_threads_spend_what_pays_for_50(service, user, client):
    service.grant(user, 45)
    answers = service.at_once([lambda own: service.spend(user, 1, client=own)] * 200)
    statuses = [answer.status for answer in answers]
    assert (statuses.count(201), statuses.count(402)) == (50, 150)
    assert sorted(a.data["balance"] for a in answers if a.status == 201) == list(range(50))
    assert client.get("/api/tokens").data["balance"] == 0
    agree(service)


@pytest.mark.parametrize("path, rest", [
    ("spend", {}), ("grant", {"type": "bonus"}), ("holds", {"ttlSeconds": 600})])
def test_200_requests_with_one_key(service, user, cluster, stack, path, rest):
    body = {"userId": user, "amount": 1, **rest}
    answers = service.at_once([
        lambda own: service.post(path, body, key="one-key", client=own)] * 200)
    good = [answer for answer in answers if answer.status == 201]
    assert good and len({answer.body for answer in good}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in good) == 1
    for answer in answers:
        assert answer.status == 201 or answer.code == "idempotency_in_progress"
    table = "token_holds" if path == "holds" else "token_transactions"
    count = cluster.value(stack.database_url, f"SELECT count(*) FROM {table} WHERE user_id = %s",
                          (user,))
    assert count == (1 if path == "holds" else 2), "one, and the welcome bonus"
    agree(service)
