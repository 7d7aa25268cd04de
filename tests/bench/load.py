"""The two load generators, wrk and pgbench, and the same four numbers from both."""

import dataclasses
import glob
import itertools
import json
import math
import os
import re
import subprocess
import tempfile
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))
THREADS = 2       # of wrk and of pgbench, on any machine
WARM_SECONDS = 1  # before each run, not counted
CONNECT_SECONDS = 2  # for the clients of pgbench
ANSWER_SECONDS = 5  # what wrk counts as timed out; nothing here takes a tenth of that

# Unlike in every other run, of this benchmark and the ones before on the same database.
_nonces = itertools.count(int(time.time()) % 10**8 * 1000)


class LoadError(Exception):
    """A run that cannot be counted: answers that were failures, a generator that stopped."""


@dataclasses.dataclass
class Sample:
    """One run. operations: acknowledged; positions: how far a sequence went (wrk); cpu_us:
    processor time an operation, by part (processor.py)."""

    rate: float     # operations a second
    p50_ms: float
    p99_ms: float
    p999_ms: float
    operations: int
    positions: int = 0
    cpu_us: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Requests:
    """What wrk sends; see requests.lua."""

    kind: str
    users: int
    start: int = 0
    key: str = "-"
    operations: int = 1  # in a request


def wrk(url, requests, connections, seconds):
    """Runs wrk and returns its Sample. Raises LoadError for anything but good answers."""
    done = subprocess.run(
        ["wrk", f"-t{min(THREADS, connections)}", f"-c{connections}", f"-d{seconds}s",
         f"--timeout={ANSWER_SECONDS}s", "-s", f"{FOLDER}/requests.lua", url, "--", requests.kind,
         str(requests.users), str(requests.start), str(next(_nonces)), requests.key],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        timeout=seconds + 60)
    found = re.search(r"^RESULT (\{.*\})$", done.stdout, re.M)
    if done.returncode != 0 or not found:
        raise LoadError(f"wrk ended with {done.returncode}: {done.stdout}{done.stderr}")
    result = json.loads(found.group(1))
    bad = {what: count for what, count in result["errors"].items() if count}
    if bad or result["requests"] == 0:
        raise LoadError(f"{url}: {result['requests']} answers, and of failures: "
                        f"{bad or 'none'} (status: an answer of 400 or more)")
    operations = result["requests"] * requests.operations
    return Sample(operations / result["seconds"], result["p50_ms"], result["p99_ms"],
                  result["p999_ms"], operations, result["positions"])


def percentile(ordered, share):
    """The smallest of the ordered numbers that at least this share of them does not exceed."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def _number(pattern, text):
    found = re.search(pattern, text)
    if not found:
        raise LoadError(f"pgbench did not say {pattern}: {text}")
    return int(found.group(1))


def _read_log(folder):
    """The transactions of pgbench's log: [(moment of the end, latency)], microseconds, in order."""
    found = []
    for path in glob.glob(f"{folder}/log.*"):
        with open(path, encoding="ascii") as file:
            for line in file:
                _client, _number, latency, _script, second, microsecond = line.split()
                found.append((int(second) * 1_000_000 + int(microsecond), int(latency)))
    return sorted(found)


def pgbench(program, url, script, clients, seconds):
    """Runs a script (a path) by pgbench with prepared statements and returns its Sample. What it
    does in the second after its first transaction is its warm-up: statements are planned."""
    with tempfile.TemporaryDirectory(prefix="dl-pgbench-") as folder:
        done = subprocess.run(
            [program, "-n", "-M", "prepared", "-c", str(clients), "-j", str(THREADS), "-T",
             str(CONNECT_SECONDS + WARM_SECONDS + seconds), "-l", f"--log-prefix={folder}/log",
             "-f", script, url],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, cwd=folder,
            timeout=seconds + 60)
        if done.returncode != 0:
            raise LoadError(f"pgbench ended with {done.returncode}: {done.stderr}")
        transactions = _read_log(folder)
    operations = _number(r"transactions actually processed: (\d+)", done.stdout)
    failed = _number(r"number of failed transactions: (\d+)", done.stdout)
    if failed or operations != len(transactions) or not transactions:
        raise LoadError(f"pgbench: {failed} failed, {operations} done, {len(transactions)} logged")
    began = transactions[0][0] + WARM_SECONDS * 1_000_000
    # Its clock runs while it connects, so what is left may be shorter than what was asked for.
    over = min(began + seconds * 1_000_000, transactions[-1][0])
    times = sorted(latency for moment, latency in transactions if began <= moment <= over)
    if (over - began) * 2 < seconds * 1_000_000:
        raise LoadError(f"pgbench: {clients} clients left too little of its {seconds} s: the"
                        " machine is too busy to connect them")
    p50, p99, p999 = (percentile(times, share) / 1000 for share in (0.5, 0.99, 0.999))
    return Sample(len(times) * 1e6 / (over - began), p50, p99, p999, operations)
