"""What the functions of the ledger do, called as the handlers call them, one call at a time."""

import psycopg2
import pytest

from tests.support.movements import (
    CAPTURE, HOLD, LINK, RELEASE, REVERSE, WRONG_HOLDS, entries, expire, hold, post, post_many,
    status)
from tests.support.sessions import ERASE, new_id, numbered, open_account, query_text

INT_MAX = 2**31 - 1


# --- ledger_post ---

def test_post(run, user):
    assert post(run, user, 10, description="ten") == ("done", 15)
    assert post(run, user, -4) == ("done", 11)
    assert entries(run, user) == [(10, "purchase", 15, 0), (-4, "generation", 11, 0)]
    assert run("SELECT t.updated_at = max(e.created_at) FROM user_tokens t"
               " JOIN token_transactions e USING (user_id) GROUP BY t.updated_at") == [(True,)]


@pytest.mark.parametrize("amount", [5, -5])
def test_post_with_a_key(run, user, amount):
    """Also where it could not be done now: what is answered is what was answered."""
    entry = new_id()
    first = post(run, user, amount, entry, 7)
    assert first == ("done", 5 + amount)
    post(run, user, 3)
    for _ in range(2):
        assert post(run, user, amount, entry, 7) == ("replayed", 5 + amount)
        assert post(run, user, amount, entry, 8)[0] == "reused"
    assert len(entries(run, user)) == 2


def test_a_refused_key_is_not_burnt(run, user):
    entry = new_id()
    assert post(run, user, -6, entry, 7) == ("insufficient", 5)
    post(run, user, 1)
    assert post(run, user, -6, entry, 7) == ("done", 0)


def test_a_key_of_a_hold_is_no_movement(run, user):
    hold_id, entry = new_id(), new_id()
    hold(run, user, 1, hold_id, request_hash=7)
    assert post(run, user, 1, hold_id, 8)[0] == "reused"
    post(run, user, 1, entry, 7)
    assert run(HOLD, user, entry, 1, 600, None, 8)[0][0] == "reused"


def test_not_enough(run, user):
    hold(run, user, 2)
    assert post(run, user, -4) == ("insufficient", 3)
    assert post(run, user, -3) == ("done", 0)
    assert post(run, user, -1) == ("insufficient", 0)


def test_the_largest_balance(run, user):
    assert post(run, user, INT_MAX) == ("limit", 5)
    assert post(run, user, INT_MAX - 5) == ("done", INT_MAX)
    assert post(run, user, 1) == ("limit", INT_MAX)
    hold(run, user, 10)
    assert post(run, user, 10) == ("limit", INT_MAX - 10), "what is held is part of the balance"
    assert post(run, user, -INT_MAX) == ("insufficient", INT_MAX - 10)
    assert post(run, user, 10 - INT_MAX) == ("done", 0)


def test_no_open_account(run, user):
    assert post(run, new_id(), 1) is None
    run(ERASE, user)
    assert post(run, user, 1) is None
    assert run(HOLD, user, new_id(), 1, 60, None, None) == []
    assert run(CAPTURE, user, new_id(), 1, new_id(), None) == []
    assert run(RELEASE, user, new_id()) == []
    assert run(REVERSE, user, user, user, new_id(), None) == []


def test_a_key_answers_for_a_closed_account(run, user):
    entry = new_id()
    post(run, user, -1, entry, 7)
    run(ERASE, user)
    assert post(run, user, -1, entry, 7) == ("replayed", 4)


def test_sent_twice_without_a_key(run, user):
    """By the database layer, after an answer that was lost: never applied twice."""
    for amount in (3, -3):
        entry = new_id()
        post(run, user, amount, entry)
        with pytest.raises(psycopg2.errors.UniqueViolation):
            post(run, user, amount, entry)
    assert len(entries(run, user)) == 2


def test_sent_twice_without_a_key_where_it_is_impossible_now(run, user):
    spent, granted = new_id(), new_id()
    assert post(run, user, -5, spent) == ("done", 0)
    assert post(run, user, -5, spent) == ("replayed", 0)
    assert post(run, user, INT_MAX, granted) == ("done", INT_MAX)
    assert post(run, user, INT_MAX, granted) == ("replayed", INT_MAX)
    run(ERASE, user)
    assert post(run, user, -5, spent) == ("replayed", 0)


