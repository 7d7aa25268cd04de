"""The notifications of tests/support/yookassa.py: sent by threads of their own, again and again
until they are answered 200, twice, late, in another order or never, as the faults say; and forged
ones."""

import collections
import contextlib
import heapq
import http.client
import itertools
import json
import ssl
import threading
import time
import urllib.parse
import uuid

REDELIVERY_SECONDS = (0.3, 1, 2, 5, 10, 30)  # the last one goes on; the real one does for a day
ANSWER_SECONDS = 15
FORGER_ADDRESSES = ("8.8.8.8", "203.0.113.7", "2001:db8::1", "185.71.76.32")


class Notice:
    """One notification: its event and object, which attempt it is, where it claims to come from."""

    def __init__(self, event, thing, forged=None, address=None):
        self.event, self.thing, self.forged, self.address = event, thing, forged, address
        self.attempts = 0

    def body(self):
        """As it is sent."""
        return json.dumps({"type": "notification", "event": self.event, "object": self.thing},
                          ensure_ascii=False).encode()


class Sender:
    """webhook: where they go; None for nowhere: what happens then is never told, what waits goes on
    waiting. ca: a PEM file. forwarded: the X-Forwarded-For of genuine ones, for an instance that
    trusts this machine as its balancer."""

    def __init__(self, faults, books, webhook=None, ca=None, forwarded=None, workers=2):
        self.faults, self.books = faults, books
        self.condition = threading.Condition()
        self.queue, self.sequence = [], itertools.count()  # (when, number, notice)
        self.under_way, self.idle_attempts = 0, 0
        self.results = collections.Counter()  # (forged or "genuine", status) -> how often
        self.local = threading.local()
        self.closing = False
        self.lead(webhook, ca, forwarded)
        self.threads = [threading.Thread(target=self._work, daemon=True) for _ in range(workers)]
        for thread in self.threads:
            thread.start()

    def lead(self, webhook, ca=None, forwarded=None):
        """Where the next ones go."""
        self.forwarded = forwarded
        self.tls = ssl.create_default_context(cafile=ca) if ca else None
        self.webhook = urllib.parse.urlsplit(webhook) if webhook else None

    # --- what happens ---

    def event(self, event, thing):
        """Something happened to an object; the books call it."""
        notice = Notice(event, thing)
        held = getattr(self.local, "held", None)
        if held is not None:
            held.append(notice)
            return
        if self.webhook is None or self.faults.hit("lost"):
            return
        self._put(notice, self.faults.random.uniform(0.2, 2) if self.faults.hit("reordered") else 0)
        if self.faults.hit("duplicate"):
            self._put(Notice(event, thing), self.faults.random.uniform(0, 1))
        if self.faults.hit("forged"):
            self._put(self.forge(thing), 0)

    def forge(self, thing):
        """One that lies: about an object nobody has, about a real one, or from elsewhere."""
        chance = self.faults.random
        kind = chance.choice(("unknown", "lie", "elsewhere"))
        lie = {**thing, "status": "succeeded", "paid": True,
               "amount": {"value": "999999.00", "currency": "RUB"}}
        event = chance.choice(("payment.succeeded", "payment.succeeded", "refund.succeeded"))
        if kind == "unknown":
            lie["id"] = str(uuid.uuid4())
        elif kind == "lie":
            with self.books.lock:
                pending = [key for key in itertools.islice(reversed(self.books.payments), 50)
                           if self.books.payments[key]["status"] == "pending"]
            lie["id"] = chance.choice(pending) if pending else lie["id"]
        address = chance.choice(FORGER_ADDRESSES) if kind == "elsewhere" else None
        return Notice(event, lie, kind, address)

    def hold(self):
        """What this thread causes from now on waits for release()."""
        self.local.held = []

    def release(self):
        """The notices since hold(); whoever gets them delivers them."""
        held, self.local.held = self.local.held, None
        return held

    def deliver_now(self, notice):
        """One attempt in this thread; more by the others when it fails."""
        if self._attempt(notice) != 200:
            self._put(notice, REDELIVERY_SECONDS[0])
        self._drop()

    # --- delivery ---

    def _put(self, notice, seconds):
        with self.condition:
            heapq.heappush(self.queue, (time.monotonic() + seconds, next(self.sequence), notice))
            self.condition.notify()

    def _take(self):
        with self.condition:
            while not self.closing:
                wait = self.queue[0][0] - time.monotonic() if self.queue else None
                if wait is not None and wait <= 0:
                    self.under_way += 1
                    return heapq.heappop(self.queue)[2]
                self.condition.wait(wait)
        return None

    def _work(self):
        while notice := self._take():
            status = self._attempt(notice)
            # Nobody repeats what was forged.
            if status != 200 and not notice.forged:
                step = min(notice.attempts, len(REDELIVERY_SECONDS)) - 1
                self._put(notice, REDELIVERY_SECONDS[step])
            with self.condition:
                self.under_way -= 1
        self._drop()

    def _attempt(self, notice):
        """The status of the answer, or 0."""
        notice.attempts += 1
        webhook = self.webhook
        if webhook is None:
            self.idle_attempts += 1
            return 0
        headers = {"Content-Type": "application/json"}
        if address := notice.address or self.forwarded:
            headers["X-Forwarded-For"] = address
        status = 0
        for fresh in (False, True):
            kept = getattr(self.local, "connection", None) is not None
            try:
                connection = self._connection(webhook)
                connection.request("POST", webhook.path, notice.body(), headers)
                answer = connection.getresponse()
                answer.read()
                status = answer.status
                break
            except (OSError, http.client.HTTPException):
                self._drop()
                # A kept connection may have been closed meanwhile; a new one that fails has failed.
                if fresh or not kept:
                    break
        with self.condition:
            self.results[notice.forged or "genuine", status] += 1
        return status

    def _connection(self, webhook):
        if getattr(self.local, "connection", None) is None:
            where = (webhook.hostname, webhook.port)
            self.local.connection = (
                http.client.HTTPSConnection(*where, context=self.tls, timeout=ANSWER_SECONDS)
                if self.tls else http.client.HTTPConnection(*where, timeout=ANSWER_SECONDS))
        return self.local.connection

    def _drop(self):
        connection = getattr(self.local, "connection", None)
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()
        self.local.connection = None

    # --- for tests ---

    def waiting(self):
        """How many are to be sent or under way."""
        with self.condition:
            return len(self.queue) + self.under_way

    def answers(self):
        """{"genuine 200": 5, "elsewhere 403": 1, ...}."""
        with self.condition:
            return {f"{kind} {status}": count for (kind, status), count in self.results.items()}

    def close(self):
        """Ends the threads; what was not sent is not."""
        with self.condition:
            self.closing = True
            self.condition.notify_all()
        for thread in self.threads:
            thread.join(ANSWER_SECONDS + 1)
