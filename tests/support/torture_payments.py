"""What tests/fault/test_torture.py does to have something paid, and what it asks of payments.

    desk = Desk(provider, run, user)
    payment = desk.paid()       {"id": the provider's, "metadata": {"payment_id": ours}, ...}
    ours, theirs = desk.orders()

What takes a scene is for its cases.
"""

import collections
import json

from tests.support.payment_rows import Payments
from tests.support.sessions import new_id

BACK = "https://app.example/paid"
SMALL = {"purpose": "tokens", "amount": "99.00"}
PRO = {"purpose": "subscription", "plan": "pro", "amount": "999.00"}
SHOPS = ("payments", "payments-webhook", "subscriptions")  # handlers that ask the provider
# What they may answer besides: what becomes of a payment is to be seen. 409: it was written down,
# the answer to that was lost, and whoever asks a second time may be somebody else.
UNCLEAR = {409: {"idempotency_in_progress"}, 502: {"payment_provider_unavailable"},
           503: {"payment_unconfirmed"}}


class Desk:
    """An account's payments here and at a Provider. run is Session.run."""

    def __init__(self, provider, run, user):
        self.books, self.confirmation = provider.books, provider.confirmation
        self.rows, self.run, self.user = Payments(run), run, user

    def ordered(self, purpose="tokens", **order):
        """A payment that waits for the person."""
        subscription = new_id() if purpose == "subscription" else None
        ours = self.rows.open(self.user, purpose=purpose, subscription=subscription, **order)
        body = {"amount": {"value": order["amount"], "currency": "RUB"}, "capture": True,
                "confirmation": {"type": "redirect", "return_url": BACK},
                "save_payment_method": purpose == "subscription",
                "metadata": {"user_id": self.user, "payment_id": ours}}
        theirs, _ = self.books.create_payment(ours, json.dumps(body).encode(), self.confirmation)
        self._tell(theirs)
        return theirs

    def paid(self, known=True, **order):
        """One the person has paid; known: and we know."""
        payment = self.books.pay(self.ordered(**order)["id"])
        if known:
            self._tell(payment)
        return payment

    def _tell(self, payment):
        self.rows.apply(self.user, payment["metadata"]["payment_id"], payment["status"],
                        payment["id"], payment["amount"]["value"],
                        url=payment.get("confirmation", {}).get("confirmation_url"),
                        method=payment.get("payment_method", {}).get("id"))

    def look_again(self):
        """Whoever asks next may go on with what another one left: its time is over."""
        for table in ("payments", "payment_refunds"):
            self.run(f"UPDATE {table} SET next_check_at = now() AT TIME ZONE 'utc'"
                     " WHERE user_id = %s AND next_check_at IS NOT NULL", self.user)

    def orders(self):
        """How often there is which payment and refund by its id of ours: here, at the provider."""
        ours = self.run("SELECT id::text FROM payments WHERE user_id = %s UNION ALL"
                        " SELECT id::text FROM payment_refunds WHERE user_id = %s",
                        self.user, self.user)
        with self.books.lock:
            paid = {key: payment["metadata"]["payment_id"]
                    for key, payment in self.books.payments.items()
                    if payment["metadata"]["user_id"] == self.user}
            refunded = [refund["metadata"]["refund_id"] for refund in self.books.refunds.values()
                        if refund["payment_id"] in paid]
        return (collections.Counter(key for key, in ours),
                collections.Counter([*paid.values(), *refunded]))

    def confirmations(self):
        """Where the person is sent, of each payment at the provider."""
        with self.books.lock:
            return [payment["confirmation"]["confirmation_url"]
                    for payment in self.books.payments.values()
                    if payment["metadata"]["user_id"] == self.user]


# --- scenes ---

def have_orders(scene):
    """One payment that waits and one that was credited; {payment} is the latter's id."""
    scene.desk.ordered(**SMALL)
    scene.desk.paid(**SMALL)
    answer = scene.ask("GET", "/api/payments", Authorization=f"Device {scene.device}")
    scene.names["payment"] = answer.data["payments"][0]["id"]


def have_paid(scene):
    """One that was paid, which nobody has told us; {theirs} is the provider's id."""
    scene.names["theirs"] = scene.desk.paid(known=False, **SMALL)["id"]


def have_subscribed(scene):
    """An active subscription; {subscription} is its id."""
    scene.desk.paid(**PRO)
    answer = scene.ask("GET", "/api/subscriptions", Authorization=f"Device {scene.device}")
    scene.names["subscription"] = answer.data["subscriptions"][0]["id"]


def check_payment(scene, answer):
    """The same one however often it is asked for, and the provider's only one."""
    assert [answer.data["confirmationUrl"]] == scene.desk.confirmations()
    assert scene.names.setdefault("answered", answer.data["paymentId"]) == answer.data["paymentId"]


def check_denials(handler):
    """No request went out that lacked its password, for which there was no memory."""
    assert '"result":"denied"' not in handler.log(), f"{handler.name}: the provider denied a call"