def test_sent_twice_with_a_link_in_between(run, user):
    """The second time finds the device's account closed, and is not to be tried on the other."""
    account, entry = open_account(run, clerk_id="user_1"), new_id()
    post(run, user, -1, entry)
    run(LINK, account, user, new_id(), new_id())
    assert post(run, user, -1, entry) == ("replayed", 4)


def test_expired_holds_are_freed_on_demand(run, user):
    expired, pending = hold(run, user, 3), hold(run, user, 1)
    expire(run, expired)
    assert post(run, user, -4) == ("done", 0)
    assert entries(run, user) == [(-4, "generation", 1, 1)]
    assert run("SELECT id, status, settled_at = expires_at FROM token_holds ORDER BY amount") == [
        (pending, "pending", None), (expired, "released", True)]


# --- ledger_post_flight ---

def test_many(run):
    users = sorted((open_account(run, device_id=f"device_{n}") for n in range(4)), reverse=True)
    assert post_many(
        run, (users[0], new_id(), -5, 0), (users[1], new_id(), -6, 0), (new_id(), new_id(), 1, 0),
        (users[2], new_id(), 7, 9), (users[3], new_id(), INT_MAX, 0), (users[0], new_id(), -1, 0),
        (users[0], new_id(), 2, 0)) == [
        ("done", 0), ("insufficient", 5), (None, 0), ("done", 12), ("limit", 5),
        ("insufficient", 0), ("done", 2)]


def test_many_of_one_user_are_in_order(run, user):
    answers = post_many(run, *[(user, new_id(), amount, 0) for amount in (-5, 1, 1, -2, -1, 4)])
    assert answers == [("done", 0), ("done", 1), ("done", 2), ("done", 0), ("insufficient", 0),
                       ("done", 4)]
    assert [entry[0] for entry in entries(run, user)] == [-5, 1, 1, -2, 4]


def test_many_with_one_key(run, user):
    entry = new_id()
    movements = [(user, entry, -2, 7), (user, entry, -2, 7), (user, entry, -3, 8)]
    assert post_many(run, *movements) == [("done", 3), ("replayed", 3), ("reused", 3)]
    assert post_many(run, *movements) == [("replayed", 3), ("replayed", 3), ("reused", 3)]
    assert post(run, user, -2, entry, 7) == ("replayed", 3), "by itself as well"


def test_many_sent_twice_without_keys(run, user):
    """All or nothing: the caller then sends each by itself."""
    entry = new_id()
    post(run, user, 1, entry)
    with pytest.raises(psycopg2.errors.UniqueViolation):
        post_many(run, (user, new_id(), 1, 0), (user, entry, 1, 0))
    assert len(entries(run, user)) == 1


# --- holds ---

def test_hold_and_release(run, user):
    hold_id = new_id()
    assert run(HOLD, user, hold_id, 3, 600, "text", None) == [("done", 2, 3)]
    assert status(run, user) == (2, 3)
    assert run(HOLD, user, new_id(), 3, 600, None, None) == [("insufficient", 2, 3)]
    assert run(RELEASE, user, hold_id) == [("done", 5)]
    assert run(RELEASE, user, hold_id) == [("done", 5)]
    assert run(CAPTURE, user, hold_id, None, new_id(), None) == [("not_pending", 5)]
    assert entries(run, user) == [] and status(run, user) == (5, 0)


