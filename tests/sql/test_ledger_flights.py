"""Flights: many writes in one statement do what they would have done one after the other."""

import random

import psycopg2
import pytest

from tests.support.movements import (
    CAPTURE, POST, WRONG_HOLDS, books, entries, expire, hold, post, post_many, status)
from tests.support.sessions import ERASE, new_id, open_account, query_text

INT_MAX = 2**31 - 1
FLIGHTS = 150
USERS = 14
HOT = 2       # of them, which get half of the movements
SEEDS = (1, 2, 3)

FLIGHT = ("SELECT place, outcome, balance FROM {}(%s::uuid[], %s::uuid[], %s::int[], %s, %s,"
          " %s::bigint[])")
ONE_BY_ONE = FLIGHT.format("ledger_post_many")
ONE_BY_ONE_FUNCTION = """
    CREATE FUNCTION ledger_post_many(p_user_ids uuid[], p_ids uuid[], p_amounts int[],
                                     p_types text[], p_descriptions text[],
                                     p_request_hashes bigint[])
    RETURNS TABLE (place int, outcome text, balance int) LANGUAGE sql AS $$
        SELECT o.n::int, p.outcome, coalesce(p.balance, 0)
        FROM (SELECT n FROM unnest(p_user_ids) WITH ORDINALITY AS u (user_id, n)
              ORDER BY u.user_id, n) o
        LEFT JOIN LATERAL ledger_post(p_user_ids[o.n], p_ids[o.n], p_amounts[o.n], p_types[o.n],
                                      p_descriptions[o.n], nullif(p_request_hashes[o.n], 0)) p
            ON true
    $$"""
AS_A_SET = FLIGHT.format("ledger_post_flight")
CAPTURES = ("SELECT place, outcome, balance FROM hold_capture_flight(%s::uuid[], %s::uuid[],"
            " %s::int[], %s::uuid[], %s::bigint[])")
BONUSES = ("SELECT place, outcome, tokens_awarded, balance FROM token_claim_bonus_flight("
           "%s::uuid[], %s::uuid[], %s::bigint[])")
USAGE = ("SELECT place, outcome, used, usage_limit FROM usage_record_flight(%s::uuid[], %s::uuid[],"
         " %s, %s, %s::bigint[])")

# All that a movement writes; times but by their order, which position is.
BOOKS = """
    SELECT e.user_id, e.id, e.amount, e.type, e.description, e.balance_after, e.held_after,
           e.request_hash,
           row_number() OVER (PARTITION BY e.user_id ORDER BY e.created_at, e.id) AS position
    FROM token_transactions e ORDER BY e.user_id, position"""
BALANCES = "SELECT user_id, balance, held, closed_at IS NULL FROM user_tokens ORDER BY user_id"

# Entries whose time is another entry's too, and accounts whose newest entry is not the balance's
# time. (A hold raises that time without an entry, a closed account's was closed later.)
WRONG_TIMES = """
    SELECT user_id, count(*), count(DISTINCT created_at) FROM token_transactions
    GROUP BY user_id HAVING count(*) <> count(DISTINCT created_at)"""
BEHIND = """
    SELECT t.user_id FROM user_tokens t
    WHERE t.closed_at IS NULL
      AND t.updated_at < (SELECT max(e.created_at) FROM token_transactions e
                          WHERE e.user_id = t.user_id)"""


@pytest.fixture
def twin(cluster, template):
    """Another database for the same."""
    url = cluster.create_database(template)
    with books(cluster, url) as made:
        made.run(ONE_BY_ONE_FUNCTION)
        yield made.run
    cluster.drop(url)


def accounts(run, count):
    """Ids of new accounts with 5 tokens, in the order in which they are locked."""
    return sorted(open_account(run, device_id=f"device_{number:020}") for number in range(count))


# --- as one after the other ---

