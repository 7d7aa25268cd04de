"""Linking in a race with itself, spends, bonus claims and generations: sums equal, entries once."""

import random
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest

from tests.support.books import BROKEN_BOOKS
from tests.support.clerk import bearer, new_user
from tests.support.stack import Stack, new_device

# A debit as the ledger will have it: guarded, and refused by an account that was linked away.
SPEND = """
CREATE FUNCTION test_spend(p_user_id uuid, p_operation_id uuid, p_amount int)
RETURNS TABLE (spent boolean) LANGUAGE plpgsql AS $$
DECLARE
    total int;
    stamp timestamp;
BEGIN
    UPDATE user_tokens t
    SET balance = t.balance - p_amount,
        updated_at = greatest(clock_timestamp() AT TIME ZONE 'utc',
                              t.updated_at + interval '1 microsecond')
    WHERE t.user_id = p_user_id AND t.closed_at IS NULL AND t.balance - t.held >= p_amount
    RETURNING t.balance, t.updated_at INTO total, stamp;
    IF FOUND THEN
        INSERT INTO token_transactions (user_id, id, amount, type, balance_after, created_at)
        VALUES (p_user_id, p_operation_id, -p_amount, 'generation', total, stamp);
        RETURN QUERY SELECT true;
    ELSE
        RETURN QUERY SELECT false FROM user_tokens t
                     WHERE t.user_id = p_user_id AND t.closed_at IS NULL;
    END IF;
END $$
"""


@pytest.fixture(scope="module")
def stack(cluster, template, binaries, clerk):
    """An instance that trusts it."""
    url = cluster.create_database(template)
    with Stack(url, binaries, clerk.environment()) as made:
        made.database_url = url
        # Everybody here comes from one address.
        cluster.query(url, "UPDATE app_settings SET value = 10000 WHERE name LIKE '%%_per_minute'")
        yield made
    cluster.drop(url)


