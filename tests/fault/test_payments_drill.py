"""A short payments drill, and that its comparison finds what could be wrong."""

import copy
import os
import re
import subprocess
import uuid

import pytest

from tests.fault.payments_drill.check import Ours, Verdict, forged_and_believed
from tests.support.books import BROKEN_BOOKS
from tests.support.process import REPOSITORY

SECONDS, PAYMENTS = 15, 300
TOKENS = {9900: 10, 39900: 50}


@pytest.mark.seconds(400)
def test_every_payment_is_credited_once(binaries):
    """Paid for is credited once, whatever failed meanwhile."""
    done = subprocess.run(
        [f"{REPOSITORY}/scripts/payments-drill", str(SECONDS), "--payments", str(PAYMENTS)],
        env={**os.environ, "BIN_DIR": binaries}, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=390, check=False)
    said = done.stdout[-6000:] + done.stderr[-3000:]
    result = re.search(r"(\d+) faults of (\d+) kinds, (\d+) payments paid, (\d+) credited,"
                       r" \d+ recorded as different, 0 lost, 0 doubled, 0 wrong$",
                       done.stdout.strip())
    assert result, said
    assert done.returncode == 0, said
    faults, kinds, paid, credited = map(int, result.groups())
    assert faults >= 100 and kinds >= 15 and paid == credited >= PAYMENTS / 2, said


class World:
    """Both books, with one payment of each sort, as they are when all is well."""

    def __init__(self):
        self.theirs = {"payments": {}, "refunds": {}, "damage": {}}
        self.rows = {"payments": [], "payment_refunds": [], "token_transactions": [],
                     "payment_differences": []}
        self.user = str(uuid.uuid4())
        self.paid = self.add("succeeded")
        self.canceled = self.add("canceled")
        self.damaged = self.add("succeeded", "other_amount")
        self.given_back = self.add("succeeded")
        self.refund = self.give_back(self.given_back, 4949)

    def add(self, status, damage=None):
        """A payment of 99 roubles; the provider's id."""
        name, payment = str(uuid.uuid4()), str(uuid.uuid4())
        self.theirs["payments"][name] = {
            "id": name, "status": status, "amount": {"value": "99.00", "currency": "RUB"},
            "metadata": {"user_id": self.user, "payment_id": payment}}
        if damage:
            self.theirs["damage"][name] = [damage]
            self.rows["payment_differences"].append([name, damage])
        ours = "pending" if damage else status
        self.rows["payments"].append([self.user, payment, None if damage else name, ours,
                                      "tokens", 10, "0.00", None])
        if ours == "succeeded":
            self.rows["token_transactions"].append([self.user, payment, 10, "purchase"])
        return name

    def give_back(self, payment, minor):
        """A refund of a part; the provider's id."""
        name, refund = str(uuid.uuid4()), str(uuid.uuid4())
        amount = f"{minor // 100}.{minor % 100:02}"
        taken = 10 * minor // 9900
        row = self.row("payments", payment)
        row[6] = amount
        self.theirs["payments"][payment]["refunded_amount"] = {"value": amount}
        self.theirs["refunds"][name] = {"id": name, "payment_id": payment, "status": "succeeded",
                                        "amount": {"value": amount}}
        self.rows["payment_refunds"].append(
            [self.user, refund, row[1], name, "succeeded", amount, taken, 0, None])
        self.rows["token_transactions"].append([self.user, refund, -taken, "refund"])
        return name

    def row(self, table, name):
        """Our row about an object of the provider."""
        return next(row for row in self.rows[table] if name in row)

    def entry(self, payment):
        """The ledger entry of the provider's payment."""
        return self.row("token_transactions", self.row("payments", payment)[1])

    def query(self, text, _parameters=None):
        """Answers what Ours asks."""
        if text == BROKEN_BOOKS:
            return []
        table = re.search(r"FROM (\w+)", text).group(1)
        return [[0]] if table == "user_tokens" else copy.deepcopy(self.rows[table])

    def verdict(self):
        """The comparison."""
        return Verdict(self.theirs, Ours(self.query), TOKENS)