class World:
    """Random flights over accounts of every state, the same in each of the databases."""

    def __init__(self, seed):
        self.pick = random.Random(seed)
        self.users = [self.id() for _ in range(USERS)]
        self.nobody = self.id()
        self.keyed = []  # (user, id, hash) used before
        self.plain = []  # (user, id) used before

    def id(self):
        """A random uuid."""
        text = f"{self.pick.getrandbits(128):032x}"
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))

    def people(self):
        """Statements that make the accounts: rich ones, one that is nearly full, a closed one."""
        for number, user in enumerate(self.users):
            yield ("INSERT INTO users (id, device_id) VALUES (%s, %s)",
                   (user, f"device_{number:020}"))
            balance = {3: INT_MAX - 20, 4: 1}.get(number, 30)
            yield ("SELECT ledger_post(%s, %s, %s, 'purchase', NULL, NULL)",
                   (user, self.id(), balance - 5))
        yield ERASE, (self.users[5],)

    def hold(self):
        """A hold, of which some have expired, or a capture of none."""
        return (self.pick.choice(self.users[:5] + self.users[6:]), self.id(),
                self.pick.randint(1, 3), self.pick.random() < 0.6)

    def movement(self):
        """(user, id, amount, hash) of one movement."""
        pick = self.pick.random()
        if pick < 0.06 and self.keyed:
            user, entry, digest = self.pick.choice(self.keyed[-30:])
            return user, entry, self.amount(), digest + self.pick.randint(0, 1)
        if pick < 0.07 and self.plain:
            return (*self.pick.choice(self.plain[-30:]), self.amount(), 0)
        user = self.pick.choice(self.users[:HOT] if pick < 0.5 else self.users)
        if pick > 0.98:
            user = self.nobody
        entry = self.id()
        if self.pick.random() < 0.3:
            digest = 2 * self.pick.randint(1, 1000)
            self.keyed.append((user, entry, digest))
            return user, entry, self.amount(), digest
        self.plain.append((user, entry))
        return user, entry, self.amount(), 0

    def amount(self):
        """Mostly small; now and then what no balance has or takes."""
        pick = self.pick.random()
        if pick < 0.02:
            return self.pick.choice((INT_MAX, -INT_MAX, INT_MAX - 100, 0))
        return self.pick.randint(1, 6) if pick < 0.4 else -self.pick.randint(1, 4)

    def flight(self):
        """The arrays of one flight."""
        size = self.pick.choice((1, 2, 3, 8, 20, 40))
        users, ids, amounts, hashes = (
            list(column) for column in zip(*(self.movement() for _ in range(size))))
        kinds = ["purchase" if amount > 0 else "generation" for amount in amounts]
        texts = [self.pick.choice((None, "text", "ещё")) for _ in amounts]
        return users, ids, amounts, kinds, texts, hashes


def outcome(run, statement, flight):
    """Rows by place, or the SQLSTATE."""
    try:
        return sorted(run(statement, *flight))
    except psycopg2.Error as error:
        return error.pgcode


@pytest.mark.parametrize("seed", SEEDS)
def test_a_set_is_as_one_by_one(run, twin, seed):
    """Some 1,800 movements each: outcomes, balances, entries and their order."""
    world, seen = World(seed), {}
    for statement, values in world.people():
        run(statement, *values)
        twin(statement, *values)
    for number in range(FLIGHTS):
        if number % 3 == 0:
            user, hold_id, amount, expired = world.hold()
            for each in (run, twin):
                made = each("SELECT outcome FROM hold_create(%s, %s, %s, 600, NULL, NULL)",
                            user, hold_id, amount)
                if expired and made == [("done",)]:
                    expire(each, hold_id)
        flight = world.flight()
        answers = outcome(run, AS_A_SET, flight)
        assert answers == outcome(twin, ONE_BY_ONE, flight), (number, flight)
        for row in answers if isinstance(answers, list) else [(0, answers)]:
            seen[row[1]] = seen.get(row[1], 0) + 1
        assert run(BALANCES) == twin(BALANCES), (number, flight)
    assert run(BOOKS) == twin(BOOKS)
    assert run(WRONG_TIMES) == [] and run(BEHIND) == []
    assert set(seen) == {"done", "replayed", "reused", "insufficient", "limit", None, "23505"}, seen
    assert seen["done"] > 600, seen