@pytest.mark.parametrize("amount, taken", [(None, 3), (3, 3), (1, 1)])
def test_capture(run, user, amount, taken):
    hold_id, other, settle = hold(run, user, 3), hold(run, user, 1), new_id()
    assert run(CAPTURE, user, hold_id, 4, settle, None) == [("too_much", 1)]
    assert run(CAPTURE, user, hold_id, amount, settle, 7) == [("done", 4 - taken)]
    assert entries(run, user) == [(-taken, "generation", 5 - taken, 1)]
    assert run("SELECT id, operation_id FROM token_transactions WHERE amount < 0") == [
        (hold_id, settle)]
    assert run("SELECT h.settled_at = e.created_at FROM token_holds h"
               " JOIN token_transactions e ON e.id = h.id") == [(True,)]
    post(run, user, 9)
    assert run(CAPTURE, user, hold_id, amount, settle, 7) == [("replayed", 4 - taken)]
    assert run(CAPTURE, user, hold_id, amount, settle, 8) == [("reused", 4 - taken)]
    assert run(CAPTURE, user, hold_id, amount, new_id(), 7)[0][0] == "not_pending"
    assert run(RELEASE, user, hold_id)[0][0] == "not_pending"
    run(RELEASE, user, other)


def test_hold_with_a_key(run, user):
    hold_id = hold(run, user, 3, request_hash=7)
    post(run, user, 9)
    assert run(HOLD, user, hold_id, 3, 600, None, 7) == [("replayed", 2, 3)]
    assert run(HOLD, user, hold_id, 4, 600, None, 8)[0][0] == "reused"
    assert run(HOLD, user, hold_id, 3, 600, None, None)[0][0] == "reused"
    run(RELEASE, user, hold_id)
    assert run(HOLD, user, hold_id, 3, 600, None, 7) == [("replayed", 2, 3)]
    assert status(run, user) == (14, 0)


def test_hold_sent_twice_without_a_key(run, user):
    hold_id = hold(run, user, 3)
    assert run(HOLD, user, hold_id, 3, 600, None, None) == [("replayed", 2, 3)]
    assert run(CAPTURE, user, hold_id, 2, hold_id, None) == [("done", 3)]
    assert run(CAPTURE, user, hold_id, 2, hold_id, None) == [("replayed", 3)]


def test_an_unknown_hold(run, user):
    assert run(CAPTURE, user, new_id(), None, new_id(), None) == [("not_found", 0)]
    assert run(RELEASE, user, new_id()) == [("not_found", 0)]


def test_an_expired_hold_counts_as_released_at_once(run, user):
    expired, pending = hold(run, user, 3), hold(run, user, 1)
    expire(run, expired)
    assert status(run, user) == (4, 1), "before anybody has swept it"
    assert run("SELECT held FROM user_tokens") == [(4,)]
    assert run(CAPTURE, user, expired, None, new_id(), None) == [("not_pending", 4)]
    assert run(RELEASE, user, expired) == [("done", 4)]
    assert run("SELECT held FROM user_tokens") == [(1,)]
    expire(run, pending)
    assert status(run, user) == (5, 0)
    assert run(HOLD, user, new_id(), 5, 600, None, None) == [("done", 0, 5)]


@pytest.mark.parametrize("call, answer", [
    ("SELECT outcome, balance FROM ledger_reverse(%(user)s, %(user)s, %(user)s, %(id)s, NULL)",
     ("done", 0)),
    ("SELECT outcome, balance - tokens_awarded FROM token_claim_bonus(%(user)s, %(id)s, NULL)",
     ("done", 5)),
    ("SELECT outcome, balance FROM hold_create(%(user)s, %(id)s, 5, 60, NULL, NULL)", ("done", 0)),
])
def test_every_movement_frees_what_has_expired(run, user, call, answer):
    expire(run, hold(run, user, 3))
    assert run(call, {"user": user, "id": new_id()}) == [answer]


def test_sweep(run):
    users = [open_account(run, device_id=f"device_{n}") for n in range(5)]
    expired = [hold(run, user, 2) for user in users for _ in range(2)]
    kept = hold(run, users[0], 1)
    assert run("SELECT hold_sweep(100)") == [(0,)]
    expire(run, *expired)
    assert run("SELECT hold_sweep(3)")[0][0] in (2, 3), "of 3 holds"
    run("SELECT hold_sweep(100)")
    assert run("SELECT hold_sweep(100)") == [(0,)]
    assert run("SELECT id FROM token_holds WHERE status = 'pending'") == [(kept,)]
    assert run("SELECT sum(held) FROM user_tokens") == [(1,)]


