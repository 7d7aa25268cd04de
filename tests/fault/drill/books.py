"""Compares what clients were told with what the database holds."""

import base64
import collections
import uuid

from tests.fault.drill.journal import is_definite

# How an operation may be refused; anything else is a defect of the server or of the drill.
REFUSALS = {
    "spend": {"insufficient_tokens"}, "batch": {"insufficient_tokens"},
    "hold": {"insufficient_tokens"}, "capture": {"hold_not_pending"},
    "release": {"hold_not_pending"}, "reverse": {"insufficient_tokens", "already_reversed"},
    "bonus": {"bonus_already_claimed"},
}

BONUS, LINK_OUT, LINK_IN = "Ежедневный бонус", "Перенос на аккаунт", "Перенос с устройства"

Entry = collections.namedtuple(
    "Entry", "user id amount type description after held reverses day")
Hold = collections.namedtuple("Hold", "user id amount status description")


def owned(text):
    """(user id, id) of an id as the API gives it (common/base/public_id.h)."""
    raw = base64.urlsafe_b64decode(text + "==")[:32]
    return str(uuid.UUID(bytes=raw[:16])), str(uuid.UUID(bytes=raw[16:32]))


class Books:
    """The ledger as it stands now."""

    def __init__(self, node, database):
        entries = node.query(
            "SELECT user_id::text, id::text, amount, type, description, balance_after, held_after,"
            " reverses::text, created_at::date::text FROM token_transactions", database=database)
        self.entries = [Entry(*row) for row in entries]
        self.by_description = collections.defaultdict(list)
        self.reversals = collections.defaultdict(list)
        self.by_id = collections.defaultdict(list)
        self.claims = collections.Counter()
        self.claims_of = collections.Counter()
        self.moved_of = collections.defaultdict(list)
        for entry in self.entries:
            self.by_id[entry.id].append(entry)
            if entry.reverses:
                self.reversals[entry.reverses].append(entry)
            elif entry.description == BONUS:
                self.claims[entry.user, entry.day] += 1
                self.claims_of[entry.user] += 1
            elif entry.description == LINK_OUT:
                self.moved_of[entry.user].append(entry)
            elif entry.description:
                self.by_description[entry.description].append(entry)
        self.holds = collections.defaultdict(list)
        self.hold_by_id = {}
        for row in node.query("SELECT user_id::text, id::text, amount, status, description"
                              " FROM token_holds", database=database):
            hold = Hold(*row)
            self.holds[hold.description].append(hold)
            self.hold_by_id[hold.id] = hold
        self.devices = dict(node.query(
            "SELECT device_id, id::text FROM users WHERE device_id IS NOT NULL", database=database))
        self.merged = dict(node.query(
            "SELECT id::text, merged_into::text FROM users WHERE merged_into IS NOT NULL",
            database=database))
        self.negative = node.query(
            "SELECT count(*) FROM user_tokens WHERE balance < 0 OR held < 0 OR held > balance",
            database=database)[0][0]
        self.negative += sum(1 for entry in self.entries if entry.after < 0)


class Verdict:
    """What is wrong, sorted; and how much was looked at."""

    def __init__(self):
        self.lost, self.doubled, self.wrong = [], [], []
        self.acknowledged = collections.Counter()
        self.refused = self.unknown = self.unknown_done = 0

    def count(self, name, expected, found):
        """expected: 1 (acknowledged), 0 (refused), None (nobody knows). found: how often it is
        there."""
        if expected == 1 and found == 0:
            self.lost.append(name)
        elif found > 1:
            self.doubled.append(f"{name}: {found} times")
        elif expected == 0 and found:
            self.doubled.append(f"{name}: refused, and there")
        if expected == 0:
            self.refused += 1
        elif expected is None:
            self.unknown += 1
            self.unknown_done += 1 if found else 0

    def same(self, name, what, told, found):
        """What the answer said against what is there."""
        if told != found:
            self.wrong.append(f"{name}: {what} was told as {told}, is {found}")