def test_entries_of_a_flight_are_in_order(run):
    """A microsecond apart, and the last one has the time of the balance."""
    first, second = accounts(run, 2)
    amounts = [-1, 3, -2, -4]
    users = [second, first, first, first]
    assert post_many(run, *[(user, new_id(), amount, 0) for user, amount in zip(users, amounts)]
                     ) == [("done", 4), ("done", 8), ("done", 6), ("done", 2)]
    assert [entry[:1] + entry[2:3] for entry in entries(run, first)] == [(3, 8), (-2, 6), (-4, 2)]
    assert run("""
        SELECT extract(microseconds FROM t.updated_at - e.created_at)::int
        FROM token_transactions e JOIN user_tokens t USING (user_id)
        WHERE e.user_id = %s AND e.id <> e.user_id ORDER BY e.created_at""", first) == [
            (2,), (1,), (0,)]


# --- with others ---

def test_a_refusal_that_would_have_to_wait_is_alone(run, open_session):
    """Its account is locked by somebody else, and an account behind it by the flight itself."""
    poor, rich = accounts(run, 2)
    other = open_session()
    other.begin()
    post(other.run, poor, 1)
    assert post_many(run, (poor, new_id(), -6, 0), (rich, new_id(), -1, 0)) == [
        ("alone", 0), ("done", 4)]
    other.commit()
    assert post(run, poor, -6) == ("done", 0)


def test_a_refusal_behind_the_others_waits(run, open_session):
    """Nobody can wait for the flight who has what it waits for."""
    rich, poor = accounts(run, 2)
    other, flight = open_session(), open_session()
    other.begin()
    post(other.run, poor, 1)
    waiting = flight.start_blocked(
        AS_A_SET, [poor, rich], [new_id(), new_id()], [-7, -1], ["generation"] * 2, [None] * 2,
        [0, 0])
    other.commit()
    assert sorted(waiting.result()) == [(1, "insufficient", 6), (2, "done", 4)]


def test_what_waited_is_judged_by_what_it_finds(run, open_session):
    """The balance, the holds and the closing that came while the flight waited for the row."""
    users = accounts(run, 3)
    flight = open_session()
    for change, answer in (
            ("SELECT ledger_post(%s, gen_random_uuid(), -4, 'generation', NULL, NULL)",
             ("insufficient", 1)),
            ("SELECT hold_create(%s, gen_random_uuid(), 1, 60, NULL, NULL)", ("insufficient", 4)),
            (ERASE, (None, 0))):
        user, other = users.pop(), open_session()
        other.begin()
        other.run(change, user)
        amounts = [-5, -5] if answer[0] else [1, 1]
        waiting = flight.start_blocked(
            AS_A_SET, [user] * 2, [new_id(), new_id()], amounts, ["bonus"] * 2, [None] * 2, [0, 0])
        other.commit()
        assert [row[1:] for row in sorted(waiting.result())] == [answer] * 2
    assert run(query_text("ledger_verify"), {}) == []


ONE_KEYED = (["generation"] * 2, [None] * 2, [7, 8])


@pytest.mark.parametrize("second_hash, then", [(7, "replayed"), (9, "reused")])
@pytest.mark.parametrize("in_flight", [True, False])
def test_a_key_of_a_flight_that_is_not_through(run, open_session, in_flight, second_hash, then):
    """Flights do not lock keys: whoever comes with the same one waits for the account."""
    user, *others = accounts(run, 3)
    first, second, key = open_session(), open_session(), new_id()
    first.begin()
    first.run(AS_A_SET, [user, others[0]], [key, new_id()], [-1, -1], *ONE_KEYED)
    if in_flight:
        waiting = second.start_blocked(AS_A_SET, [user, others[1]], [key, new_id()], [-1, -1],
                                       ["generation"] * 2, [None] * 2, [second_hash, 8])
        answers = [(1, then, 4), (2, "done", 4)]
    else:
        waiting = second.start_blocked(POST, user, key, -1, "generation", None, second_hash)
        answers = [(then, 4)]
    first.commit()
    assert sorted(waiting.result()) == answers
    assert entries(run, user) == [(-1, "generation", 4, 0)]


