"""The payments drill; scripts/payments-drill says what it is.

    python3 -m tests.fault.payments_drill SECONDS --binaries FOLDER
"""

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

from tests.fault.drill.node import Node
from tests.fault.drill.proxy import Proxy
from tests.fault.payments_drill.check import (
    Ours, Verdict, acknowledged_but_gone, forged_and_believed, read_journal)
from tests.fault.payments_drill.faults import CHANCES, HEAVY, LIGHT, RECONCILER, Faults
from tests.support import logs
from tests.support.process import REPOSITORY, as_user, end, wait_until
from tests.support.stack import Stack
from tests.support.yookassa import FAULTS as PROVIDER_FAULTS
from tests.support.yookassa_process import ProviderProcess

DEVICES = 400
PROCESSES, THREADS = 2, 12
POLL_SECONDS = 3          # of the reconciler
PROVIDER_TIMEOUT_MS = 1000
AGREE_SECONDS = 120       # after the faults, until the books agree
WEBHOOK = "/api/payments/webhook"
STARTED = time.monotonic()


def step(text):
    """Says what is being done, with the time since the start."""
    print(f"[{time.monotonic() - STARTED:6.1f}s] {text}", flush=True)


class Reconciler:
    """The second one, beside that of the instance."""

    def __init__(self, stack, folder):
        self.binary, self.log = f"{stack.run_dir}/bin/{RECONCILER}", f"{folder}/reconciler.log"
        self.environment = {**stack.environment, "SHARED_MEMORY": stack.instance["SHARED_MEMORY"]}
        self.user = as_user(stack.instance["RUN_USER"])
        self.process = None
        self.start()

    def start(self):
        """Starts it."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.binary], env=self.environment, cwd="/", stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True, **self.user)

    def kill(self):
        """kill -9, and another one. Returns both process ids."""
        before = self.process.pid
        assert self.process.poll() is None, logs.read(self.log)[-2000:]
        self.process.kill()
        self.process.wait(10)
        self.start()
        return before, self.process.pid

    def close(self):
        """Ends it."""
        end(self.process)


class Servers:
    """One PostgreSQL server behind the proxy."""

    def __init__(self, proxy):
        self.primary = Node("payments")
        self.port = proxy.add("primary", self.primary.socket)

    def start(self):
        """Makes it."""
        self.primary.initialise()
        self.primary.configure()
        self.primary.start()

    def close(self):
        """Ends it."""
        self.primary.close()


class Drill:
    """One drill: everything it starts, the faults, the check."""

    def __init__(self, arguments):
        self.seconds, self.payments = arguments.seconds, arguments.payments
        self.binaries, self.seed = arguments.binaries, arguments.seed
        self.only = arguments.only
        self.database = "drill"
        self.folder = tempfile.mkdtemp(prefix="dl-pay-", dir="/tmp")
        os.chmod(self.folder, 0o711)
        self.cleanup = contextlib.ExitStack()
        self.cleanup.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.scripts = threading.Lock()  # one script at a time changes the instance
        self.happened = collections.defaultdict(list)  # fault -> what showed it
        self.problems = []
        self.buyers = []

    # --- start ---

    def start(self):
        """Server, provider, instance, second reconciler, accounts."""
        self.proxy = Proxy()
        self.cleanup.callback(self.proxy.close)
        self.servers = Servers(self.proxy)
        self.cleanup.callback(self.servers.close)
        step("starting PostgreSQL, the provider, handlers and nginx")
        self.servers.start()
        for role in ("dreamlens_owner", "dreamlens"):
            self.servers.primary.query(f"CREATE ROLE {role} LOGIN")
        self.servers.primary.query(f"CREATE DATABASE {self.database} OWNER dreamlens_owner")
        self.provider = ProviderProcess(self.seed)
        self.cleanup.callback(self.provider.close)
        ending = f"@127.0.0.1:{self.servers.port}/{self.database}"
        self.stack = Stack("postgresql://dreamlens" + ending, self.binaries, {
            "POSTGRES_URL_NON_POOLING": "postgresql://dreamlens_owner" + ending,
            **self.provider.environment(YOOKASSA_TIMEOUT_MS=str(PROVIDER_TIMEOUT_MS))})
        self.stack.deaths_expected = True
        self.cleanup.callback(self.stack.close)
        self.query("UPDATE app_settings SET value = %s WHERE name = 'payments_poll_seconds'",
                   (POLL_SECONDS,))
        self.tokens = {int(100 * price): tokens for price, tokens in self.query(
            "SELECT price, tokens FROM token_packages")}
        self.reconciler = Reconciler(self.stack, self.folder)
        self.cleanup.callback(self.reconciler.close)
        self.send_notifications()
        self._configure_buyers()

    def query(self, text, parameters=None):
        """Runs a statement as superuser, past the proxy."""
        return self.servers.primary.query(text, parameters, database=self.database)

    def send_notifications(self):
        """The provider sends its notifications to the instance."""
        self.provider.control("webhook", ca=f"{self.stack.run_dir}/tls/certificate.pem",
                              webhook=f"https://127.0.0.1:{self.stack.https_port}{WEBHOOK}")

    def state(self):
        """Of the provider; empty while it is away."""
        try:
            return self.provider.control("state")
        except OSError:
            return {}

    def _service_key(self, scope):
        made = self.stack.run("service-key", "create", f"drill-{scope}", scope, check=True)
        return made.stdout.split()[-1]

    def _configure_buyers(self):
        users = {}
        for _ in range(DEVICES):
            client = self.stack.client()
            users[client.device] = client.get("/api/user").data["user"]["id"]
            client.close()
        with open(f"{self.folder}/configuration.json", "w", encoding="utf-8") as file:
            json.dump({
                "port": self.stack.https_port, "provider": self.provider.base, "users": users,
                "certificate": f"{self.stack.run_dir}/tls/certificate.pem",
                "keys": {scope: self._service_key(scope) for scope in ("refund", "spend")},
                "devices": sorted(users), "threads": THREADS, "seconds": self.seconds,
                "payments": -(-self.payments // PROCESSES), "journal": self.folder}, file)

    def start_buyers(self):
        """Their processes."""
        for number in range(PROCESSES):
            process = subprocess.Popen(
                [sys.executable, "-B", "-m", "tests.fault.payments_drill.buyers",
                 f"{self.folder}/configuration.json", f"b{number}-{self.seed}"], cwd=REPOSITORY,
                stdin=subprocess.DEVNULL, start_new_session=True)
            self.buyers.append(process)
            self.cleanup.callback(end, process)

    # --- faults ---

    def _one(self, name, function, faults):
        try:
            shown = function(faults)
        except Exception as problem:  # pylint: disable=broad-except
            # A light fault that met a server which is down just now did not happen.
            if name in HEAVY or not type(problem).__module__.startswith("psycopg2"):
                self.problems.append(f"{name}: {type(problem).__name__}: {problem}")
                step(self.problems[-1])
            return
        if shown:
            self.happened[name].append(shown)
            step(f"{name}: {shown}")

    def _repeat(self, kinds, faults, pauses):
        deck, dealer = [], random.Random(f"{self.seed} {len(kinds)}")
        while kinds and self.at_work():
            if not deck:
                deck = list(kinds)
                dealer.shuffle(deck)
            name = deck.pop()
            self._one(name, kinds[name], faults)
            time.sleep(dealer.uniform(*pauses))

    def at_work(self):
        """Whether somebody still buys."""
        return any(process.poll() is None for process in self.buyers)

    def run_faults(self):
        """As long as somebody buys."""
        faults = Faults(self)
        self.provider.control("faults", **{
            name: chance for name, chance in CHANCES.items() if self.only in name})
        calm = 1 if self.seconds > 60 else 0.3
        threads = [
            threading.Thread(target=self._repeat, args=(
                {name: kinds[name] for name in kinds if self.only in name}, faults,
                (least * calm, most * calm)))
            for kinds, least, most in ((LIGHT, 0.5, 4), (HEAVY, 8, 20))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for process in self.buyers:
            if process.wait() != 0:
                self.problems.append("a process of buyers failed")

    # --- the end ---

    def agree(self):
        """No faults any more: whoever has not paid does or never will, and the reconciler brings
        the rest to its end. Returns the last comparison."""
        self.state_then = self.state()
        self.provider.control("faults")
        self.send_notifications()
        began = time.monotonic()
        listed = False
        while True:
            theirs = self.provider.control("books")
            waiting = self._finish_payments(theirs)
            verdict = Verdict(theirs, Ours(self.query), self.tokens)
            open_rows = self._open_rows(theirs)
            if not waiting and not open_rows and not verdict.all():
                if listed:
                    break
                step(f"the books are the same {time.monotonic() - began:.0f} s after the faults")
                # They still have to be once the lists were read.
                listed = self._list_again()
            elif time.monotonic() > began + AGREE_SECONDS:
                self.problems.append(
                    f"after {AGREE_SECONDS} s {waiting} payments are not paid or given up,"
                    f" {len(open_rows)} rows of ours are open, such as {open_rows[:3]}")
                break
            time.sleep(2)
        step("compared again after the lists were read")
        return verdict

    def _finish_payments(self, theirs):
        """Pays half of what is left at the provider, and ends the rest. Returns how many."""
        left = [payment for payment in theirs["payments"].values()
                if payment["status"] == "pending"]
        for payment in left:
            # Decided by the id, whose last digit is as good as a coin.
            self.provider.act(self.provider.page(payment["id"]),
                              "pay" if payment["id"][-1] in "02468ace" else "decline")
        return len(left)

    def _open_rows(self, theirs):
        """Our rows that wait for something, but for those that cannot agree with the provider's."""
        damaged = {theirs["payments"][name]["metadata"]["payment_id"] for name in theirs["damage"]}
        rows = self.query(
            "SELECT id::text, status, yookassa_payment_id, request_body, created_at::text,"
            " next_check_at::text FROM payments WHERE next_check_at IS NOT NULL UNION ALL"
            " SELECT id::text, status, yookassa_refund_id, request_body, created_at::text,"
            " next_check_at::text FROM payment_refunds WHERE next_check_at IS NOT NULL")
        return [row for row in rows if row[0] not in damaged]

    def _list_again(self):
        self.query("UPDATE payment_windows SET claimed_until = NULL, listed_at = NULL")
        wait_until(lambda: self.query("SELECT count(*) = 2 FROM payment_windows"
                                      " WHERE listed_at IS NOT NULL")[0][0], 180,
                   "the lists were read")
        return True

    def verify(self):
        """scripts/verify, and what the logs say."""
        done = self.stack.run("verify", timeout=300)
        step("scripts/verify: " + (done.stdout.strip().splitlines() or ["?"])[-1])
        problems = [] if done.returncode == 0 else [f"scripts/verify: {done.stdout}{done.stderr}"]
        if self.state()["failures"]:
            problems.append("a thread of the provider failed, see above")
        return problems + logs.findings(logs.read(self.reconciler.log))

    def close(self):
        """Ends everything."""
        self.cleanup.close()


