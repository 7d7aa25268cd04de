"""A process of people who buy tokens, pay or do not, and of an operator who gives money back.

    python3 -m tests.fault.payments_drill.buyers CONFIGURATION NAME

CONFIGURATION is a JSON file: port, certificate, provider, keys (service keys), devices, threads,
payments, seconds, journal. The payments are spread over the seconds, and what failures held up is
caught up with; it ends when all were begun and are settled, or SETTLE_SECONDS later. Every answer
is one line of the journal NAME.jsonl.
"""

import heapq
import http.client
import itertools
import json
import random
import ssl
import sys
import threading
import time
import urllib.request

from tests.support.stack import address_of
from tests.support.yookassa_process import ProviderProcess

SETTLE_SECONDS, ANSWER_SECONDS = 90, 30
ATTEMPTS = 12
PACKAGES = ("small", "medium", "large")
PRICES = {"small": 9900, "medium": 39900, "large": 69900}


class Purchase:
    """One payment as its buyer knows it."""

    def __init__(self, name, device, package):
        self.name, self.device, self.package = name, device, package
        self.public_id = self.url = None
        self.attempts = 0


class Counter:
    """How many payments were begun, and how many may be by now."""

    def __init__(self, wanted, seconds):
        self.lock = threading.Lock()
        self.began = time.monotonic()
        self.wanted, self.seconds, self.begun = wanted, seconds, 0

    def take(self):
        """The number of a new payment, or None when it is not time for one."""
        with self.lock:
            passed = time.monotonic() - self.began
            if self.begun >= min(self.wanted, 1 + self.wanted * passed / self.seconds):
                return None
            self.begun += 1
            return self.begun

    def done(self):
        """Whether all were begun."""
        with self.lock:
            return self.begun >= self.wanted


