"""The daily bonus in the database: once a day, replayed, all at once."""

from tests.support.account_rows import CALLERS, ledger
from tests.support.sessions import ERASE, at_once, new_id, open_account

CLAIM = "SELECT outcome, tokens_awarded, balance FROM token_claim_bonus(%s, %s, NULL)"
CLAIM_KEYED = "SELECT outcome, tokens_awarded, balance FROM token_claim_bonus(%s, %s, %s)"


def test_bonus_is_claimed_once_a_day(run, user):
    outcome, awarded, balance = run(CLAIM, user, new_id())[0]
    assert outcome == "done" and 1 <= awarded <= 10 and balance == 5 + awarded
    assert run(CLAIM, user, new_id()) == [("claimed", 0, balance)]
    assert ledger(run, user) == (balance, [(5, "bonus", 5), (awarded, "bonus", balance)])
    assert run("SELECT last_bonus_date = (now() AT TIME ZONE 'utc')::date FROM user_tokens")[0][0]


def test_bonus_comes_again_the_next_day(run, user):
    run("UPDATE user_tokens SET last_bonus_date = (now() AT TIME ZONE 'utc')::date - 1")
    assert run(CLAIM, user, new_id())[0][0] == "done"


def test_repeated_claim_gets_the_same_answer(run, user):
    operation = new_id()
    _, awarded, balance = run(CLAIM, user, operation)[0]
    for _ in range(2):
        assert run(CLAIM, user, operation) == [("replayed", awarded, balance)]
        assert run(CLAIM, user, new_id())[0][0] == "claimed"
    run("SELECT ledger_post(%s, %s, 7, 'purchase', NULL, NULL)", user, new_id())
    assert run(CLAIM, user, operation) == [("replayed", awarded, balance)], "as it was then"


def test_claim_with_a_key(run, user):
    operation = new_id()
    _, awarded, balance = run(CLAIM_KEYED, user, operation, 7)[0]
    assert run(CLAIM_KEYED, user, operation, 7) == [("replayed", awarded, balance)]
    assert run(CLAIM_KEYED, user, operation, 8)[0][0] == "reused"
    assert run(CLAIM, user, operation)[0][0] == "reused"
    assert len(ledger(run, user)[1]) == 2


def test_claim_repeated_after_midnight_is_still_the_first(run, user):
    operation = new_id()
    _, awarded, balance = run(CLAIM, user, operation)[0]
    run("UPDATE user_tokens SET last_bonus_date = last_bonus_date - 1")
    assert run(CLAIM, user, operation) == [("replayed", awarded, balance)]
    assert len(ledger(run, user)[1]) == 2
    assert run(CLAIM, user, new_id())[0][0] == "done"


def test_bonus_amount_is_a_setting(run, user):
    run("UPDATE app_settings SET value = 42 WHERE name LIKE 'daily_bonus%%'")
    assert run(CLAIM, user, new_id()) == [("done", 42, 47)]


def test_bonus_covers_its_range(run):
    seen = set()
    for number in range(200):
        user = open_account(run, device_id=f"device_{number}")
        seen.add(run(CLAIM, user, new_id())[0][1])
    assert seen == set(range(1, 11)), "of 200 draws; one of 10 misses once in 10^8"


def test_claim_tells_what_can_be_spent(run, user):
    run("SELECT hold_create(%s, %s, 3, 600, NULL, NULL)", user, new_id())
    operation = new_id()
    outcome, awarded, balance = run(CLAIM, user, operation)[0]
    assert outcome == "done" and balance == 5 + awarded - 3
    assert run(CLAIM, user, new_id()) == [("claimed", 0, balance)]
    assert run(CLAIM, user, operation) == [("replayed", awarded, balance)]


def test_bonus_stops_at_the_largest_balance(run, user):
    run("SELECT ledger_post(%s, %s, 2147483640, 'purchase', NULL, NULL)", user, new_id())
    run("UPDATE app_settings SET value = 42 WHERE name LIKE 'daily_bonus%%'")
    assert run(CLAIM, user, new_id()) == [("done", 2, 2147483647)]


def test_claim_of_nobody_and_of_an_erased_account(run, user):
    assert run(CLAIM, new_id(), new_id()) == []
    run(ERASE, user)
    assert run(CLAIM, user, new_id()) == []


def test_claims_at_once(cluster, database, run, user):
    answers = at_once(cluster, database, CLAIM, [(user, new_id()) for _ in range(CALLERS)])
    assert sorted(answer[0][0] for answer in answers) == ["claimed"] * (CALLERS - 1) + ["done"]
    assert len({answer[0][2] for answer in answers}) == 1, "every answer has the new balance"
    assert len(ledger(run, user)[1]) == 2


def test_one_claim_sent_many_times_at_once(cluster, database, run, user):
    answers = at_once(cluster, database, CLAIM, [(user, new_id())] * CALLERS)
    assert len({answer[0][1:] for answer in answers}) == 1
    assert sorted(answer[0][0] for answer in answers) == ["done"] + ["replayed"] * (CALLERS - 1)
    assert len(ledger(run, user)[1]) == 2
