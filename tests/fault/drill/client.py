"""A process of clients that do everything the ledger can do, and keep a journal of it.

    python3 -m tests.fault.drill.client CONFIGURATION NAME

CONFIGURATION is a JSON file: port, certificate, service_key, clerk_key, accounts, poor, threads,
pause, journal. SIGTERM: no new operations; those begun are repeated until they are settled, for
SETTLE_SECONDS at most.
"""

import base64
import http.client
import json
import random
import secrets
import signal
import ssl
import subprocess
import sys
import threading
import time

from tests.fault.drill.journal import Journal, Operation, differs, is_definite

SETTLE_SECONDS = 40
ANSWER_SECONDS = 30
BATCH = 20
GIVE_UP = 0.3  # how many leave an operation alone after its first failure; the end repeats it


def clerk_token(key_file, subject):
    """A session token as Clerk makes them, valid for two hours."""
    def encode(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")
    now = int(time.time())
    claims = {"sub": subject, "iat": now - 1, "nbf": now - 1, "exp": now + 7200}
    signed = encode(b'{"alg":"RS256","typ":"JWT"}') + b"." + encode(json.dumps(claims).encode())
    signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", key_file], input=signed,
                               capture_output=True, check=True).stdout
    return (signed + b"." + encode(signature)).decode()


class Caller:
    """One kept connection; attempts are journalled before and after."""

    def __init__(self, configuration, journal):
        self.configuration, self.journal = configuration, journal
        self.tls = ssl.create_default_context(cafile=configuration["certificate"])
        self.connection = None

    def begin(self, operation):
        """Sends. Returns whether that worked."""
        self.journal.write(op=operation.name, sent=time.time())
        operation.sent += 1
        headers = {"Content-Type": "application/json", operation.auth[0]: operation.auth[1],
                   "Idempotency-Key": operation.name, **operation.headers}
        try:
            if self.connection is None:
                self.connection = http.client.HTTPSConnection(
                    "127.0.0.1", self.configuration["port"], context=self.tls,
                    timeout=ANSWER_SECONDS)
            body = None if operation.body is None else json.dumps(operation.body)
            self.connection.request("POST", operation.path, body=body, headers=headers)
            return True
        except (OSError, http.client.HTTPException):
            self.close()
            return False

    def finish(self, operation, begun=True):
        """Reads the answer, and adds it to the operation."""
        status, replayed, body = 0, False, {}
        try:
            if begun:
                response = self.connection.getresponse()
                text = response.read()
                replayed = response.headers.get("Idempotency-Replayed") == "true"
                body = json.loads(text)
                status = response.status
        except (OSError, http.client.HTTPException, ValueError):
            self.close()
        answer = {"op": operation.name, "got": time.time(), "status": status,
                  "replayed": replayed, "data": body.get("data"), "code": body.get("code")}
        self.journal.write(**answer)
        operation.answers.append(answer)
        return answer

    def attempt(self, operation):
        """One attempt."""
        return self.finish(operation, self.begin(operation))

    def close(self):
        """Closes the connection."""
        if self.connection:
            self.connection.close()
            self.connection = None