class Round:
    """One device with a history, up to two Clerk accounts, and everything at once between them."""

    def __init__(self, connections, number, pick):
        self.connections, self.pick = connections, pick
        self.device = f"device:race_{number}"
        self.clerks = [f"clerk:race_{number}_{n}" for n in range(1 + (number % 4 == 0))]
        self.rivals = len(self.clerks) == 2
        self.results = []
        self.lock = threading.Lock()

    def run(self, connection, text, parameters=()):
        """One statement on its own, repeated after a serialisation failure as the handlers do."""
        cursor = connection.cursor()
        cursor.execute(text, parameters)
        return cursor.fetchall() if cursor.description else None

    def open(self):
        """Makes the accounts, with some movements before the race."""
        connection = self.connections[0]
        for identity in (self.device, *self.clerks):
            kind, _, name = identity.partition(":")
            self.run(connection, """
                WITH entry AS (INSERT INTO user_identities (identity, user_id)
                               VALUES (%s, gen_random_uuid()) RETURNING user_id)
                INSERT INTO users (id, clerk_id, device_id) SELECT user_id, %s, %s FROM entry""",
                (identity, name if kind == "clerk" else None, name if kind == "device" else None))
        self.users = {identity: self.owner(connection, identity)
                      for identity in (self.device, *self.clerks)}
        for identity in (self.device, *self.clerks):
            if self.pick.random() < 0.3:
                self.claim(connection, identity)
            if self.pick.random() < 0.3:
                self.spend(connection, identity)

    def owner(self, connection, identity):
        return self.run(connection, "SELECT user_id FROM user_identities WHERE identity = %s",
                        (identity,))[0][0]

    def for_owner(self, connection, identity, text, *rest):
        """As the services do: a statement that finds no account looks the identity up again."""
        operation = str(uuid.uuid4())
        user = self.users[identity]  # what a cache may still say
        for _ in range(3):
            rows = self.run(connection, text, (user, operation, *rest))
            if rows:
                return operation, rows[0]
            user = self.owner(connection, identity)
        raise AssertionError(f"{identity}: no account was found")

    def note(self, *result):
        with self.lock:
            self.results.append(result)

    def claim(self, connection, identity):
        operation, (outcome, amount, _) = self.for_owner(
            connection, identity, "SELECT * FROM token_claim_bonus(%s, %s, NULL)")
        self.note("entry", operation, amount if outcome == "done" else None)

    def spend(self, connection, identity):
        amount = self.pick.randint(1, 6)
        operation, (spent,) = self.for_owner(
            connection, identity, "SELECT * FROM test_spend(%s, %s, %s)", amount)
        self.note("entry", operation, -amount if spent else None)

    def generate(self, connection, identity):
        operation, row = self.for_owner(
            connection, identity,
            "SELECT * FROM generation_record(%s, %s, 'u', 'p', 't', '1K', '', false, NULL)")
        assert row[0] == "done", row
        self.note("generation", operation, None)

    def link(self, connection, identity):
        rows = self.run(connection, "SELECT outcome FROM device_link(%s, %s, %s, %s)", (
            self.users[identity], self.users[self.device], str(uuid.uuid4()), str(uuid.uuid4())))
        self.note("link", identity, rows[0][0])

    def race(self, gate):
        """Two links, a bonus claim, a generation and two spends, in an order nobody decides."""
        first, last = self.clerks[0], self.clerks[-1]
        work = [(self.link, first), (self.link, last),
                (self.claim, self.pick.choice((self.device, first))), (self.generate, self.device),
                (self.spend, self.device), (self.spend, first)]
        self.pick.shuffle(work)

        def step(connection, job):
            gate.wait()
            job[0](connection, job[1])

        return [(step, connection, job) for connection, job in zip(self.connections, work)]

    def check(self):
        """Nothing lost, nothing twice."""
        connection = self.connections[0]
        outcomes = sorted(result[2] for result in self.results if result[0] == "link")
        assert outcomes == ["linked", "linked_elsewhere"] if self.rivals else [
            "already_linked", "linked"], outcomes
        owner = self.owner(connection, self.device)
        assert owner in [self.users[clerk] for clerk in self.clerks]
        everybody = list(self.users.values())
        rows = self.run(connection, "SELECT user_id, id::text, amount, type, description,"
                        " balance_after FROM token_transactions WHERE user_id::text = ANY(%s)"
                        " ORDER BY created_at, id", (everybody,))
        # Each movement that was answered with success is there once, the others are not.
        for _, operation, amount in (r for r in self.results if r[0] == "entry"):
            found = [row[2] for row in rows if row[1] == operation]
            assert found == ([] if amount is None else [amount]), (operation, amount, found)
        # Sums before and after: what was given and spent, less the bonuses that were doubled.
        corrections = [row for row in rows if row[4] == "Бонус уже был начислен"]
        welcome = 5 + 10 * len(self.clerks)
        moved = sum(r[2] for r in self.results if r[0] == "entry" and r[2] is not None)
        balances = dict(self.run(connection, "SELECT user_id, balance FROM user_tokens"
                                 " WHERE user_id::text = ANY(%s)", (everybody,)))
        assert sum(balances.values()) == welcome + moved + sum(row[2] for row in corrections)
        assert balances[self.users[self.device]] == 0
        transfers = ("Перенос на аккаунт", "Перенос с устройства")
        assert sum(row[4] in transfers for row in rows) in (0, 2)
        # A bonus that both had is taken off once, as far as there were tokens.
        claims = {user: [row[2] for row in rows if row[0] == user and row[4] == "Ежедневный бонус"]
                  for user in everybody}
        ours, theirs = claims[owner], claims[self.users[self.device]]
        assert len(ours) <= 1 and len(theirs) <= 1
        doubled = 5 + (min(ours[0], theirs[0]) if ours and theirs else 0)
        assert len(corrections) <= 1
        before = corrections[0][5] - corrections[0][2] if corrections else 0
        assert -sum(row[2] for row in corrections) == min(doubled, before)
        # The generation and its usage are the account's.
        for table in ("generations", "usage_logs"):
            kept = self.run(connection, f"SELECT user_id, id::text FROM {table}"
                            " WHERE user_id::text = ANY(%s)", (everybody,))
            assert kept == [(owner, r[1]) for r in self.results if r[0] == "generation"], table