def report(drill, lines, verdict, wrong):
    """The tables and the last line. Returns whether all is well."""
    provider, state = collections.Counter(drill.state_then["counts"]), drill.state()
    print(f"\n{'fault':32}{'times':>8}   last shown by")
    for name in [*LIGHT, *HEAVY]:
        shown = drill.happened.get(name, [])
        print(f"{name:32}{len(shown):8}   {shown[-1] if shown else ''}")
    for name in PROVIDER_FAULTS:
        print(f"{'provider: ' + name:32}{provider[name]:8}")
    missing = [name for name in [*LIGHT, *HEAVY] if not drill.happened.get(name)]
    missing += [name for name in PROVIDER_FAULTS if not provider[name]]
    answers = collections.Counter(f"{line['do']} {line['status'] or 'none'} {line['code'] or ''}"
                                  .strip() for line in lines)
    print("\nanswers: " + ", ".join(f"{count} x {name}" for name, count in sorted(answers.items())))
    print("notifications: " + ", ".join(
        f"{count} x {name}" for name, count in sorted(state["answers"].items())))
    print("not shown: " + (", ".join(missing) or "none"))
    for problem in [*verdict.lost[:20], *verdict.doubled[:20], *wrong[:30]]:
        print("WRONG", problem)
    for problem in drill.problems[:20]:
        print("PROBLEM", problem)
    statuses = collections.Counter(
        payment["status"] for payment in verdict.theirs["payments"].values())
    print(f"\n{len(verdict.theirs['payments'])} payments ("
          + ", ".join(f"{count} {name}" for name, count in sorted(statuses.items()))
          + f"), {verdict.refunded} refunds, {sum(verdict.expected.values())} tokens paid for")
    faults = sum(map(len, drill.happened.values())) + sum(provider.values())
    kinds = len([*LIGHT, *HEAVY, *PROVIDER_FAULTS]) - len(missing)
    print(f"{faults} faults of {kinds} kinds, {verdict.paid_for} payments paid,"
          f" {verdict.credited} credited, {verdict.recorded} recorded as different,"
          f" {len(verdict.lost)} lost, {len(verdict.doubled)} doubled, {len(wrong)} wrong")
    return not (verdict.lost or verdict.doubled or wrong or drill.problems)