class Worker(threading.Thread):
    """One client: one thing after the other, chosen at random."""

    def __init__(self, configuration, name, journal, stop):
        super().__init__(name=name)
        self.configuration, self.journal, self.stop = configuration, journal, stop
        self.random = random.Random(secrets.randbits(64))
        self.caller = Caller(configuration, journal)
        self.other = Caller(configuration, journal)
        self.service = ["Authorization", "Service " + configuration["service_key"]]
        self.count = 0
        self.done = []  # acknowledged lately, to be repeated or reversed
        self.give_up_at = None

    # --- operations ---

    def make(self, kind, path, body=None, auth=None, headers=None):
        """An operation with a name nobody has used."""
        self.count += 1
        line = {"op": f"{self.name}-{self.count}", "kind": kind, "path": path, "body": body,
                "auth": auth or self.service, "headers": headers or {}}
        if kind in ("spend", "grant", "hold"):
            body["description"] = line["op"]
        self.journal.write(**line)
        return Operation(line)

    def settle(self, operation, patient=False):
        """Repeats until the answer is definite. Returns it, or None when this client gave up."""
        first = True
        while True:
            answer = self.caller.attempt(operation)
            if is_definite(answer["status"], answer["code"], answer["data"]):
                if operation.acknowledged is answer:
                    self.done = [*self.done[-30:], operation]
                return answer
            if first and not patient and self.random.random() < GIVE_UP:
                self.journal.write(op=operation.name, left=time.time())
                return None
            first = False
            if self.stop.is_set():
                self.give_up_at = self.give_up_at or time.time() + SETTLE_SECONDS
                if time.time() > self.give_up_at:
                    return None
            time.sleep(self.random.uniform(0.05, 0.25))

    def race(self, one, two):
        """Both at once, on two connections; then each until it is settled."""
        begun = [self.caller.begin(one), self.other.begin(two)]
        answers = [self.caller.finish(one, begun[0]), self.other.finish(two, begun[1])]
        for operation, answer in zip((one, two), answers):
            if not is_definite(answer["status"], answer["code"], answer["data"]):
                self.settle(operation, patient=True)

    def data_of(self, operation, patient=False):
        """The data it was answered with when it succeeded, else None."""
        answer = self.settle(operation, patient)
        return answer["data"] if answer and 200 <= answer["status"] < 300 else None

    def account(self):
        """An account to move tokens of: most can pay, some often cannot."""
        few = self.random.random() < 0.15
        return self.random.choice(self.configuration["poor" if few else "accounts"])

    def movement(self, user):
        """The kind and the body of a single movement."""
        if self.random.random() < 0.6:
            return "spend", {"userId": user, "amount": self.random.randint(1, 30)}
        kind = self.random.choice(("purchase", "bonus", "refund"))
        return "grant", {"userId": user, "amount": self.random.randint(1, 20), "type": kind}

    def hold_of(self, user, seconds):
        """An operation that sets tokens aside."""
        return self.make("hold", "/api/ledger/holds",
                         {"userId": user, "amount": self.random.randint(1, 30),
                          "ttlSeconds": seconds})

    def capture_of(self, hold_id, amount=None):
        """An operation that takes a hold, or a part of it."""
        return self.make("capture", f"/api/ledger/holds/{hold_id}/capture",
                         {} if amount is None else {"amount": amount})

    # --- what clients do ---

    def do_single(self):
        """A spend or a grant; sometimes twice at once under one key."""
        kind, body = self.movement(self.account())
        operation = self.make(kind, f"/api/ledger/{kind}", body)
        if self.random.random() < 0.05:
            self.race(operation, operation)
        else:
            self.settle(operation)

    def do_batch(self):
        """Twenty movements in one request."""
        operations = []
        operation = self.make("batch", "/api/ledger/batch", {"operations": operations})
        for place in range(BATCH):
            kind, body = self.movement(self.account())
            name = f"{operation.name}.{place}"
            operations.append({"operationId": name, "kind": kind, "description": name, **body})
        # The journal has to have it before it is sent.
        self.journal.write(op=operation.name, kind="batch", path=operation.path,
                           auth=operation.auth, body=operation.body)
        self.settle(operation)

    def do_hold(self):
        """A hold, and one of the ends it can have."""
        way = self.random.random()
        held = self.data_of(self.hold_of(self.account(), 3 if way < 0.05 else 86400))
        if held is None or way < 0.1:
            return
        capture = None if 0.4 < way < 0.6 else self.capture_of(
            held["holdId"], None if self.random.random() < 0.5 else 1)
        release = None if 0.1 < way < 0.4 else self.make(
            "release", f"/api/ledger/holds/{held['holdId']}/release")
        if capture and release:
            self.race(capture, release)
        else:
            self.settle(capture or release)

    def do_reverse(self):
        """Takes back something this client did, sometimes twice under two keys."""
        movements = [done for done in self.done if done.kind in ("spend", "grant", "capture")]
        if not movements:
            return
        entry = self.random.choice(movements).acknowledged["data"]["transactionId"]
        path = f"/api/ledger/transactions/{entry}/reverse"
        if self.random.random() < 0.2:
            self.race(self.make("reverse", path), self.make("reverse", path))
        else:
            self.settle(self.make("reverse", path))

    def device(self):
        """The header of a device nobody has used."""
        return ["Authorization", "Device device_drill_" + secrets.token_hex(12)]

    def do_bonus(self):
        """The daily bonus of a new device, sometimes twice under two keys."""
        device = self.device()
        first = self.make("bonus", "/api/tokens", auth=device)
        if self.random.random() < 0.3:
            self.race(first, self.make("bonus", "/api/tokens", auth=device))
        else:
            self.settle(first)

    def do_link(self):
        """A device with a bonus, movements and holds becomes part of a Clerk account; what was done
        before is repeated afterwards, and movements of the device's account find the new one."""
        device = self.device()
        claimed = self.make("bonus", "/api/tokens", auth=device)
        if self.data_of(claimed, patient=True) is None:
            return
        user = self.user_of(device)
        if user is None:
            return
        grant = self.make("grant", "/api/ledger/grant",
                          {"userId": user, "amount": 60, "type": "purchase"})
        spend = self.make("spend", "/api/ledger/spend", {"userId": user, "amount": 7})
        holds = [self.hold_of(user, 86400) for _ in range(2)]
        before = [grant, spend, *holds]
        for operation in before:
            self.settle(operation, patient=True)
        if not all(operation.acknowledged for operation in before):
            return
        hold_ids = [hold.acknowledged["data"]["holdId"] for hold in holds]
        entry = spend.acknowledged["data"]["transactionId"]
        before += [self.capture_of(hold_ids[0]),
                   self.make("reverse", f"/api/ledger/transactions/{entry}/reverse")]
        for operation in before[4:]:
            self.settle(operation)
        subject = "user_drill_" + secrets.token_hex(8)
        clerk = ["Authorization", "Bearer " + clerk_token(self.configuration["clerk_key"], subject)]
        link = self.make("link", "/api/user/link", auth=clerk,
                         headers={"X-Device-Id": device[1].removeprefix("Device ")})
        if self.random.random() < 0.3:
            self.race(link, link)
        else:
            self.settle(link, patient=True)
        # The key of a claim belongs to the account that made it, which is another one now.
        self.done = [operation for operation in self.done if operation is not claimed]
        self.settle(self.capture_of(hold_ids[1]))
        self.settle(self.make("spend", "/api/ledger/spend", {"userId": user, "amount": 3}))
        self.settle(self.make("reverse", f"/api/ledger/transactions/{entry}/reverse"))
        for operation in before:
            if operation.acknowledged:
                self.repeat(operation)

    def user_of(self, device):
        """The user id of a device; None when the server does not say."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.configuration["port"],
                                                 context=self.caller.tls, timeout=ANSWER_SECONDS)
        try:
            for _ in range(20):
                connection.request("GET", "/api/user", headers=dict([device]))
                response = connection.getresponse()
                body = response.read()
                if response.status == 200:
                    return json.loads(body)["data"]["user"]["id"]
                time.sleep(0.3)
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        return None

    def repeat(self, operation):
        """Asks again for what is done already."""
        problem = differs(operation, self.caller.attempt(operation))
        if problem:
            self.journal.write(violation=problem)

    def do_repeat(self):
        """Repeats something, sometimes with another body under the same key."""
        if not self.done:
            return
        operation = self.random.choice(self.done)
        if operation.kind not in ("spend", "grant") or self.random.random() < 0.8:
            self.repeat(operation)
            return
        forged = Operation({"op": operation.name, "kind": operation.kind, "path": operation.path,
                            "auth": operation.auth,
                            "body": {**operation.body, "amount": operation.body["amount"] + 1}})
        quiet = Caller(self.configuration, Nothing())
        answer = quiet.attempt(forged)
        quiet.close()
        if is_definite(answer["status"], answer["code"]) and answer["status"] != 422:
            self.journal.write(violation=f"{operation.name}: another body under its key was "
                                         f"answered {answer['status']} {answer['code']}")

    def run(self):
        ways = [(self.do_batch, 30), (self.do_single, 34), (self.do_hold, 16),
                (self.do_reverse, 6), (self.do_bonus, 6), (self.do_link, 1), (self.do_repeat, 8)]
        functions, weights = zip(*ways)
        while not self.stop.is_set():
            self.random.choices(functions, weights)[0]()
            time.sleep(self.random.uniform(0, 2 * self.configuration["pause"]))


class Nothing:
    """A journal that keeps nothing."""

    def write(self, **line):
        """Does nothing."""


def main():
    """See the head of the file."""
    with open(sys.argv[1], encoding="utf-8") as file:
        configuration = json.load(file)
    name = sys.argv[2]
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    journal = Journal(f"{configuration['journal']}/{name}.jsonl")
    workers = [Worker(configuration, f"{name}{number}", journal, stop)
               for number in range(configuration["threads"])]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        for worker in workers:
            worker.join(0.2)


if __name__ == "__main__":
    main()
