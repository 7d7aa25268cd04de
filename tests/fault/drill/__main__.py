"""The fault drill; scripts/fault-drill says what it is. python3 -m tests.fault.drill SECONDS"""

import argparse
import collections
import contextlib
import glob
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from tests.fault.drill import client, journal
from tests.fault.drill.books import Books, Checker
from tests.fault.drill.faults import HEAVY, LIGHT, Faults
from tests.fault.drill.node import Servers
from tests.fault.drill.pooler import Pooler
from tests.fault.drill.proxy import Proxy
from tests.support.process import REPOSITORY, end
from tests.support.stack import Stack, free_port

ACCOUNTS, POOR_ACCOUNTS = 120, 30
CLIENTS, THREADS = 3, 5
REPLAYS = 400           # of each kind, at the end
RECOVERY_SECONDS = 20   # from the end of a fault to the first good answer, at most


def step(text):
    """Says what is being done, with the time since the start."""
    print(f"[{time.monotonic() - STARTED:6.1f}s] {text}", flush=True)


STARTED = time.monotonic()


class Happened:
    """A fault that was brought about."""

    def __init__(self, name, began):
        self.name, self.began, self.over = name, began, None
        self.evidence = None


class Drill:
    """One drill: everything it starts, the faults, the check."""

    def __init__(self, arguments):
        self.seconds, self.binaries = arguments.seconds, arguments.binaries
        self.seed, self.pause, self.only = arguments.seed, arguments.pause, arguments.only
        self.database = "drill"
        self.folder = tempfile.mkdtemp(prefix="dl-drill-", dir="/tmp")
        self.cleanup = contextlib.ExitStack()
        self.cleanup.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.scripts = threading.Lock()  # one script at a time changes the instance
        self.pooled = False
        self.happened = []
        self.problems = []
        self.stop = threading.Event()
        self.clients = []

    # --- start ---

    def start(self):
        """Servers, pooler, instance, accounts."""
        self.proxy = Proxy()
        self.cleanup.callback(self.proxy.close)
        self.servers = Servers(self.proxy)
        self.cleanup.callback(self.servers.close)
        step("starting primary and standby")
        self.servers.start()
        primary = self.servers.primary
        for role in ("dreamlens_owner", "dreamlens"):
            primary.query(f"CREATE ROLE {role} LOGIN")
        primary.query(f"CREATE DATABASE {self.database} OWNER dreamlens_owner")
        self.pooler = Pooler(free_port(), self.servers.primary_port)
        self.cleanup.callback(self.pooler.close)
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.servers.ports)
        ending = f"@{hosts}/{self.database}?target_session_attrs=read-write"
        self.direct_url = "postgresql://dreamlens" + ending
        self.pooled_url = f"postgresql://dreamlens@127.0.0.1:{self.pooler.port}/{self.database}"
        self._make_clerk_key()
        step("starting handlers and nginx")
        with open(f"{self.folder}/clerk.pub", encoding="ascii") as file:
            clerk_key = file.read()
        self.stack = Stack(self.direct_url, self.binaries, {
            "POSTGRES_URL_NON_POOLING": "postgresql://dreamlens_owner" + ending,
            "CLERK_JWT_KEY": clerk_key})
        self.stack.deaths_expected = True
        self.cleanup.callback(self.stack.close)
        self._make_accounts()

    def _make_clerk_key(self):
        key = f"{self.folder}/clerk.key"
        subprocess.run(["openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt",
                        "rsa_keygen_bits:2048", "-out", key], check=True, capture_output=True)
        subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out",
                        f"{self.folder}/clerk.pub"], check=True, capture_output=True)

    def _make_accounts(self):
        made = self.stack.run("service-key", "create", "drill", check=True).stdout.split()[-1]
        users = []
        for _ in range(ACCOUNTS + POOR_ACCOUNTS):
            with_device = self.stack.client()
            users.append(with_device.get("/api/user").data["user"]["id"])
            with_device.close()
        self.configuration = {
            "port": self.stack.https_port, "service_key": made, "journal": self.folder,
            "certificate": f"{self.stack.run_dir}/tls/certificate.pem",
            "clerk_key": f"{self.folder}/clerk.key", "accounts": users[:ACCOUNTS],
            "poor": users[ACCOUNTS:], "threads": THREADS, "pause": self.pause}
        with open(f"{self.folder}/configuration.json", "w", encoding="utf-8") as file:
            json.dump(self.configuration, file)
        worker = client.Worker(self.configuration, "main",
                               journal.Journal(f"{self.folder}/main.jsonl"), self.stop)
        self.main_client = worker
        for user in users[:ACCOUNTS]:
            worker.settle(worker.make("grant", "/api/ledger/grant", {
                "userId": user, "amount": 1000000, "type": "purchase"}), patient=True)

    def start_clients(self):
        """Their processes."""
        for number in range(CLIENTS):
            process = subprocess.Popen(
                [sys.executable, "-B", "-m", "tests.fault.drill.client",
                 f"{self.folder}/configuration.json", f"c{number}-"], cwd=REPOSITORY,
                stdin=subprocess.DEVNULL, start_new_session=True)
            self.clients.append(process)
            self.cleanup.callback(end, process)

    # --- faults ---

    def _one(self, name, function, faults):
        """Brings one fault about, and counts it if it was shown."""
        fault = Happened(name, time.time())
        try:
            fault.evidence = function(faults)
        except Exception as problem:  # pylint: disable=broad-except
            if name in HEAVY or not self._server_is_away(problem):
                self.problems.append(f"{name}: {type(problem).__name__}: {problem}")
                step(self.problems[-1])
            return
        fault.over = time.time()
        if fault.evidence:
            self.happened.append(fault)
            step(f"{name}: {fault.evidence}")

    @staticmethod
    def _server_is_away(problem):
        """A light fault that met a server which is down or frozen just now did not happen."""
        return type(problem).__module__.startswith("psycopg2")

    def _repeat_faults(self, kinds, faults, pauses, deadline):
        deck, dealer = [], random.Random(f"{self.seed} {len(kinds)}")
        while kinds and time.monotonic() < deadline:
            if not deck:
                deck = list(kinds)
                dealer.shuffle(deck)
            name = deck.pop()
            self._one(name, kinds[name], faults)
            if kinds is self.heavy:
                self._wait_for_service(name)
            time.sleep(dealer.uniform(*pauses))

    def _wait_for_service(self, name):
        """After a fault of the server one good answer has to come, to a write."""
        began = time.monotonic()
        operation = self.main_client.make("grant", "/api/ledger/grant", {
            "userId": self.configuration["accounts"][0], "amount": 1, "type": "bonus"})
        self.main_client.settle(operation, patient=True)
        took = time.monotonic() - began
        if took > RECOVERY_SECONDS or not operation.acknowledged:
            self.problems.append(f"{name}: no service for {took:.1f} s after it")

    def run_faults(self):
        """Until the time is over: light ones one after the other, heavy ones beside them, and now
        and then the handlers go through PgBouncer or no longer."""
        faults = Faults(self)
        deadline = time.monotonic() + self.seconds
        self.heavy = dict(HEAVY)
        if not all(node.disk.possible for node in self.servers.nodes):
            del self.heavy["disk full"]
            step("disk full: left out, no mount namespace here: "
                 + self.servers.nodes[0].disk.problem)
        # A short drill is in a hurry: several kinds have to happen.
        calm = 1 if self.seconds > 60 else 0.3
        light_kinds = {name: LIGHT[name] for name in LIGHT if self.only in name}
        self.heavy = {name: self.heavy[name] for name in self.heavy if self.only in name}
        light = threading.Thread(target=self._repeat_faults,
                                 args=(light_kinds, faults, (0.3 * calm, 2.2 * calm), deadline))
        heavy = threading.Thread(target=self._repeat_faults,
                                 args=(self.heavy, faults, (0.5 * calm, 4 * calm), deadline))
        for thread in (light, heavy):
            thread.start()
        phase = max(self.seconds / 6, 12)
        while time.monotonic() + phase < deadline:
            time.sleep(phase)
            self._switch_phase()
        for thread in (light, heavy):
            thread.join()

    def _switch_phase(self):
        """scripts/up with the other address; it restarts every handler."""
        pooled = not self.pooled
        for _ in range(5):
            self.stack.environment["POSTGRES_URL"] = self.pooled_url if pooled else self.direct_url
            with self.scripts:
                done = self.stack.run("up")
            if done.returncode == 0:
                self.pooled = pooled
                step("handlers go "
                     + ("through PgBouncer" if pooled else "to the servers directly"))
                return
            # It refuses to go on while the database is away; what ran goes on running.
            time.sleep(2)
        self.problems.append(f"scripts/up: {done.stdout[-300:]}{done.stderr[-600:]}")

    # --- the end ---

    def settle(self):
        """Faults off; clients finish what they began."""
        self.servers.keep_alive()
        self._wait_for_service("the end")
        for process in self.clients:
            process.send_signal(signal.SIGTERM)
        for process in self.clients:
            try:
                if process.wait(client.SETTLE_SECONDS + client.ANSWER_SECONDS + 10) != 0:
                    self.problems.append("a process of clients failed")
            except subprocess.TimeoutExpired:
                self.problems.append("a process of clients does not end")
        if self.servers.rebuilding:
            self.servers.rebuilding.join(60)
        if not self.servers.whole.wait(1):
            self.problems.append(f"the standby was not made again: {self.servers.problem}")

    def read(self):
        """The journals as they are now."""
        operations, violations = journal.read(sorted(glob.glob(f"{self.folder}/*.jsonl")))
        return operations, violations

    def check(self, operations):
        """All operations against the books of now."""
        self._wait_idle()
        self.books = Books(self.servers.primary, self.database)
        return Checker(operations, self.books).run()

    def _wait_idle(self):
        end_at = time.monotonic() + 15
        while time.monotonic() < end_at and self.servers.primary.query(
                "SELECT 1 FROM pg_stat_activity WHERE usename = 'dreamlens' AND state = 'active'"):
            time.sleep(0.1)

    def replay(self, operations):
        """Repeats every operation nobody was told about, and some of the others of each kind."""
        kinds = collections.defaultdict(list)
        linked = {operation.headers["X-Device-Id"] for operation in operations.values()
                  if operation.kind == "link"}
        unknown = []
        for operation in operations.values():
            if operation.kind == "bonus" and \
                    operation.auth[1].removeprefix("Device ") in linked:
                continue  # its key belongs to an account that is another one now
            if not operation.settled:
                unknown.append(operation)
            elif operation.acknowledged:
                kinds[operation.kind].append(operation)
        sample = [operation for group in kinds.values()
                  for operation in random.sample(group, min(len(group), REPLAYS))]
        step(f"repeating {len(unknown)} operations nobody was told about, and {len(sample)} others")
        worker = self.main_client
        self.stop.clear()
        wrong = []
        for operation in unknown:
            worker.settle(operation, patient=True)
            if not operation.settled:
                wrong.append(f"{operation.name}: not answered at the end")
        for operation in sample:
            problem = journal.differs(operation, worker.caller.attempt(operation))
            if problem:
                wrong.append(problem)
        return wrong

    def verify(self):
        """scripts/verify: sums, chains, holds."""
        done = self.stack.run("verify", timeout=300)
        step("scripts/verify: " + (done.stdout.strip().splitlines() or ["?"])[-1])
        return [] if done.returncode == 0 else [f"scripts/verify: {done.stdout}{done.stderr}"]

    def close(self):
        """Ends everything."""
        self.stop.set()
        self.cleanup.close()


