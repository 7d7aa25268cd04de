"""A payment provider to test against: it serves YooKassa's API v3 on the loopback, sends
notifications and, when told to, fails in every way a provider can.

    with Provider(webhook="https://127.0.0.1:8443/api/payments/webhook", ca=path) as provider:
        env = provider.environment()                 # YOOKASSA_... for the instance
        provider.faults.set(timeout_after=0.1)       # one POST in ten
        provider.pay(payment_id)                     # the person pays, by the provider's id

A person pays by POST to the payment's confirmation_url with the body "pay", "hold" or "decline".
/control serves the same to another process: python3 -m tests.support.yookassa prints its URL.
"""

import argparse
import base64
import collections
import contextlib
import hmac
import json
import random
import select
import socket
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.yookassa_books import REFUSALS, Books, Refusal
from tests.support.yookassa_sender import Sender

# Of every call; before: nothing was done, after: it was done and nobody was told.
TRANSPORT = ("timeout_before", "timeout_after", "error_500_before", "error_500_after",
             "too_many_requests", "cut_before", "cut_after")
# Of a payment: it differs from what was ordered, or is paid for before the POST is answered.
OBJECT = ("other_amount", "other_currency", "test_flag")
OTHER = ("early", "unknown_fields")
NOTICES = ("duplicate", "reordered", "lost", "forged")
FAULTS = TRANSPORT + OBJECT + OTHER + NOTICES
HANG_SECONDS = 30  # at most; whoever waits gives up sooner


class Faults:
    """Probabilities by name, and how often each came true."""

    def __init__(self, seed=0):
        self.lock = threading.Lock()
        self.random = random.Random(seed)
        self.chances, self.counts = {}, collections.Counter()

    def set(self, **chances):
        """Replaces all of them: what is not named is off."""
        assert set(chances) <= set(FAULTS), set(chances) - set(FAULTS)
        with self.lock:
            self.chances = chances

    def hit(self, name):
        """Whether it happens now."""
        with self.lock:
            happens = self.random.random() < self.chances.get(name, 0)
            self.counts[name] += happens
            return happens

    def one_of(self, names):
        """The first of them that happens, or None."""
        return next((name for name in names if self.hit(name)), None)


class Provider:
    """See the head of the file. books: what it keeps; requests: the last ones it got."""

    def __init__(self, shop_id="123456", secret="test_secret", seed=0, receipts_required=False,
                 **sender):
        self.shop_id, self.secret = shop_id, secret
        self.books = Books(shop_id, receipts_required)
        self.faults = Faults(seed)
        self.sender = Sender(self.faults, self.books, **sender)
        self.books.on_event = self.sender.event
        self.requests = collections.deque(maxlen=20000)
        self.connections, self.lock = set(), threading.Lock()
        self.restarts, self.failures = 0, 0
        self.server, self.port = None, 0
        self._listen()

    def _listen(self):
        handler = type("Bound", (Handler,), {"provider": self})
        self.server = Server(("127.0.0.1", self.port), handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    @property
    def url(self):
        """The base URL of the API."""
        return f"http://127.0.0.1:{self.port}/v3"

    @property
    def confirmation(self):
        """What a payment's confirmation_url is made of."""
        return f"http://127.0.0.1:{self.port}/confirm/{{}}"

    def environment(self, **more):
        """The variables that lead an instance here, its notifications included."""
        return {"YOOKASSA_SHOP_ID": self.shop_id, "YOOKASSA_SECRET_KEY": self.secret,
                "YOOKASSA_API_URL": self.url, "YOOKASSA_WEBHOOK_NETWORKS": "127.0.0.0/8", **more}

    # --- the person's side ---

    def pay(self, payment_id, hold=False):
        """The person pays."""
        return self.books.pay(payment_id, hold)

    def decline(self, payment_id, reason="general_decline"):
        """The bank says no."""
        return self.books.decline(payment_id, reason)

    def act(self, payment_id, what):
        """pay, hold, decline or the reason of a refusal, as the confirmation page does it."""
        if what in ("pay", "hold"):
            return self.pay(payment_id, what == "hold")
        if what == "decline" or what in REFUSALS:
            return self.decline(payment_id, *([what] if what in REFUSALS else []))
        raise Refusal(400, "invalid_request", "expected pay, hold or decline")

    # --- faults of the whole ---

    def restart(self, seconds=0.2):
        """Drops every connection and is away for a moment; what it keeps, stays."""
        self._stop()
        time.sleep(seconds)
        self._listen()
        self.restarts += 1

    def _stop(self):
        self.server.shutdown()
        self.server.server_close()
        with self.lock:
            dropped, self.connections = self.connections, set()
        for connection in dropped:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self):
        """Ends everything."""
        self.sender.close()
        self._stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # --- control, for another process ---

    def control(self, what, arguments):
        """What /control/WHAT does."""
        if what == "faults":
            self.faults.set(**arguments)
        elif what == "restart":
            self.restart(**arguments)
        elif what == "webhook":
            self.sender.lead(**arguments)
        elif what == "books":
            return self.books.snapshot()
        elif what == "refund":
            body = json.dumps({"payment_id": arguments["payment_id"],
                               "amount": arguments["amount"]}).encode()
            return self.books.create_refund(arguments["key"], body)[0]
        elif what != "state":
            raise Refusal(404, "not_found", f"no control {what}")
        return {"counts": dict(self.faults.counts), "waiting": self.sender.waiting(),
                "answers": self.sender.answers(), "restarts": self.restarts,
                "failures": self.failures}


