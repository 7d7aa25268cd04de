"""Subscriptions in the database as tests pay for them, and as time passes for them."""

from tests.support.payment_rows import Payments, call, provider_id
from tests.support.sessions import new_id

PRICE = "999.00"
NOW = "(now() AT TIME ZONE 'utc')"


class Subscriptions(Payments):
    """Short ways to pay for one account's subscription and to let time pass."""

    def __init__(self, run, user):
        super().__init__(run)
        self.user = user

    def begin(self, plan="pro", method="method-1"):
        """Pays for the first month; the subscription's id."""
        subscription = new_id()
        payment = self.first(subscription, plan)
        assert self.said(payment, "succeeded", method=method) == ("applied", None)
        return subscription

    def first(self, subscription, plan="pro"):
        return self.open(self.user, purpose="subscription", plan=plan, amount=PRICE,
                         subscription=subscription)

    def renewal(self, subscription, plan="pro"):
        return self.open(self.user, purpose="renewal", plan=plan, amount=PRICE,
                         subscription=subscription)

    def said(self, payment, status, **more):
        return self.apply(self.user, payment, status, provider_id(), amount=PRICE, **more)

    def passes(self, subscription, interval):
        """Lets so much time pass for the subscription."""
        assert self.run(
            "UPDATE subscriptions SET"
            " current_period_start = current_period_start - %(t)s::interval,"
            " current_period_end = current_period_end - %(t)s::interval,"
            " period_anchor = period_anchor - %(t)s::interval,"
            " grace_until = grace_until - %(t)s::interval,"
            " next_check_at = next_check_at - %(t)s::interval WHERE id = %(id)s RETURNING id",
            {"t": interval, "id": subscription})

    def ends(self, subscription, ago="0 seconds"):
        """Lets the period have ended so long ago."""
        self.passes(subscription, self.of(
            subscription, f"(current_period_end - {NOW} + interval '{ago}')::text"))

    def of(self, subscription, columns):
        rows = self.run(f"SELECT {columns} FROM subscriptions WHERE id = %s", subscription)
        return rows[0] if ", " in columns else rows[0][0]

    def claim(self):
        """Ids of the subscriptions whose renewal is due."""
        return [row[1] for row in call(self.run, "subscription_claim_due", 10, 60)
                if row[3] == "active"]

    def plan(self):
        """The plan the account has, as both readers tell it."""
        plan = call(self.run, "user_profile", self.user)[0][6]
        assert call(self.run, "token_status", self.user)[0][6] == plan
        current = call(self.run, "subscription_current", self.user)
        assert [row[2] for row in current] == ([] if plan == "free" else [plan])
        return plan

    def past_due(self):
        """A subscription whose renewal was declined once."""
        subscription = self.begin()
        self.ends(subscription)
        self.said(self.renewal(subscription), "canceled", reason="insufficient_funds")
        assert self.of(subscription, "grace_until = current_period_end + interval '7 days'")
        return subscription

    def nearly(self, subscription, column, expected):
        """Whether a time of the subscription is that, give or take what the test takes."""
        return self.of(subscription, f"abs(extract(epoch FROM {column} - ({expected}))) < 30")
