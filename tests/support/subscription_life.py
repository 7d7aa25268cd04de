"""A subscription of a shop's buyer, with the time moved in its rows."""

from tests.support.shop import BACK, row_id


class Life:
    """A buyer's active subscription and the provider's saved method of it."""

    def __init__(self, shop, buyer, plan="pro"):
        self.shop, self.buyer, self.plan = shop, buyer, plan
        answer = buyer.subscribe(plan, returnUrl=BACK)
        self.method = answer.data["confirmationUrl"].rpartition("/")[2]
        shop.provider.pay(self.method)
        shop.notify("payment.succeeded", self.method)
        self.public_id = buyer.subscriptions()[0]["id"]
        self.id = row_id(self.public_id)

    def row(self, columns):
        """The columns of its row."""
        [found] = self.shop.query(f"SELECT {columns} FROM subscriptions WHERE id = %s",
                                  (self.id,))
        return found if len(found) > 1 else found[0]

    def now(self):
        """As GET tells it."""
        return next(one for one in self.buyer.subscriptions() if one["id"] == self.public_id)

    def pass_days(self, days):
        """Days go by, for this subscription and its payments."""
        self.shop.query(
            "UPDATE subscriptions SET next_check_at = next_check_at - make_interval(days => %(d)s),"
            " current_period_start = current_period_start - make_interval(days => %(d)s),"
            " current_period_end = current_period_end - make_interval(days => %(d)s),"
            " grace_until = grace_until - make_interval(days => %(d)s),"
            " period_anchor = period_anchor - make_interval(days => %(d)s) WHERE id = %(id)s",
            {"d": days, "id": self.id})
        self.shop.query("UPDATE payments SET created_at = created_at - make_interval(days => %s)"
                        " WHERE user_id = %s", (days, self.buyer.user_id()))

    def end_period(self):
        """The period is over this moment, whatever month it is; to the microsecond, for a renewal
        is told from the next one by the period's end."""
        seconds = self.row(
            "extract(epoch FROM current_period_end - now() AT TIME ZONE 'utc')::float8")
        self.shop.query(
            "UPDATE subscriptions SET next_check_at = next_check_at - make_interval(secs => %(s)s),"
            " current_period_start = current_period_start - make_interval(secs => %(s)s),"
            " current_period_end = current_period_end - make_interval(secs => %(s)s),"
            " period_anchor = period_anchor - make_interval(secs => %(s)s) WHERE id = %(id)s",
            {"s": seconds + 1, "id": self.id})

    def renewals(self):
        """(status, reason) of its renewals, oldest first."""
        return self.shop.query("SELECT status, cancellation_reason FROM payments WHERE"
                               " subscription_id = %s AND purpose = 'renewal'"
                               " ORDER BY created_at, id", (self.id,))

    def wait(self, **expected):
        """Until GET says so."""
        self.shop.wait(lambda: {name: self.now()[name] for name in expected} == expected,
                       f"{expected}, is {self.now()}")