def test_next_expiry_follows_the_holds(run, user):
    """WRONG_HOLDS after every step, in every order of two holds."""
    for first, second in ((60, 600), (600, 60)):
        for settle in (RELEASE, "SELECT hold_capture(%s, %s, 1, gen_random_uuid(), NULL)"):
            post(run, user, 9)
            holds = [hold(run, user, 2, seconds=first), hold(run, user, 2, seconds=second)]
            assert run(WRONG_HOLDS) == []
            for hold_id in holds:
                run(settle, user, hold_id)
                assert run(WRONG_HOLDS) == []
    assert run("SELECT held, next_hold_expiry FROM user_tokens") == [(0, None)]


def test_balance_at_a_time(run, user):
    """At each moment what was true then: before, while held, and after each way to settle."""
    def present():
        return run("SELECT clock_timestamp() AT TIME ZONE 'utc'")[0][0]

    def told(moment, of=user):
        return run(query_text("ledger_account_at"), numbered(of, moment))[0]
    moments = []

    def note(*expected):
        moments.append((present(), expected))
    note(5, 0)
    first, second = hold(run, user, 3), hold(run, user, 1)
    note(1, 4)
    run(CAPTURE, user, first, 2, new_id(), None)
    note(2, 1)
    run(RELEASE, user, second)
    note(3, 0)
    hold(run, user, 2)
    note(1, 2)
    account = open_account(run, clerk_id="user_1")
    run(LINK, account, user, new_id(), new_id())
    for moment, expected in moments:
        assert told(moment) == expected
        assert told(moment, account) == (0, 0)
    assert told(present()) == (0, 0)
    # 10 and 3, of which 2 are held, less the welcome that both had, as far as there is one.
    assert told(present(), account) == status(run, account) == (6, 2)
    assert run(query_text("ledger_account_at"), numbered(new_id(), present())) == []


# --- ledger_reverse ---

def test_reverse(run, user):
    entry, operation = new_id(), new_id()
    post(run, user, -4, entry, description="text")
    outcome, balance, reversal = run(REVERSE, user, user, entry, operation, 7)[0]
    assert (outcome, balance) == ("done", 5)
    post(run, user, 9)
    assert run(REVERSE, user, user, entry, operation, 7) == [("replayed", 5, reversal)]
    assert run(REVERSE, user, user, entry, operation, 8)[0][0] == "reused"
    assert run(REVERSE, user, user, entry, new_id(), 7)[0][0] == "already_reversed"
    assert run(REVERSE, user, user, reversal, new_id(), None)[0][0] == "already_reversed"
    assert run("SELECT amount, type, description, reverses FROM token_transactions WHERE id = %s",
               reversal) == [(4, "refund", "text", entry)]


def test_reverse_of_a_spent_grant(run, user):
    entry, operation = new_id(), new_id()
    post(run, user, 10, entry)
    hold(run, user, 6)
    assert run(REVERSE, user, user, entry, operation, 7) == [("insufficient", 9, None)]
    post(run, user, 1)
    assert run(REVERSE, user, user, entry, operation, 7)[0][:2] == ("done", 0)


def test_reverse_at_the_largest_balance(run, user):
    entry = new_id()
    post(run, user, -5, entry)
    post(run, user, INT_MAX)
    assert run(REVERSE, user, user, entry, new_id(), None) == [("limit", INT_MAX, None)]


def test_reverse_of_an_unknown_entry(run, user):
    other = open_account(run, device_id="device_of_somebody_else_1")
    assert run(REVERSE, user, user, new_id(), new_id(), None) == [("not_found", 0, None)]
    assert run(REVERSE, user, user, other, new_id(), None) == [("not_found", 0, None)]


def test_reverse_after_a_link(run, user):
    """An entry of the device is reversed on the account, and once, before the link or after it."""
    account, early, late = open_account(run, clerk_id="user_1"), new_id(), new_id()
    for entry in (early, late):
        post(run, user, -1, entry)
    assert run(REVERSE, user, user, early, new_id(), None)[0][0] == "done"
    run(LINK, account, user, new_id(), new_id())
    assert run(REVERSE, user, user, late, new_id(), None) == []
    assert run(REVERSE, account, user, early, new_id(), None)[0][0] == "already_reversed"
    assert run(REVERSE, account, user, late, new_id(), None)[0][0] == "done"
    assert run(REVERSE, account, user, late, new_id(), None)[0][0] == "already_reversed"