def test_a_key_of_a_flight_that_was_rolled_back(run, open_session):
    user, other = accounts(run, 2)
    first, alone, key = open_session(), open_session(), new_id()
    first.begin()
    first.run(AS_A_SET, [user, other], [key, new_id()], [-1, -1], *ONE_KEYED)
    waiting = alone.start_blocked(POST, user, key, -1, "generation", None, 7)
    first.rollback()
    assert waiting.result() == [("done", 4)]


def test_a_hold_made_while_a_flight_waits(run, open_session):
    """With the key of one of its movements, which is then another request's."""
    user, other = accounts(run, 2)
    first, flight, key = open_session(), open_session(), new_id()
    first.begin()
    assert hold(first.run, user, 1, key, request_hash=7) == key
    flying = flight.start_blocked(AS_A_SET, [user, other], [key, new_id()], [-1, -1], *ONE_KEYED)
    first.commit()
    assert [row[:2] for row in sorted(flying.result())] == [(1, "reused"), (2, "done")]
    assert entries(run, user) == []


# --- the other kinds ---

def test_captures(run):
    users = accounts(run, 4)[::-1]
    holds = [hold(run, user, 3) for user in users[:3]]
    key = new_id()
    arrays = ([*users, users[0], new_id()], [*holds, new_id(), holds[0], new_id()],
              [0, 1, 4, 1, 2, 1], [key, *(new_id() for _ in range(3)), key, new_id()],
              [7, 0, 0, 0, 7, 0])
    assert sorted(run(CAPTURES, *arrays)) == [
        (1, "done", 2), (2, "done", 4), (3, "too_much", 2), (4, "not_found", 0),
        (5, "replayed", 2), (6, None, 0)]
    assert run(CAPTURE, users[0], holds[0], None, key, 7) == [("replayed", 2)], "by itself as well"
    assert status(run, users[0]) == (2, 0) and status(run, users[1]) == (4, 0)
    assert run(WRONG_HOLDS) == []


def test_bonuses(run):
    users, key = accounts(run, 2)[::-1], new_id()
    run("UPDATE app_settings SET value = 4 WHERE name IN ('daily_bonus_min', 'daily_bonus_max')")
    arrays = [*users, users[0], users[0], new_id()], [key, new_id(), key, new_id(), new_id()]
    assert sorted(run(BONUSES, *arrays, [7, 0, 7, 0, 0])) == [
        (1, "done", 4, 9), (2, "done", 4, 9), (3, "replayed", 4, 9), (4, "claimed", 0, 9),
        (5, None, 0, 0)]


def test_usage(run):
    users, key = accounts(run, 2)[::-1], new_id()
    run("UPDATE app_settings SET value = 2 WHERE name = 'generations_per_minute'")
    ids = [key, new_id(), key, key, new_id(), new_id(), new_id()]
    rows = run(USAGE, [*users, users[0], users[0], users[0], users[0], new_id()], ids,
               ["generation"] * 7, ["203.0.113.9"] * 7, [7, 0, 7, 8, 0, 0, 0])
    assert sorted(rows) == [
        (1, "done", 1, 2), (2, "done", 1, 2), (3, "replayed", 1, 2), (4, "reused", 1, 2),
        (5, "done", 2, 2), (6, "limited", 2, 2), (7, None, 0, 0)]
    assert run("SELECT count(*) FROM usage_logs") == [(3,)]