def run(drill):
    """The whole drill. Returns whether all is well."""
    drill.start()
    drill.start_buyers()
    step(f"{drill.payments} payments in {drill.seconds} s or more, seed {drill.seed}")
    drill.run_faults()
    step("nobody buys any more, faults are over")
    verdict = drill.agree()
    lines, violations = read_journal(sorted(glob.glob(f"{drill.folder}/*.jsonl")))
    wrong = [*verdict.wrong, *violations, *acknowledged_but_gone(lines, verdict.ours),
             *forged_and_believed(drill.state()["answers"]), *drill.verify()]
    return report(drill, lines, verdict, wrong)


def main():
    """See the head of the file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("seconds", type=int)
    parser.add_argument("--binaries", required=True)
    parser.add_argument("--payments", type=int, default=10500,
                        help="how many are begun; some never reach the provider")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--only", default="", help="faults whose name has this text")
    drill = Drill(parser.parse_args())
    # An end from outside cleans up as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    well = False
    try:
        well = run(drill)
    finally:
        if kept := os.environ.get("DRILL_KEEP"):
            shutil.copytree(drill.folder, kept, dirs_exist_ok=True)
            if hasattr(drill, "stack"):
                shutil.copytree(f"{drill.stack.run_dir}/logs", f"{kept}/logs", dirs_exist_ok=True)
        drill.close()
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