@pytest.mark.seconds(300)
def test_race_in_the_database(cluster, database):
    """1,000 times: two links, a bonus claim, a generation and two spends at once."""
    cluster.query(database, SPEND)
    connections = [psycopg2.connect(database) for _ in range(6)]
    for connection in connections:
        connection.autocommit = True
    gate = threading.Barrier(6)
    pick = random.Random(1000)
    with ThreadPoolExecutor(6) as pool:
        for number in range(1000):
            one = Round(connections, number, pick)
            one.open()
            for done in [pool.submit(*job) for job in one.race(gate)]:
                done.result()
            one.check()
    for connection in connections:
        connection.close()
    assert cluster.query(database, BROKEN_BOOKS) == []
    # The welcome bonus of everybody, once.
    welcomes = cluster.value(
        database, "SELECT count(*) FROM token_transactions WHERE id = user_id")
    assert welcomes == cluster.value(database, "SELECT count(*) FROM users")


@pytest.mark.seconds(300)
def test_race_over_http(stack, clerk, cluster):
    """The same through nginx and the handlers, with the balance read by all of them meanwhile."""
    pick = random.Random(40)
    with ThreadPoolExecutor(10) as pool:
        for _ in range(40):
            device, token = new_device(), clerk.token(new_user())
            as_device = {"Authorization": f"Device {device}"}
            as_clerk = bearer(token)
            linking = {**as_clerk, "X-Device-Id": device}
            work = [
                ("POST", "/api/user/link", linking, None),
                ("POST", "/api/user/link", linking, None),
                ("GET", "/api/tokens", linking, None), ("POST", "/api/tokens", as_device, None),
                ("POST", "/api/tokens", as_clerk, None),
                ("POST", "/api/generations", as_device, {"imageUrl": "https://img.example/r"}),
                ("POST", "/api/generations", as_clerk, {"imageUrl": "https://img.example/r"}),
                ("GET", "/api/tokens", as_device, None),
                ("GET", "/api/generations", as_device, None),
                ("GET", "/api/tokens/transactions", as_clerk, None),
            ]
            if pick.random() < 0.7:  # else the device's first request is in the race
                pool.submit(send, stack, "GET", "/api/tokens", as_device, None).result()
            pick.shuffle(work)
            answers = list(pool.map(lambda job: (job, send(stack, *job)), work))
            bad = [(job[:2], answer) for job, answer in answers
                   if answer.status not in (200, 201) and (
                       answer.status != 400 or answer.code != "bonus_already_claimed")]
            assert bad == []
            # Both identities, all handlers, the same answer at once.
            mine = send(stack, "GET", "/api/tokens", as_clerk, None).data
            theirs = send(stack, "GET", "/api/tokens", as_device, None).data
            assert mine["balance"] == theirs["balance"]
            listed = send(stack, "GET", "/api/tokens/transactions", as_device, None).data
            assert sum(entry["amount"] for entry in listed["transactions"]) == mine["balance"]
            claims = [entry["amount"] for entry in listed["transactions"]
                      if entry["description"] == "Ежедневный бонус"]
            assert mine["balance"] == 10 + max(claims), listed
            assert send(stack, "GET", "/api/generations", as_clerk, None).data["total"] == 2
            usage = send(stack, "GET", "/api/usage", as_device, None).data["today"]
            assert usage["generation"] == 2
    assert cluster.query(stack.database_url, BROKEN_BOOKS) == []


def send(stack, method, path, headers, body):
    """One request on a connection of its own."""
    client = stack.client(anonymous=True)
    try:
        return client.request(method, path, headers=headers, body=body)
    finally:
        client.close()
