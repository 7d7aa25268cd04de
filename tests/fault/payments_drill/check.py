"""Compares the books of the provider, which are the truth about money, with ours."""

import base64
import collections
import json
import uuid

from tests.support.books import BROKEN_BOOKS
from tests.support.yookassa_books import to_minor

DIFFERENCES = {"other_amount": "other_amount", "other_currency": "other_currency",
               "test_flag": "test_payment"}
# What a forged notification may be answered: about nobody's object, from a foreign address.
FORGED = {"unknown": {404, 502, 503, 504, 500, 0}, "elsewhere": {403, 502, 503, 504, 500, 0}}

Payment = collections.namedtuple(
    "Payment", "user id provider_id status purpose tokens_amount refunded next_check_at")
Refund = collections.namedtuple(
    "Refund", "user id payment provider_id status amount taken owed next_check_at")
Entry = collections.namedtuple("Entry", "user operation amount type")


def owned(text):
    """(user id, id) of an id as the API gives it (common/base/public_id.h)."""
    raw = base64.urlsafe_b64decode(text + "==")[:32]
    return str(uuid.UUID(bytes=raw[:16])), str(uuid.UUID(bytes=raw[16:32]))


class Ours:
    """Our books as they stand now. query: runs a statement."""

    def __init__(self, query):
        self.payments = [Payment(*row) for row in query(
            "SELECT user_id::text, id::text, yookassa_payment_id, status, purpose, tokens_amount,"
            " refunded_amount::text, next_check_at::text FROM payments")]
        self.by_id = {(payment.user, payment.id): payment for payment in self.payments}
        self.by_provider_id = {payment.provider_id: payment for payment in self.payments
                               if payment.provider_id}
        self.refunds = {refund.provider_id or refund.id: refund for refund in (
            Refund(*row) for row in query(
                "SELECT user_id::text, id::text, payment_id::text, yookassa_refund_id, status,"
                " amount::text, tokens_taken, tokens_owed, next_check_at::text"
                " FROM payment_refunds"))}
        self.entries = collections.defaultdict(list)
        for row in query("SELECT user_id::text, operation_id::text, amount, type"
                         " FROM token_transactions WHERE type IN ('purchase', 'refund')"):
            entry = Entry(*row)
            self.entries[entry.type, entry.user, entry.operation].append(entry)
        self.differences = collections.defaultdict(set)
        for provider_id, kind in query("SELECT provider_id, kind FROM payment_differences"
                                       " WHERE resolved_at IS NULL"):
            self.differences[provider_id].add(kind)
        self.negative = query("SELECT count(*) FROM user_tokens WHERE balance < 0")[0][0]
        self.broken = query(BROKEN_BOOKS)


