"""The statements of payments, refunds and subscriptions as tests call them.

    rows = Payments(run)                run is Session.run of tests/support/sessions.py
    payment = rows.open(user)           a new payment of 10 tokens for 99.00; its id
    rows.apply(user, payment, "succeeded", "provider-1")      (outcome, kind), or None
    rows.paid(user)                     one that is paid: (payment id, provider's id)
"""

import itertools

from tests.support.sessions import new_id, numbered, query_text

NUMBERS = itertools.count(1)


def call(run, name, *values):
    """Runs a file of sql/queries; its rows."""
    return run(query_text(name), numbered(*values))


def provider_id(kind="payment"):
    """An id as the provider makes them: never the same again."""
    return f"{kind}-{next(NUMBERS)}"


class Payments:
    """Short ways to open, apply and look. Amounts are texts."""

    def __init__(self, run):
        self.run = run

    def open(self, user, **changes):
        """Opens a payment; its id. It has to be a new one."""
        payment = changes.setdefault("payment", new_id())
        outcome, found = self.opened(user, **changes)
        assert (outcome, found) == ("done", payment)
        return payment

    def opened(self, user, payment=None, purpose="tokens", package="small", plan=None,
               amount="99.00", tokens=10, subscription=None, body="body", key=None, lease=60,
               renews=True):
        """Opens a payment: (outcome, id), or None without an account."""
        rows = call(self.run, "payment_open", user, payment or new_id(), purpose,
                    package if purpose == "tokens" else None, plan, amount, "RUB",
                    tokens if purpose == "tokens" else None, subscription, renews, body, key,
                    lease)
        return (rows[0][0], rows[0][2]) if rows else None

    def apply(self, user, payment, status, provider, amount="99.00", currency="RUB", test=False,
              test_accepted=False, url=None, method=None, reason=None):
        """What the provider says of a payment: (outcome, kind), or None where there is none."""
        rows = call(self.run, "payment_apply", user, payment, provider, status, amount, currency,
                    test, test_accepted, url, method, reason)
        return rows[0] if rows else None

    def paid(self, user, **changes):
        """A payment that has succeeded: (id, provider's id)."""
        payment, provider = self.open(user, **changes), provider_id()
        assert self.apply(user, payment, "succeeded", provider,
                          amount=changes.get("amount", "99.00")) == ("applied", None)
        return payment, provider

    def reach(self, user, state):
        """A payment in a state, got there by what the provider said: (id, provider's id)."""
        payment, provider = self.open(user), provider_id()
        said = {"pending": ["pending"], "waiting_for_capture": ["pending", "waiting_for_capture"],
                "succeeded": ["succeeded"], "refunded": ["succeeded"], "canceled": ["canceled"]}
        for word in said.get(state, ()):
            self.apply(user, payment, word, provider)
        if state == "refunded":
            self.refunded(user, payment, provider, "99.00")
        if state == "never_created":
            self.age(payment, "49 hours")
            self.listed("payments")
            assert call(self.run, "payment_claim_due", 10, 60) == []
        return payment, provider

    def row(self, payment, columns="status"):
        """Columns of the payment's row, a tuple where there are several."""
        rows = self.run(f"SELECT {columns} FROM payments WHERE id = %s", payment)
        assert len(rows) == 1
        return rows[0] if "," in columns else rows[0][0]

    def refund(self, user, payment, amount, refund=None, key=None, lease=60):
        """Opens a refund: its outcome."""
        return call(self.run, "refund_open", user, refund or new_id(), payment, amount, "body",
                    key, lease)[0][0]

    def refunded(self, user, payment, provider, amount, refund=None, status="succeeded",
                 refund_provider=None, currency="RUB"):
        """What the provider says of a refund: (outcome, kind), or None."""
        rows = call(self.run, "refund_apply", user, refund or new_id(), payment,
                    refund_provider or provider_id("refund"), provider, status, amount, currency)
        return rows[0] if rows else None

    def refund_row(self, refund, columns="status"):
        """As row(), of a refund."""
        rows = self.run(f"SELECT {columns} FROM payment_refunds WHERE id = %s", refund)
        return rows[0] if "," in columns else rows[0][0]

    def differences(self, provider=None):
        """Kinds of the differences that are not resolved."""
        return [row[0] for row in self.run(
            "SELECT kind FROM payment_differences WHERE resolved_at IS NULL"
            " AND provider_id = coalesce(%s, provider_id) ORDER BY provider_id, kind", provider)]

    def due(self, table="payments"):
        """Lets everything that is looked at be due, as time does."""
        self.run(f"UPDATE {table} SET next_check_at = (now() AT TIME ZONE 'utc')"
                 " - interval '1 second' WHERE next_check_at IS NOT NULL")

    def age(self, payment, interval):
        """Lets a payment have been opened that long ago, and be due."""
        self.run("UPDATE payments SET created_at = (now() AT TIME ZONE 'utc') - %s::interval"
                 " WHERE id = %s", interval, payment)
        self.due()

    def seconds_ahead(self, payment):
        """In how many seconds the payment is looked at next."""
        return float(self.row(
            payment, "extract(epoch from next_check_at - (now() AT TIME ZONE 'utc'))"))

    def listed(self, name, ago="0 hours"):
        """Lets the provider's list have been read to its end for a time that long ago."""
        self.run("INSERT INTO payment_windows AS w (name, since)"
                 " VALUES (%s, (now() AT TIME ZONE 'utc') - %s::interval)"
                 " ON CONFLICT (name) DO UPDATE SET since = excluded.since", name, ago)

    def verify(self):
        """What the audit finds: (id, expected, found, entries)."""
        return [row[1:] for row in call(self.run, "payment_verify")]

    def credits(self, user):
        """Amounts of the user's purchases and refunds in the ledger."""
        return [row[0] for row in self.run(
            "SELECT amount FROM token_transactions WHERE user_id = %s AND operation_id IS NOT NULL"
            " ORDER BY created_at, id", user)]
