"""What /api/ledger tells: entries, balances at a time, and whether the books agree."""

import datetime

import pytest

from tests.support.service import agree, item


def test_balance_at_a_time(service, user):
    times = []
    for step in (lambda: service.spend(user, 1), lambda: service.hold(user, 2),
                 lambda: service.grant(user, 10)):
        assert step().status == 201
        times.append(datetime.datetime.now(datetime.timezone.utc))
    past = [service.get(f"users/{user}?at={moment.strftime('%Y-%m-%dT%H:%M:%S.%fZ')}").data
            for moment in times]
    assert [(p["balance"], p["held"], len(p["entries"])) for p in past] == [
        (4, 0, 2), (2, 2, 2), (12, 2, 3)]
    early = service.get(f"users/{user}?at=2020-01-01").data
    assert (early["balance"], early["held"], early["entries"]) == (0, 0, [])
    late = service.get(f"users/{user}?at=2999-01-01T00:00:00%2B03:00").data
    assert (late["balance"], len(late["entries"])) == (14, 3), "no hold is held until then"


@pytest.mark.parametrize("query", ["at=", "at=now", "at=2026-13-01", "at=1", "at=%00", "limit=0",
                                   "limit=101", "cursor=x", "cursor=" + "A" * 39])
def test_bad_queries(service, user, query):
    answer = service.get(f"users/{user}?{query}")
    assert (answer.status, answer.code) == (400, "invalid_parameter")
    assert answer.json["field"] == query.split("=")[0]


def test_pages_of_entries(service, user):
    service.post("batch", {"operations": [item(n, user, 1, "grant") for n in range(24)]})
    whole = service.get(f"users/{user}?limit=100").data
    assert len(whole["entries"]) == 25 and whole["nextCursor"] is None
    found, cursor = [], ""
    for _ in range(5):
        page = service.get(f"users/{user}?limit=5{cursor}").data
        assert (page["balance"], len(page["entries"])) == (29, 5)
        found += page["entries"]
        cursor = f"&cursor={page['nextCursor']}"
    assert page["nextCursor"] is None and found == whole["entries"]
    assert len({entry["id"] for entry in found}) == 25


def test_verify_finds_what_does_not_agree(service, stack, cluster, user):
    before = service.get("verify").data
    assert before["mismatches"] == [] and before["accounts"] > 0 and before["entries"] > 0
    assert stack.run("verify").returncode == 0
    change = "UPDATE user_tokens SET balance = balance + %s WHERE user_id = %s"
    cluster.query(stack.database_url, change, (2, user))
    try:
        assert service.get("verify").data["mismatches"] == [{
            "userId": user, "balance": 7, "entriesSum": 5, "chainBreaks": 0, "held": 0,
            "holdsSum": 0}]
        done = stack.run("verify")
        assert done.returncode == 1 and user in done.stdout
    finally:
        cluster.query(stack.database_url, change, (-2, user))
    agree(service)


def test_entries_are_append_only_for_the_handlers_role(stack, cluster, user):
    with cluster.connect(stack.database_url) as connection:
        cursor = connection.cursor()
        for text in ("UPDATE token_transactions SET amount = 1", "DELETE FROM token_transactions",
                     "TRUNCATE token_transactions"):
            with pytest.raises(Exception, match="append-only|permission denied"):
                cursor.execute(text)