class Server(ThreadingHTTPServer):
    """Threads that nobody waits for."""

    daemon_threads, block_on_close, request_queue_size = True, False, 256

    def handle_error(self, request, client_address):
        """A client that is gone is no news."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Cut(Exception):
    """The connection ends here, without an answer or in the middle of one."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    provider = None
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        with self.provider.lock:
            self.provider.connections.add(self.connection)

    def finish(self):
        with self.provider.lock:
            self.provider.connections.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, *_):  # pylint: disable=arguments-differ
        """Nothing on standard error."""

    def do_GET(self):  # pylint: disable=invalid-name
        """Any request: reads it, answers it."""
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        path, _, query = self.path.partition("?")
        # Restarting ends this very connection, so the answer has to go first.
        if path == "/control/restart":
            self._send(200, {})
            threading.Thread(target=self.provider.restart, kwargs=json.loads(body or b"{}")).start()
            return
        try:
            status, answer = self._route(path, query, body)
        except Refusal as refusal:
            status, answer = refusal.status, refusal.object
        except Cut:
            self.close_connection = True
            return
        self._send(status, answer)

    do_POST = do_PUT = do_DELETE = do_GET

    def _send(self, status, answer, cut=False):
        body = json.dumps(answer, ensure_ascii=False).encode()
        head = (f"HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n").encode()
        whole = head + body
        self.wfile.write(whole[:len(head) + len(body) // 2] if cut else whole)

    def _route(self, path, query, body):
        parts = path.strip("/").split("/")
        if parts[0] == "confirm" and len(parts) == 2:
            return 200, self.provider.act(parts[1], body.decode())
        if parts[0] == "control" and len(parts) == 2:
            return 200, self.provider.control(parts[1], json.loads(body or b"{}"))
        if parts[0] != "v3" or len(parts) < 2 or parts[1] not in ("payments", "refunds"):
            raise Refusal(404, "not_found", "No such path")
        self._authenticate()
        return self._with_faults(parts[1:], query, body)

    def _authenticate(self):
        expected = base64.b64encode(
            f"{self.provider.shop_id}:{self.provider.secret}".encode()).decode()
        given = self.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Basic {expected}".encode()):
            raise Refusal(401, "invalid_credentials", "Basic authentication failed")

    def _with_faults(self, parts, query, body):
        fault = self.provider.faults.one_of(TRANSPORT)
        entry = {"method": self.command, "path": self.path, "body": body, "fault": fault,
                 "key": self.headers.get("Idempotence-Key"), "status": None}
        self.provider.requests.append(entry)
        if fault == "too_many_requests":
            entry["status"] = 429
            raise Refusal(429, "too_many_requests", "Slow down", retry_after=100)
        self._fail(fault, "before")
        try:
            status, answer = self._serve(parts, query, body)
        except Refusal as refusal:
            status, answer = refusal.status, refusal.object
        entry["status"] = status
        if fault == "cut_after":
            self._send(status, answer, cut=True)
        self._fail(fault, "after")
        return status, answer

    def _fail(self, fault, when):
        if fault == f"timeout_{when}":
            # Until whoever asked has given up; a dead connection is readable.
            select.select([self.connection], [], [], HANG_SECONDS)
            raise Cut()
        if fault == f"cut_{when}":
            raise Cut()
        if fault == f"error_500_{when}":
            raise Refusal(500, "internal_server_error", "Try again")

    def _serve(self, parts, query, body):
        books, kind = self.provider.books, parts[0]
        if self.command == "GET" and len(parts) == 1:
            asked = dict(urllib.parse.parse_qsl(query, strict_parsing=bool(query)))
            answer = books.list(kind, asked)
            answer["items"] = [self._decorate(item) for item in answer["items"]]
            return 200, answer
        if self.command == "GET" and len(parts) == 2:
            return 200, self._decorate(books.get(kind, parts[1]))
        if self.command != "POST":
            raise Refusal(405, "not_supported", "Method not allowed")
        if self.headers.get_content_type() != "application/json":
            raise Refusal(415, "not_supported", "Expected application/json")
        return 200, self._decorate(self._post(parts, body))

    def _post(self, parts, body):
        books, key = self.provider.books, self.headers.get("Idempotence-Key", "")
        if parts == ["payments"]:
            return self._create(key, body)
        if parts == ["refunds"]:
            return books.create_refund(key, body)[0]
        if len(parts) == 3 and parts[0] == "payments" and parts[2] in ("capture", "cancel"):
            action = books.capture if parts[2] == "capture" else books.cancel
            return books.once(key, (*parts, body), lambda: action(parts[1]))[0]
        raise Refusal(404, "not_found", "No such path")

    def _create(self, key, body):
        faults, books = self.provider.faults, self.provider.books
        # Decided whether or not the payment is new: a seed means the same faults every time.
        damage = faults.one_of(OBJECT)
        early = faults.hit("early")
        with books.lock:
            known = key in books.answers
            payment, is_new = books.create_payment(key, body, self.provider.confirmation,
                                                   [damage] if damage and not known else [])
        if early and is_new and payment["status"] == "pending":
            self.provider.sender.hold()
            try:
                paid = books.pay(payment["id"])
            finally:
                notices = self.provider.sender.release()
            for notice in notices:
                self.provider.sender.deliver_now(notice)
            return faults.random.choice((payment, paid))
        return payment

    def _decorate(self, thing):
        if self.provider.faults.hit("unknown_fields"):
            thing = {"new_text": "новое", "new_list": [1, {"a": None}], **thing,
                     "new_number": 1e300, "new_object": {"id": "other", "status": "other"}}
        return thing


def main():
    """A provider in a process of its own, until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=4)
    arguments = parser.parse_args()
    provider = Provider(seed=arguments.seed, workers=arguments.workers)

    def failed(failure):
        provider.failures += 1
        threading.__excepthook__(failure)

    threading.excepthook = failed
    print(provider.url, flush=True)
    sys.stdin.read()
    provider.close()


if __name__ == "__main__":
    main()