def test_a_transfer_cannot_be_reversed(run, user):
    """Half of it would make tokens of nothing."""
    account, transfer = open_account(run, clerk_id="user_1"), new_id()
    run(LINK, account, user, transfer, new_id())
    assert run(REVERSE, account, user, transfer, new_id(), None)[0][0] == "already_reversed"
    assert run(REVERSE, account, account, transfer, new_id(), None)[0][0] == "already_reversed"
    assert run("SELECT sum(balance) FROM user_tokens") == [(10,)]


# --- links and erasure ---

def test_link_moves_holds(run, user):
    account = open_account(run, clerk_id="user_1")
    ours, theirs = hold(run, account, 1), hold(run, user, 2)
    assert run(LINK, account, user, new_id(), new_id()) == [("linked", 5)]
    assert status(run, account) == (7, 3), "10 and 5, less the welcome that both had"
    assert run("SELECT balance, held, next_hold_expiry FROM user_tokens WHERE user_id = %s",
               user) == [(0, 0, None)]
    assert run(CAPTURE, user, theirs, None, new_id(), None) == [], "the account is looked up"
    assert run(CAPTURE, account, theirs, None, new_id(), None) == [("done", 7)]
    assert run(RELEASE, account, ours) == [("done", 8)]


def test_link_again_changes_nothing(run, user):
    account, other = (open_account(run, clerk_id=f"user_{n}") for n in range(2))
    operation = (new_id(), new_id())
    assert run(LINK, account, user, *operation) == [("linked", 5)]
    before = run("SELECT * FROM token_transactions ORDER BY user_id, created_at")
    assert run(LINK, account, user, *operation) == [("already_linked", 0)]
    assert run(LINK, account, user, new_id(), new_id()) == [("already_linked", 0)]
    assert run(LINK, other, user, new_id(), new_id()) == [("linked_elsewhere", 0)]
    assert run("SELECT * FROM token_transactions ORDER BY user_id, created_at") == before


def test_a_capture_is_answered_again_after_a_link(run, user):
    account, settle = open_account(run, clerk_id="user_1"), new_id()
    hold_id = hold(run, user, 2)
    run(CAPTURE, user, hold_id, 1, settle, 7)
    run(LINK, account, user, new_id(), new_id())
    assert run(CAPTURE, account, hold_id, 1, settle, 7) == [("replayed", 4)]


def test_an_expired_hold_does_not_save_a_doubled_bonus(run, user):
    """The welcome is taken off of what is free, and what has expired is."""
    account = open_account(run, clerk_id="user_1")
    expire(run, hold(run, user, 5))
    post(run, account, -10)
    run(LINK, account, user, new_id(), new_id())
    assert status(run, account) == (0, 0)


def test_erasing_an_account_with_devices_and_holds(run, user):
    account = open_account(run, clerk_id="user_1")
    theirs = hold(run, user, 2)
    run(LINK, account, user, new_id(), new_id())
    ours = hold(run, account, 1)
    books = run("SELECT * FROM token_transactions ORDER BY user_id, created_at")
    assert run(ERASE, user) == [("gone",)], "it is the account's now"
    assert run(ERASE, account) == [("erased",)]
    assert run("SELECT * FROM token_transactions ORDER BY user_id, created_at") == books
    assert run("SELECT clerk_id, device_id, erased_at IS NULL FROM users") == [
        (None, None, False)] * 2
    assert run("SELECT * FROM user_identities") == []
    assert run("SELECT user_id FROM user_tokens WHERE closed_at IS NULL") == []
    assert run(CAPTURE, account, ours, None, new_id(), None) == []
    expire(run, ours, theirs)
    assert run("SELECT hold_sweep(10)") == [(1,)], "they do not stay pending for ever"
    assert run("SELECT sum(held) FROM user_tokens") == [(0,)]
