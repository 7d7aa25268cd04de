"""The benchmark; scripts/bench says what it is. python3 -m tests.bench --binaries FOLDER"""

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import signal
import subprocess
import sys
import time

from tests.bench import peers, processor, report, rows, single
from tests.bench.instance import Instance
from tests.bench.load import LoadError
from tests.support.process import REPOSITORY

STARTED = time.monotonic()
BUSY_SHARE = 0.1  # of the processors, in use before anything was started: others are at work


@dataclasses.dataclass
class Size:
    """How long and how large."""

    rounds: int
    seconds: int        # of one run
    probe_seconds: int
    probe_passes: int
    users: int
    entries_each: int
    big: int            # times the users in the larger database


FULL = Size(5, 5, 3, 2, 100_000, 10, 10)
QUICK = Size(2, 1, 1, 1, 50_000, 2, 10)


def step(text):
    """Says what is being done, with the time since the start."""
    print(f"[{time.monotonic() - STARTED:6.1f}s] {text}", flush=True)


class Bench:
    """One run of the benchmark."""

    def __init__(self, binaries, size, names):
        self.binaries, self.size, self.names = binaries, size, names
        self.cleanup = contextlib.ExitStack()
        self.results, self.remarks, self.singles = {}, {}, {}
        self.details = {"probes": {}, "verify": [], "memory_mb": {}, "singles": {}}
        self.instance = None

    # --- start ---

    def start(self):
        """The instance, idle, and its users."""
        step("starting an instance")
        self.instance = Instance(self.binaries)
        self.cleanup.callback(self.instance.close)
        if any(name.startswith("pgbench") for name in self.names):
            self.instance.allow_connections()
        self.details["settings"] = self.instance.settings()
        self._take_memory("idle")
        self._fill(self.instance, self.size.users)

    def _fill(self, instance, users):
        step(f"making {users:,} users with {users * self.size.entries_each:,} entries")
        instance.fill(users, self.size.entries_each)

    def _take_memory(self, when):
        """Memory is measured always: it costs nothing and every row may change it."""
        self.details["memory_mb"][when] = round(self.instance.memory_mb(), 2)

    # --- rows ---

    def make_rows(self):
        """The Rows of the names that were picked, in the order in which a round runs them."""
        wanted = [name for name in rows.NAMES if name in self.names]
        made = {}
        if any(name.startswith("pgbench") for name in wanted):
            made.update(self._pgbench_rows())
        if any(name.startswith("node") for name in wanted):
            made.update(self._node_rows())
        instance = self.instance
        if "bare" in wanted:
            bare = peers.Bare(instance, self.binaries)
            self.cleanup.callback(bare.close)
            [base] = instance.add_peers([bare.nginx])
            made["bare"] = rows.cached(instance, "bare", base, False)
        made["cached"] = rows.cached(instance, "cached", instance.base, True)
        made["uncached"] = rows.uncached(instance, "uncached")
        for connections in rows.SPEND_CONNECTIONS:
            name = f"spend_{connections}"
            made[name] = rows.spend(instance, name, connections)
        made["hot"] = rows.spend(instance, "hot", rows.READ_CONNECTIONS, users=1)
        made["batch"] = rows.batch(instance)
        return [made[name] for name in wanted]

    def _probe(self, what, candidates):
        best, rates = rows.probe(candidates, self.size.probe_seconds, self.size.probe_passes)
        self.details["probes"][what] = {
            candidates[key].remark: [round(rate) for rate in found]
            for key, found in rates.items()}
        step(f"{what} is best with {candidates[best].remark}")
        return best

    def _pgbench_rows(self):
        step("looking for pgbench's best")
        candidates = {
            (script, clients): rows.pgbench(self.instance, "pgbench", script, clients)
            for script in rows.write_pgbench_scripts(self.instance)
            for clients in rows.PGBENCH_CLIENTS}
        best = self._probe("pgbench", candidates)
        made = {"pgbench": candidates[best]}
        for clients in rows.SPEND_CONNECTIONS:
            name = f"pgbench_{clients}"
            made[name] = rows.pgbench(self.instance, name, best[0], clients)
        return made

    def _node_rows(self):
        step("installing the Node peer and looking for its best")
        peers.install_node()
        shapes = [(workers, pool) for workers in sorted({1, os.cpu_count()}) for pool in (8, 16)]
        nodes = []
        for shape in shapes:
            nodes.append(peers.Node(self.instance, *shape))
            self.cleanup.callback(nodes[-1].close)
        bases = self.instance.add_peers([node.nginx for node in nodes])
        made = {}
        for name in ("node_cached", "node_spend"):
            candidates = {}
            for shape, base in zip(shapes, bases):
                row = (rows.cached(self.instance, name, base, False) if name == "node_cached" else
                       rows.spend(self.instance, name, rows.READ_CONNECTIONS, base))
                row.remark = f"{shape[0]} process(es), pool of {shape[1]} each"
                candidates[shape] = row
            if name in self.names:
                made[name] = candidates[self._probe(name, candidates)]
        return made

    def rounds(self, picked):
        """All rows in turn, as often as there are rounds."""
        for number in range(self.size.rounds):
            step(f"round {number + 1} of {self.size.rounds}: "
                 + ", ".join(row.name for row in picked))
            for row in picked:
                sample = rows.measure(row, self.size.seconds)
                self.results.setdefault(row.name, []).append(sample)
                self.remarks[row.name] = row.remark or f"{row.clients} connections"
                if row.instance is self.instance:
                    self._take_memory(row.name)

    def scale(self):
        """The same rows on this database and on a larger one, by instances of their own."""
        wanted = [name for name in rows.SCALE_NAMES if name in self.names]
        if not wanted:
            return
        own = self.instance
        own.query("CREATE DATABASE bench_big OWNER dreamlens_owner")
        step("starting an instance with a larger database")
        big = Instance(self.binaries, own.url_of("bench_big"),
                       own.url_of("bench_big", "dreamlens_owner"))
        with contextlib.closing(big):
            self._fill(big, self.size.users * self.size.big)
            made = {}
            for size, instance in (("small", own), ("big", big)):
                name = f"scale_spend_{size}"
                made[name] = rows.spend(instance, name, rows.READ_CONNECTIONS)
                made[f"scale_balance_{size}"] = rows.uncached(instance, f"scale_balance_{size}")
            self.rounds([made[name] for name in wanted])
            self._verify(big)

    def _verify(self, instance):
        said = instance.verify()
        self.details["verify"].append(said)
        step(f"books of {instance.database}: {said}")

    def once(self):
        """What is not put under load."""
        for name, key, function in (("start", "start_ms", single.start_ms),
                                    ("bootstrap", "bootstrap_ms", single.bootstrap_ms)):
            if name in self.names:
                step(f"timing {name}")
                times = function(self.instance)
                self.singles[key] = single.median(times)
                self.details["singles"][key] = [round(time_ms, 2) for time_ms in times]

    def run(self):
        """Everything, in order."""
        with self.cleanup:
            self.start()
            self.once()
            picked = self.make_rows()
            if picked:
                self.instance.query("CHECKPOINT")
                self.rounds(picked)
            self.scale()
            if "memory" in self.names:
                memory = self.details["memory_mb"]
                self.singles["pss_idle_mb"] = memory["idle"]
                if len(memory) > 1:
                    self.singles["pss_loaded_mb"] = max(memory.values())
            self._verify(self.instance)
            step("stopping")


