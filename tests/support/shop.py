"""An instance that takes money, and the provider it takes it through.

    with Shop(cluster, template, binaries, quiet=True) as shop:
        buyer = shop.buyer()
        payment = buyer.buy("small")                 # the answer's data
        shop.provider.pay(payment.provider_id)       # the person pays
        shop.notify("payment.succeeded", payment.provider_id)
        assert buyer.balance() == 15

quiet: the reconciler looks at nothing that a test does not tell it to, so that what happens is the
notification's doing. Otherwise it looks every second. Notifications are lost unless a test sends
them.
"""

import base64
import contextlib
import datetime
import uuid

from tests.support import openapi
from tests.support.books import BROKEN_BOOKS
from tests.support.fastcgi import Handler
from tests.support.process import wait_until
from tests.support.stack import Stack
from tests.support.yookassa import Provider

WEBHOOK = "/api/payments/webhook"
BACK = "https://app.example/paid"
WELCOME = 5
HOUR = datetime.timedelta(hours=1)

# Faults of the provider (tests/support/yookassa.py) by what has happened there.
NOTHING_HAPPENED = ("error_500_before", "timeout_before", "cut_before")
IT_HAPPENED = ("error_500_after", "timeout_after", "cut_after")

# What our webhook answers.
RECEIVED = {"received": True}
KNOWN = {"received": True, "alreadyProcessed": True}
EVENTS = ("payment.succeeded", "payment.waiting_for_capture", "payment.canceled",
          "refund.succeeded")


def row_id(public_id):
    """The id of its row: the second half of a public id."""
    return str(uuid.UUID(bytes=base64.urlsafe_b64decode(public_id + "=")[16:]))


class Payment:
    """What a buyer was answered."""

    def __init__(self, shop, answer):
        self.shop, self.data = shop, answer.data
        self.public_id, self.status = self.data["paymentId"], self.data["status"]
        self.url = self.data["confirmationUrl"]
        self.provider_id = self.url.rpartition("/")[2] if self.url else None

    def row(self, columns="*"):
        """The columns of its row, or the one value."""
        rows = self.shop.query(
            f"SELECT {columns} FROM payments WHERE yookassa_payment_id = %s", (self.provider_id,))
        return rows[0] if len(rows[0]) > 1 else rows[0][0]


class Buyer:
    """Somebody with an account; every answer is checked against openapi.yaml."""

    def __init__(self, shop, client=None):
        self.shop, self.client = shop, client or shop.stack.client()

    def request(self, method, path, body=None, key=None, headers=None):
        """One request; key: its Idempotency-Key."""
        answer = self.client.request(method, path, body=body,
                                     headers={"Idempotency-Key": key, **(headers or {})})
        openapi.check_response(method, path, answer.status, answer.headers, answer.body)
        return answer

    def order(self, package="small", key=None, **members):
        """POST /api/payments/create; the Answer."""
        return self.request("POST", "/api/payments/create", {"package": package, **members}, key)

    def buy(self, package="small", key=None, **members):
        """The same, when it has to work; a Payment."""
        return Payment(self.shop, self.order(package, key, **members))

    def subscribe(self, plan="pro", key=None, **members):
        """POST /api/subscriptions; the Answer."""
        return self.request("POST", "/api/subscriptions", {"plan": plan, **members}, key)

    def paid_month(self, plan="pro", **members):
        """Orders a month and pays it; the order's data."""
        data = self.subscribe(plan, **members).data
        provider_id = data["confirmationUrl"].rpartition("/")[2]
        self.shop.provider.pay(provider_id)
        self.shop.notify("payment.succeeded", provider_id)
        return data

    def subscriptions(self):
        """What there is, newest first."""
        return self.request("GET", "/api/subscriptions").data["subscriptions"]

    def balance(self):
        """Tokens that can be spent."""
        return self.request("GET", "/api/tokens").data["balance"]

    def plan(self):
        """The plan that counts."""
        return self.request("GET", "/api/user").data["plan"]

    def user_id(self):
        """The account's id."""
        return self.request("GET", "/api/user").data["user"]["id"]

    def payment(self, public_id):
        """GET /api/payments/{id}: its data."""
        return self.request("GET", f"/api/payments/{public_id}").data["payment"]