class Worker:
    """One thread: a list of what is to be done when."""

    def __init__(self, configuration, name, counter, journal):
        self.configuration, self.name, self.counter = configuration, name, counter
        self.journal = journal
        self.random = random.Random(name)
        self.tls = ssl.create_default_context(cafile=configuration["certificate"])
        self.connection = None
        self.tasks, self.sequence = [], itertools.count()
        self.give_up_at = None

    # --- calling ---

    def post(self, path, body, key, headers):
        """(status, answer); (0, {}) when none came."""
        try:
            if self.connection is None:
                self.connection = http.client.HTTPSConnection(
                    "127.0.0.1", self.configuration["port"], context=self.tls,
                    timeout=ANSWER_SECONDS)
            self.connection.request("POST", path, json.dumps(body), {
                "Content-Type": "application/json", "Idempotency-Key": key, **headers})
            response = self.connection.getresponse()
            answer = json.loads(response.read())
            return response.status, answer
        except (OSError, http.client.HTTPException, ValueError):
            if self.connection:
                self.connection.close()
            self.connection = None
            return 0, {}

    def write(self, **line):
        """A line of the journal."""
        text = json.dumps(line)
        with self.journal["lock"]:
            self.journal["file"].write(text + "\n")

    def later(self, seconds, function, *arguments):
        """Has it done then."""
        heapq.heappush(self.tasks, (time.monotonic() + seconds, next(self.sequence), function,
                                    arguments))

    # --- what is done ---

    def begin(self, number):
        """A new payment."""
        purchase = Purchase(f"{self.name}-{number}",
                            self.random.choice(self.configuration["devices"]),
                            self.random.choice(PACKAGES))
        self.create(purchase)

    def create(self, purchase, again=False):
        """Orders it; also once more when it was answered already, which must change nothing."""
        purchase.attempts += 1
        status, answer = self.post(
            "/api/payments/create", {"package": purchase.package}, purchase.name,
            {"Authorization": f"Device {purchase.device}",
             "X-Forwarded-For": address_of(purchase.device)})
        data = answer.get("data") or {}
        self.write(do="create", name=purchase.name, device=purchase.device,
                   package=purchase.package, status=status, code=answer.get("code"),
                   id=data.get("paymentId"))
        if status == 200 and not again:
            purchase.public_id, purchase.url = data["paymentId"], data["confirmationUrl"]
            self.later(self.random.choice((0, 0.1, 0.3, 1, 4)), self.person, purchase)
        elif status != 200 and purchase.attempts < ATTEMPTS and self.random.random() < 0.97:
            pause = min(0.2 * 2 ** purchase.attempts, 4)
            self.later(pause * self.random.uniform(0.5, 1), self.create, purchase, again)

    def person(self, purchase):
        """At the provider's page, or not."""
        what = self.random.choices(("pay", "hold", "decline", "insufficient_funds", None),
                                   (80, 6, 6, 5, 3))[0]
        if purchase.url and what:
            try:
                ProviderProcess.act(purchase.url, what)
            except (OSError, http.client.HTTPException):
                self.later(0.3, self.person, purchase)
                return
        chance = self.random.random()
        if chance < 0.05:
            purchase.attempts = 0
            self.later(self.random.uniform(0, 3), self.create, purchase, True)
        elif chance < 0.12:
            self.later(self.random.uniform(0.5, 5), self.refund, purchase,
                       self.random.choice(("whole", "part", "part")), 0)
        elif chance < 0.14 and purchase.url:
            self.later(self.random.uniform(0.5, 5), self.refund_in_their_pages, purchase)
        elif chance < 0.17:
            self.spend(purchase)

    def refund(self, purchase, how, attempt, amount=None):
        """The operator gives money back; the same again until it is known what became of it."""
        if how == "part" and amount is None:
            minor = self.random.randint(1, PRICES[purchase.package] // 2)
            amount = f"{minor // 100}.{minor % 100:02}"
        name = f"refund-{purchase.name}"
        status, answer = self.post(
            f"/api/payments/{purchase.public_id}/refund", {"amount": amount} if amount else {},
            name, {"Authorization": f"Service {self.configuration['keys']['refund']}"})
        data = answer.get("data") or {}
        self.write(do="refund", name=name, payment=purchase.public_id, amount=amount,
                   status=status, code=answer.get("code"), id=data.get("refundId"))
        # Who did not pay for a while never will.
        over = (status == 201 or answer.get("code") == "refund_exceeds_payment"
                or (answer.get("code") == "payment_not_paid" and attempt > 3))
        if not over and attempt < ATTEMPTS:
            self.later(min(0.3 * 2 ** attempt, 4), self.refund, purchase, how, attempt + 1, amount)
        elif status == 201 and how == "part" and purchase.url and self.random.random() < 0.3:
            self.later(1, self.refund_in_their_pages, purchase)

    def refund_in_their_pages(self, purchase):
        """A refund that the backend was not asked for."""
        minor = self.random.randint(1, PRICES[purchase.package] // 2)
        body = {"key": f"pages-{purchase.name}", "payment_id": purchase.url.rpartition("/")[2],
                "amount": {"value": f"{minor // 100}.{minor % 100:02}", "currency": "RUB"}}
        request = urllib.request.Request(f"{self.configuration['provider']}/control/refund",
                                         json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS):
                pass
        except OSError:
            pass  # not paid, too much, or the provider is away: then there is none

    def spend(self, purchase):
        """Tokens go, so that a refund finds too few."""
        self.post("/api/ledger/spend", {"userId": self.configuration["users"][purchase.device],
                                        "amount": self.random.randint(1, 60)},
                  f"spend-{purchase.name}",
                  {"Authorization": f"Service {self.configuration['keys']['spend']}"})

    # --- the thread ---

    def run(self):
        """Until everything is begun and settled."""
        while True:
            due = self.tasks and self.tasks[0][0] <= time.monotonic()
            number = None if due else self.counter.take()
            if due:
                _, _, function, arguments = heapq.heappop(self.tasks)
                function(*arguments)
            elif number is not None:
                self.begin(number)
            elif self.counter.done() and (not self.tasks or self._give_up()):
                return
            else:
                time.sleep(0.02)

    def _give_up(self):
        if self.give_up_at is None:
            self.give_up_at = time.monotonic() + SETTLE_SECONDS
        return time.monotonic() > self.give_up_at


def main():
    """See the head of the file."""
    with open(sys.argv[1], encoding="utf-8") as file:
        configuration = json.load(file)
    name = sys.argv[2]
    counter = Counter(configuration["payments"], configuration["seconds"])
    with open(f"{configuration['journal']}/{name}.jsonl", "w", encoding="utf-8") as file:
        journal = {"file": file, "lock": threading.Lock()}
        failures = []
        threading.excepthook = lambda failure: failures.append(failure) or \
            threading.__excepthook__(failure)
        workers = [Worker(configuration, f"{name}-{number}", counter, journal)
                   for number in range(configuration["threads"])]
        threads = [threading.Thread(target=worker.run) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