def outages(operations, happened):
    """{kind of fault: longest time from the first failed to the first good answer of one
    operation}. A failure belongs to the fault that began last before it; while one of a server is
    under way, or has just been, to that."""
    longest = collections.defaultdict(float)
    heavy = [fault for fault in happened if fault.name in HEAVY]
    for operation in operations.values():
        outage = operation.outage()
        if outage is None:
            continue
        failed, seconds = outage
        under_way = [fault for fault in heavy if fault.began <= failed <= fault.over + 1]
        before = [fault for fault in happened if fault.began <= failed]
        for fault in (under_way or before)[-1:]:
            longest[fault.name] = max(longest[fault.name], seconds)
    return longest


def report(drill, operations, verdict, wrong):
    """The table and the last line. Returns whether all is well."""
    happened = sorted(drill.happened, key=lambda fault: fault.began)
    counts = collections.Counter(fault.name for fault in happened)
    longest = outages(operations, happened)
    print(f"\n{'fault':32}{'shown':>6}{'longest outage':>16}   last shown by")
    for name in [*LIGHT, *HEAVY]:
        shown = [fault.evidence for fault in happened if fault.name == name]
        if shown:
            print(f"{name:32}{counts[name]:6}{longest[name]:14.1f} s   {shown[-1]}")
    print(f"\n{'operation':32}{'acknowledged':>13}")
    for kind, count in sorted(verdict.acknowledged.items()):
        print(f"{kind:32}{count:13}")
    tries = sum(operation.sent for operation in operations.values())
    statuses = collections.Counter(
        f"{answer['status'] or 'none'} {answer['code'] or ''}".strip()
        for operation in operations.values() for answer in operation.answers)
    print(f"\n{tries} requests; answers: " + ", ".join(
        f"{count} x {status}" for status, count in sorted(statuses.items())))
    for problem in [*verdict.lost[:20], *verdict.doubled[:20], *wrong[:20]]:
        print("WRONG", problem)
    for problem in drill.problems[:20]:
        print("PROBLEM", problem)
    print(f"\n{sum(counts.values())} faults of {len(counts)} kinds, "
          f"{sum(verdict.acknowledged.values())} acknowledged operations, "
          f"{len(verdict.lost)} lost, {len(verdict.doubled)} doubled, "
          f"{drill.books.negative} negative"
          + (f", {len(wrong)} answers wrong" if wrong else ""))
    return not (verdict.lost or verdict.doubled or wrong or drill.books.negative or drill.problems)