class Shop:
    """See the head of the file."""

    def __init__(self, cluster, template, binaries, quiet=False, **environment):
        self.cluster, self.binaries = cluster, binaries
        self.provider = Provider()
        self.url = cluster.create_database(template)
        seconds = 100000 if quiet else 1
        self.query("UPDATE app_settings SET value = %s WHERE name = 'payments_poll_seconds'",
                   (seconds,))
        if quiet:
            self.query("INSERT INTO payment_windows (name, since, claimed_until) SELECT name,"
                       " now() AT TIME ZONE 'utc', 'infinity' FROM (VALUES ('payments'),"
                       " ('refunds')) AS l(name)")
        self.environment = self.provider.environment(YOOKASSA_TIMEOUT_MS="1000", **environment)
        try:
            self.stack = Stack(self.url, binaries, self.environment)
        except BaseException:
            self.provider.close()
            raise

    # --- who takes part ---

    def buyer(self, client=None):
        """Somebody new, unless a client is given."""
        return Buyer(self, client)

    def reconciler(self, **environment):
        """One more reconciler of this instance; a Handler."""
        return Handler(f"{self.stack.run_dir}/bin", "payments-reconciler", beside=self.stack,
                       POSTGRES_URL=self.url, **{**self.environment, **environment})

    def service_key(self, name, scopes="refund"):
        """A key of scripts/service-key."""
        return self.stack.run("service-key", "create", name, scopes,
                              check=True).stdout.splitlines()[-1]

    def operate(self, method, path, scopes="refund", **options):
        """A request with a new service key."""
        key = self.service_key(f"operator-{uuid.uuid4().hex[:8]}", scopes)
        operator = Buyer(self, self.stack.client(anonymous=True))
        answer = operator.request(method, path, headers={"Authorization": f"Service {key}"},
                                  **options)
        operator.client.close()
        return answer

    def notify(self, event, provider_id, address="127.0.0.1", **members):
        """Sends a notification; the Answer, checked against openapi.yaml."""
        return self.send({"type": "notification", "event": event,
                          "object": {"id": provider_id, **members}}, address)

    def send(self, body, address="127.0.0.1"):
        """Sends any body to the webhook."""
        client = self.stack.client(anonymous=True)
        answer = client.post(WEBHOOK, body, headers={"X-Forwarded-For": address})
        client.close()
        openapi.check_response("POST", WEBHOOK, answer.status, answer.headers, answer.body)
        return answer

    def send_all(self):
        """From now on the provider sends its notifications."""
        self.provider.sender.lead(f"https://127.0.0.1:{self.stack.https_port}{WEBHOOK}",
                                  f"{self.stack.run_dir}/tls/certificate.pem")

    # --- what is there ---

    def query(self, text, parameters=None):
        """Runs a statement."""
        return self.cluster.query(self.url, text, parameters)

    def value(self, text, parameters=None):
        """The one value of a statement."""
        return self.cluster.value(self.url, text, parameters)

    def differences(self, provider_id):
        """The kinds of what is not resolved."""
        return {kind for kind, in self.query(
            "SELECT kind FROM payment_differences WHERE provider_id = %s AND resolved_at IS NULL",
            (provider_id,))}

    def posts(self, kind="payments"):
        """What the provider got by POST /payments or /refunds."""
        return [entry for entry in list(self.provider.requests)
                if entry["method"] == "POST" and entry["path"] == f"/v3/{kind}"]

    def wait(self, condition, what, seconds=30):
        """Polls until condition() is true; returns its value."""
        return wait_until(condition, seconds, what)

    def look_again(self, table="payments"):
        """Everything that is open is due now."""
        self.query(f"UPDATE {table} SET next_check_at = now() AT TIME ZONE 'utc'"
                   " WHERE next_check_at IS NOT NULL")

    def list_again(self):
        """The lists of the provider are read now, and this returns when they were."""
        self.query("INSERT INTO payment_windows (name, since) VALUES"
                   " ('payments', now() AT TIME ZONE 'utc'), ('refunds', now() AT TIME ZONE 'utc')"
                   " ON CONFLICT (name) DO UPDATE SET claimed_until = NULL, listed_at = NULL")
        self.wait(lambda: self.value("SELECT count(*) FROM payment_windows WHERE"
                                     " listed_at IS NOT NULL") == 2, "the lists were read")

    def close(self):
        """Stops everything; the books have to agree."""
        with contextlib.ExitStack() as closing:
            closing.callback(self.cluster.drop, self.url)
            closing.callback(self.provider.close)
            closing.callback(self.stack.close)
            broken = self.query(BROKEN_BOOKS)
        assert broken == []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def ours(shop, buyer):
    """The rows of a buyer's payments: (status, provider id), oldest first."""
    return shop.query("SELECT status, yookassa_payment_id FROM payments WHERE user_id = %s"
                      " ORDER BY created_at", (buyer.user_id(),))


def theirs(shop, buyer):
    """The payments the provider has of a buyer."""
    user = buyer.user_id()
    with shop.provider.books.lock:
        return [payment for payment in shop.provider.books.payments.values()
                if payment["metadata"].get("user_id") == user]


def alone(shop, make_handler, **environment):
    """create(**body) on a payments handler with other settings, past nginx."""
    handler = make_handler("payments", POSTGRES_URL=shop.url, **{**shop.environment, **environment})
    device = shop.stack.client().device

    def create(**body):
        return handler.request("POST", "/api/payments/create", device=device,
                               body={"package": "small", **body})
    return create