class Checker:
    """Every operation of the journals against the books."""

    def __init__(self, operations, books):
        self.operations, self.books = operations, books
        self.verdict = Verdict()
        self.acknowledged_once = collections.Counter()

    def run(self):
        """Returns the Verdict."""
        for operation in self.operations.values():
            self._answers_agree(operation)
            getattr(self, "_" + operation.kind)(operation)
        for (user, day), claims in self.books.claims.items():
            if claims > 1:
                self.verdict.doubled.append(f"bonus of {user} on {day}: {claims} times")
        for entry_id, entries in self.books.reversals.items():
            if len(entries) > 1:
                self.verdict.doubled.append(f"reversal of {entry_id}: {len(entries)} times")
        return self.verdict

    def _answers_agree(self, operation):
        """All good answers to one key are one answer; a refusal has a reason."""
        for answer in operation.answers:
            results = (answer["data"] or {}).get("results") or [answer]
            for result in results:
                code = result.get("code")
                if code and is_definite(result["status"], code) and \
                        code not in REFUSALS.get(operation.kind, ()):
                    self.verdict.wrong.append(f"{operation.name}: {result['status']} {code}")
        if operation.kind in ("release", "batch"):
            return
        told = [answer["data"] for answer in operation.answers if 200 <= answer["status"] < 300]
        for other in told[1:]:
            if other != told[0]:
                self.verdict.wrong.append(f"{operation.name}: answered {told[0]}, again {other}")
                return

    def _expected(self, operation):
        if operation.acknowledged:
            self.verdict.acknowledged[operation.kind] += 1
            return 1
        # One refusal says nothing about an earlier attempt that may still have been under way.
        return 0 if operation.settled and not operation.ambiguous else None

    def _once(self, operation, what, times=1):
        """What can happen once (or times) is not acknowledged to two keys."""
        self.acknowledged_once[operation.kind, what] += 1
        if self.acknowledged_once[operation.kind, what] > times:
            self.verdict.doubled.append(f"{operation.name}: acknowledged under two keys")

    def _movement(self, name, expected, told, amount, kind):
        """One spend or grant. told: the answer's data when it was acknowledged."""
        found = self.books.by_description.get(name, [])
        self.verdict.count(name, expected, len(found))
        for entry in found[:1]:
            self.verdict.same(name, "amount", amount, entry.amount)
            self.verdict.same(name, "type", kind, entry.type)
            if expected == 1:
                self.verdict.same(name, "entry", owned(told["transactionId"]),
                                  (entry.user, entry.id))
                self.verdict.same(name, "balance", told["balance"], entry.after - entry.held)

    def _spend(self, operation):
        told = operation.acknowledged
        self._movement(operation.name, self._expected(operation), told and told["data"],
                       -operation.body["amount"], "generation")

    def _grant(self, operation):
        told = operation.acknowledged
        self._movement(operation.name, self._expected(operation), told and told["data"],
                       operation.body["amount"], operation.body["type"])

    def _batch(self, operation):
        """Each of its operations for itself; the last definite answer about each counts."""
        results = {}
        for answer in operation.answers:
            if answer["status"] != 200:
                continue
            for result in answer["data"]["results"]:
                name = result["operationId"]
                # An attempt that was given up may still be under way, and then says so to the next.
                if not is_definite(result["status"], result.get("code")):
                    continue
                if name in results and results[name]["status"] == 201 and result != results[name]:
                    self.verdict.wrong.append(f"{name}: answered {results[name]}, again {result}")
                else:
                    results[name] = result
        complete = sum(1 for answer in operation.answers if answer["status"] == 200)
        for part in operation.body["operations"]:
            told = results.get(part["operationId"])
            expected = None
            if told and told["status"] == 201:
                expected = 1
                self.verdict.acknowledged["batch"] += 1
            elif told and complete == operation.sent:
                expected = 0
            spend = part["kind"] == "spend"
            self._movement(part["operationId"], expected, told,
                           -part["amount"] if spend else part["amount"],
                           "generation" if spend else part["type"])

    def _hold(self, operation):
        expected = self._expected(operation)
        found = self.books.holds.get(operation.name, [])
        self.verdict.count(operation.name, expected, len(found))
        if expected == 1 and found:
            self.verdict.same(operation.name, "hold",
                              owned(operation.acknowledged["data"]["holdId"])[1], found[0].id)
            self.verdict.same(operation.name, "amount", operation.body["amount"], found[0].amount)

    def _hold_of(self, operation):
        return self.books.hold_by_id.get(owned(operation.path.split("/")[4])[1])

    def _capture(self, operation):
        """The hold is captured and its entry there; another capture of it was refused."""
        expected = self._expected(operation)
        hold = self._hold_of(operation)
        entries = [] if hold is None else [entry for entry in self.books.by_id.get(hold.id, [])
                                           if not entry.reverses]
        if expected != 1:
            return
        self.verdict.count(operation.name, 1, len(entries))
        if entries:
            self._once(operation, hold.id)
            whole = operation.body.get("amount") or hold.amount
            told = operation.acknowledged["data"]
            self.verdict.same(operation.name, "status", "captured", hold.status)
            self.verdict.same(operation.name, "amount", -whole, entries[0].amount)
            self.verdict.same(operation.name, "balance", told["balance"],
                              entries[0].after - entries[0].held)

    def _release(self, operation):
        hold = self._hold_of(operation)
        if self._expected(operation) == 1:
            if hold is None or hold.status == "pending":
                self.verdict.lost.append(operation.name)
            elif hold.status != "released":
                self.verdict.wrong.append(f"{operation.name}: released, and {hold.status}")

    def _reverse(self, operation):
        expected = self._expected(operation)
        entry_id = owned(operation.path.split("/")[4])[1]
        found = self.books.reversals.get(entry_id, [])
        if expected != 1:
            return
        self.verdict.count(operation.name, 1, len(found))
        if found:
            self._once(operation, entry_id)
            told = operation.acknowledged["data"]
            self.verdict.same(operation.name, "entry", owned(told["transactionId"]),
                              (found[0].user, found[0].id))
            self.verdict.same(operation.name, "balance", told["balance"],
                              found[0].after - found[0].held)
            original = [entry for entry in self.books.by_id[entry_id] if not entry.reverses]
            self.verdict.same(operation.name, "amount", [-found[0].amount],
                              [entry.amount for entry in original])

    def _bonus(self, operation):
        expected = self._expected(operation)
        user = self.books.devices.get(operation.auth[1].removeprefix("Device "))
        if expected == 1:
            self.verdict.count(operation.name, 1, min(self.books.claims_of[user], 1))
            self._once(operation, user, self.books.claims_of[user])

    def _link(self, operation):
        """The device's account is the other one's, and its tokens went over once."""
        expected = self._expected(operation)
        device = self.books.devices.get(operation.headers["X-Device-Id"])
        owner = self.books.merged.get(device)
        self.verdict.count(operation.name, expected, 1 if owner else 0)
        moved = self.books.moved_of.get(device, [])
        if len(moved) > 1:
            self.verdict.doubled.append(f"{operation.name}: moved {len(moved)} times")
        for entry in moved:
            received = [other.amount for other in self.books.by_id[entry.id]
                        if other.user == owner and other.description == LINK_IN]
            self.verdict.same(operation.name, "what was moved", [-entry.amount], received)