def run(drill):
    """The whole drill. Returns whether all is well."""
    drill.start()
    drill.start_clients()
    step(f"clients at work; faults for {drill.seconds} s, seed {drill.seed}")
    drill.run_faults()
    step("faults are over; clients finish")
    drill.settle()
    operations, violations = drill.read()
    step(f"checking {len(operations)} requests")
    first = drill.check(operations)
    step(f"{first.unknown} operations nobody was told about: {first.unknown_done} there, "
         f"{first.unknown - first.unknown_done} not at all; {first.refused} refused")
    violations += drill.replay(operations)
    second = drill.check(drill.read()[0])
    for names in ("lost", "doubled", "wrong"):
        known = set(getattr(second, names))
        getattr(second, names).extend(
            problem for problem in getattr(first, names) if problem not in known)
    return report(drill, drill.read()[0], second, [*violations, *second.wrong, *drill.verify()])


def main():
    """See the head of the file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("seconds", type=int)
    parser.add_argument("--binaries", required=True)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--pause", type=float, default=0.1)
    parser.add_argument("--only", default="", help="faults whose name has this text")
    arguments = parser.parse_args()
    # An end from outside cleans up as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    drill = Drill(arguments)
    well = False
    try:
        well = run(drill)
    finally:
        kept = os.environ.get("DRILL_KEEP")
        if kept:
            shutil.copytree(drill.folder, kept, dirs_exist_ok=True)
            for node in getattr(drill, "servers", None) and drill.servers.nodes or []:
                shutil.copy(node.log, f"{kept}/{node.name}.log")
        drill.close()
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