class Verdict:
    """theirs: the provider's books; tokens: price in kopecks -> tokens of the package."""

    def __init__(self, theirs, ours, tokens):
        self.theirs, self.ours, self.tokens = theirs, ours, tokens
        self.lost, self.doubled, self.wrong = [], [], []
        self.credited = self.paid_for = self.recorded = self.refunded = 0
        self.refunds_of = collections.defaultdict(list)
        for refund in theirs["refunds"].values():
            self.refunds_of[refund["payment_id"]].append(refund)
        self.expected = collections.Counter()  # (user, payment id) -> tokens
        for payment in theirs["payments"].values():
            self._payment(payment)
        self._entries()
        for refund in theirs["refunds"].values():
            self._refund(refund)
        self._users()
        self.wrong += [f"the books: {row}" for row in ours.broken]

    def all(self):
        """Everything that is not as it has to be."""
        return [*self.lost, *self.doubled, *self.wrong]

    def _payment(self, payment):
        """Its row has the provider's status, and its tokens are there once."""
        name, status = payment["id"], payment["status"]
        owner = (payment["metadata"].get("user_id"), payment["metadata"].get("payment_id"))
        damage = self.theirs["damage"].get(name, [])
        ours = self.ours.by_id.get(owner)
        if ours is None:
            self.wrong.append(f"{name}: our row {owner} is not there")
            return
        if damage:
            if status == "succeeded":
                missing = {DIFFERENCES[kind] for kind in damage} - self.ours.differences[name]
                if missing:
                    self.wrong.append(f"{name}: differs and was paid, {missing} not recorded")
                self.recorded += not missing
            return
        if ours.provider_id != name:
            self.wrong.append(f"{name}: our row has the provider's id {ours.provider_id}")
        if status == "succeeded":
            self.paid_for += 1
            self.expected[owner] += self.tokens[to_minor(payment["amount"]["value"])]
            # Everything given back is a status of ours.
            given = to_minor(payment.get("refunded_amount", {"value": "0.00"})["value"])
            if given == to_minor(payment["amount"]["value"]):
                status = "refunded"
            if to_minor(ours.refunded) != given:
                self.wrong.append(f"{name}: {given} kopecks refunded, ours {ours.refunded}")
        if ours.status != status:
            self.wrong.append(f"{name}: {status}, ours is {ours.status}")
        elif ours.next_check_at is not None and status not in ("pending", "waiting_for_capture"):
            self.wrong.append(f"{name}: final, but still looked at")

    def _entries(self):
        for (kind, *owner), entries in self.ours.entries.items():
            if kind != "purchase":
                continue
            found = sum(entry.amount for entry in entries)
            wanted = self.expected.get(tuple(owner), 0)
            if found > wanted or len(entries) > 1:
                self.doubled.append(f"{owner}: {len(entries)} credits of {found} tokens together,"
                                    f" {wanted} paid for")
            elif found < wanted:
                self.lost.append(f"{owner}: {found} tokens credited, {wanted} paid for")
            else:
                self.credited += 1
        for owner, wanted in self.expected.items():
            if ("purchase", *owner) not in self.ours.entries:
                self.lost.append(f"{owner}: {wanted} tokens paid for, none credited")

    def _refund(self, refund):
        """Booked once; all tokens of it taken back or owed."""
        name, ours = refund["id"], self.ours.refunds.get(refund["id"])
        if ours is None or ours.status != refund["status"]:
            self.wrong.append(f"refund {name}: {refund['status']}, ours is"
                              f" {ours.status if ours else 'not there'}")
            return
        if to_minor(ours.amount) != to_minor(refund["amount"]["value"]):
            self.wrong.append(f"refund {name}: {refund['amount']}, ours is {ours.amount}")
        entries = self.ours.entries.get(("refund", ours.user, ours.id), [])
        taken = -sum(entry.amount for entry in entries)
        if taken != ours.taken or len(entries) > 1:
            self.wrong.append(f"refund {name}: {taken} tokens in the ledger, {ours.taken} noted")
        self.refunded += 1

    def _users(self):
        """To the token: what a refunded payment gave back, and what every user was credited."""
        for payment_id, refunds in self.refunds_of.items():
            payment = self.theirs["payments"][payment_id]
            known = [self.ours.refunds.get(refund["id"]) for refund in refunds]
            if self.theirs["damage"].get(payment_id) or None in known:
                continue
            amount = to_minor(payment["amount"]["value"])
            given = sum(to_minor(refund["amount"]["value"]) for refund in refunds)
            wanted = self.tokens[amount] * given // amount
            found = sum(refund.taken + refund.owed for refund in known)
            if found != wanted:
                self.wrong.append(f"{payment_id}: {given} of {amount} kopecks given back:"
                                  f" {wanted} tokens, but {found} taken or owed")
        paid, credited = collections.Counter(), collections.Counter()
        for (user, _), tokens in self.expected.items():
            paid[user] += tokens
        for (kind, user, _), entries in self.ours.entries.items():
            if kind == "purchase":
                credited[user] += sum(entry.amount for entry in entries)
        self.wrong += [f"user {user}: {paid[user]} tokens paid for, {credited[user]} credited"
                       for user in set(paid) | set(credited) if paid[user] != credited[user]]


def read_journal(files):
    """(lines, what answers contradict each other or the rules)."""
    lines, violations = [], []
    ids = {}
    for path in files:
        with open(path, encoding="utf-8") as file:
            lines += [json.loads(line) for line in file if line.endswith("\n")]
    for line in lines:
        if line["id"] and ids.setdefault(line["name"], line["id"]) != line["id"]:
            violations.append(f"{line['name']}: answered {ids[line['name']]} and {line['id']}")
        known = {"payment_not_paid", "refund_exceeds_payment", "idempotency_in_progress"}
        if 400 <= line["status"] < 500 and line["code"] not in known:
            violations.append(f"{line['name']}: {line['status']} {line['code']}")
        if line["status"] == 500:
            violations.append(f"{line['name']}: 500 {line['code']}")
    return lines, violations


def acknowledged_but_gone(lines, ours):
    """What a client was answered 200 or 201 for has a row."""
    refunds = {(refund.user, refund.id) for refund in ours.refunds.values()}
    return [f"{line['name']}: answered {line['status']}, but no row"
            for line in lines if line["id"] and owned(line["id"]) not in (
                ours.by_id if line["do"] == "create" else refunds)]


def forged_and_believed(answers):
    """Answers to forged notifications that are none of those they may get."""
    problems = []
    for name, count in answers.items():
        kind, status = name.split()
        if kind in FORGED and int(status) not in FORGED[kind]:
            problems.append(f"{count} forged notifications ({kind}) were answered {status}")
    return problems
