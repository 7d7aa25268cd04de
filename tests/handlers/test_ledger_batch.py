"""POST /api/ledger/batch: many operations, each with a result of its own."""

import json

import pytest

from tests.support.service import INT_MAX, NOBODY, agree, item, new_account


@pytest.mark.quick
def test_batch_with_bad_ones_among_good(service, stack, user, client):
    other = new_account(stack)
    sent = [item(1, user, 2), item(2, other, 50, "grant"), item(3, user, 99), item(4, NOBODY),
            item(5, user, 0), item(6, user, kind="gift"), "text", {"kind": "spend"},
            item(9, other, INT_MAX, "grant"), item(10, user, type="x", kind="grant"),
            item(1, user, 2), item(1, user, 3), item(13, user, 3)]
    answer = service.post("batch", {"operations": sent})
    results = answer.data["results"]
    assert [(r["status"], r.get("balance"), r.get("code"), r.get("field")) for r in results] == [
        (201, 3, None, None), (201, 55, None, None), (402, 3, "insufficient_tokens", None),
        (404, None, "user_not_found", None), (400, None, "invalid_field", "amount"),
        (400, None, "invalid_field", "kind"), (400, None, "invalid_field", "operations"),
        (400, None, "invalid_field", "operationId"), (422, None, "balance_limit", None),
        (400, None, "invalid_field", "type"), (201, 3, None, None),
        (422, None, "idempotency_key_reused", None), (201, 0, None, None)]
    assert [r["operationId"] for r in results[:6]] == [f"op-{n}" for n in range(1, 7)]
    assert results[6]["operationId"] is None and results[7]["operationId"] is None
    assert results[0]["transactionId"] == results[10]["transactionId"]
    assert client.get("/api/tokens").data["balance"] == 0

    again = service.post("batch", {"operations": sent})
    for first, second in zip(results, again.data["results"]):
        assert first == second or first["status"] == second["status"] == 402
    assert service.get(f"users/{other}").data["balance"] == 55
    agree(service)


@pytest.mark.parametrize("operations, status, code", [
    ([], 400, "invalid_field"), (None, 400, "invalid_field"), ({}, 400, "invalid_field"),
    ("x", 400, "invalid_field"), ([{}] * 1001, 413, "batch_too_large")],
    ids=["none", "null", "object", "text", "1001"])
def test_size_of_a_batch(service, operations, status, code):
    answer = service.post("batch", {"operations": operations})
    assert (answer.status, answer.code) == (status, code)
    if status == 400:
        assert answer.json["field"] == "operations"


def test_a_thousand_in_a_batch(service, stack, client, user):
    others = [new_account(stack) for _ in range(9)] + [user]
    sent = [item(n, others[n % 10], 1000 + n, "grant", description="ж" * 100)
            for n in range(1000)]
    results = service.post("batch", {"operations": sent}).data["results"]
    assert [r["operationId"] for r in results] == [f"op-{n}" for n in range(1000)]
    assert {r["status"] for r in results} == {201}
    assert len({r["transactionId"] for r in results}) == 1000
    total = 5 + sum(1000 + n for n in range(9, 1000, 10))
    assert client.get("/api/tokens").data["balance"] == total
    assert service.post("batch", {"operations": sent}).data["results"] == results
    agree(service)


def test_four_thousand_at_once_in_four_batches(service, stack):
    users = [new_account(stack) for _ in range(4)]
    bodies = [{"operations": [item(f"{b}-{n}", users[(n + b) % 4], 1, "grant")
                              for n in range(1000)]} for b in range(4)]
    answers = service.at_once([
        lambda client, body=body: service.post("batch", body, client=client) for body in bodies])
    assert {r["status"] for answer in answers for r in answer.data["results"]} == {201}
    assert [service.get(f"users/{user}").data["balance"] for user in users] == [1005] * 4
    agree(service)


def test_body_cap_of_a_batch(service, user):
    head = json.dumps({"operations": [item(1, user)]}).encode()
    fits = head + b" " * (2**20 - len(head))
    assert service.post("batch", fits).data["results"][0]["status"] == 201
    answer = service.post("batch", fits + b" ")
    assert (answer.status, answer.code) == (413, "body_too_large")
    answer = service.post("spend", b" " * (64 * 1024 + 1))
    assert (answer.status, answer.code) == (413, "body_too_large")