def test_agreement():
    verdict = World().verdict()
    assert verdict.all() == []
    assert (verdict.paid_for, verdict.credited, verdict.recorded, verdict.refunded) == (2, 2, 1, 1)


def no_credit(world):
    """Paid for, and no tokens."""
    world.rows["token_transactions"].remove(world.entry(world.paid))


def less(world):
    """One token less."""
    world.entry(world.paid)[2] -= 1


def twice(world):
    """The same again."""
    world.rows["token_transactions"].append(world.entry(world.paid))


def more(world):
    """One token more."""
    world.entry(world.paid)[2] += 1


def for_nothing(world):
    """Tokens for a payment that was canceled."""
    world.rows["token_transactions"].append(
        [world.user, world.row("payments", world.canceled)[1], 10, "purchase"])


def for_the_wrong_amount(world):
    """Tokens for a payment of another amount."""
    world.rows["token_transactions"].append(
        [world.user, world.theirs["payments"][world.damaged]["metadata"]["payment_id"], 10,
         "purchase"])


def out_of_nowhere(world):
    """Tokens for a payment nobody has."""
    world.rows["token_transactions"].append([world.user, str(uuid.uuid4()), 10, "purchase"])


def to_somebody_else(world):
    """The right tokens in the wrong account."""
    world.entry(world.paid)[0] = str(uuid.uuid4())


@pytest.mark.parametrize("change,lost,doubled", [
    (no_credit, 1, 0), (less, 1, 0), (twice, 0, 1), (more, 0, 1), (for_nothing, 0, 1),
    (for_the_wrong_amount, 0, 1), (out_of_nowhere, 0, 1), (to_somebody_else, 1, 1)])
def test_tokens_that_are_wrong(change, lost, doubled):
    world = World()
    change(world)
    verdict = world.verdict()
    assert (len(verdict.lost), len(verdict.doubled)) == (lost, doubled)
    assert [problem for problem in verdict.wrong if problem.startswith("user")]


@pytest.mark.parametrize("change,said", [
    (lambda world: world.rows["payments"].remove(world.row("payments", world.canceled)),
     "is not there"),
    (lambda world: world.rows["payment_differences"].clear(), "not recorded"),
    (lambda world: world.row("payments", world.canceled).__setitem__(3, "pending"),
     "ours is pending"),
    (lambda world: world.row("payments", world.paid).__setitem__(3, "canceled"),
     "ours is canceled"),
    (lambda world: world.row("payments", world.paid).__setitem__(7, "soon"), "still looked at"),
    (lambda world: world.row("payments", world.paid).__setitem__(2, "other"), "provider's id"),
    (lambda world: world.row("payments", world.given_back).__setitem__(6, "0.00"), "refunded"),
    (lambda world: world.rows["payment_refunds"].clear(), "not there"),
    (lambda world: world.row("payment_refunds", world.refund).__setitem__(4, "pending"),
     "ours is pending"),
    (lambda world: world.row("payment_refunds", world.refund).__setitem__(5, "1.00"),
     "ours is 1.00"),
    (lambda world: world.row("payment_refunds", world.refund).__setitem__(7, 1),
     "taken or owed"),
    (lambda world: world.rows["token_transactions"].pop(), "in the ledger"),
])
def test_other_things_that_are_wrong(change, said):
    world = World()
    change(world)
    assert any(said in problem for problem in world.verdict().wrong)


def test_forged_notifications_that_are_believed():
    good = {"genuine 200": 5, "lie 200": 3, "unknown 404": 2, "unknown 503": 1, "elsewhere 403": 1,
            "elsewhere 0": 1}
    assert forged_and_believed(good) == []
    assert len(forged_and_believed({"unknown 200": 1, "elsewhere 200": 1, "elsewhere 404": 1})) == 3