def machine():
    """What the numbers belong to."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = {line.split(":")[1].strip() for line in file if line.startswith("model name")}
    commit = subprocess.run(
        ["git", "-c", f"safe.directory={REPOSITORY}", "-C", REPOSITORY, "describe", "--always",
         "--dirty"], capture_output=True, text=True, check=False).stdout.strip()
    return {"processors": os.cpu_count(), "model": ", ".join(sorted(models)),
            "kernel": platform.release(), "commit": commit,
            "busy_before": processor.busy_share(1, time.sleep)}


def read_arguments():
    """Of the command line; scripts/bench --help tells what they mean."""
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("--binaries", required=True)
    parser.add_argument("--json")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, choices=range(1, 21), metavar="N")
    parser.add_argument("rows", nargs="*", metavar="ROW")
    arguments = parser.parse_args()
    try:
        arguments.names = rows.pick(arguments.rows)
    except LoadError as problem:
        parser.error(str(problem))
    return arguments


def main():
    """Exit status 0 when everything was measured and every check of itself held."""
    arguments = read_arguments()
    # Ends like an interrupt: what was started is taken down.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    about = machine()
    if about["busy_before"] > BUSY_SHARE:
        step(f"others use {about['busy_before']:.0%} of this machine: only processor times mean"
             " something, for programs of many processes get more of what is left")
    size = QUICK if arguments.quick else FULL
    if arguments.rounds:
        size = dataclasses.replace(size, rounds=arguments.rounds)
    bench = Bench(arguments.binaries, size, arguments.names)
    try:
        bench.run()
    except LoadError as problem:
        sys.exit(f"bench: {problem}")
    about["busy_after"] = processor.busy_share(1, time.sleep)
    found = report.ratios(bench.results, bench.singles)
    print()
    print("\n".join([
        f"{about['processors']} x {about['model']}, load generator included; PostgreSQL "
        + ", ".join(f"{name} {value}" for name, value in bench.details["settings"].items()),
        f"others used {about['busy_before']:.0%} of the processors before,"
        f" {about['busy_after']:.0%} after",
        f"commit {about['commit']}; median of {bench.size.rounds} rounds of"
        f" {bench.size.seconds} s{', QUICK: no numbers to keep' if arguments.quick else ''}", "",
        *report.table(bench.results, bench.remarks, found)]))
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({
                "machine": about, "size": dataclasses.asdict(bench.size), "ratios": found,
                "targets": report.TARGETS, "rows": {
                    name: {**report.medians(samples), "remark": bench.remarks[name],
                           "rounds": [dataclasses.asdict(sample) for sample in samples]}
                    for name, samples in bench.results.items()},
                **bench.details}, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
