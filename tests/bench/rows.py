"""The rows: what each one sends, to whom, and how a run of it checks itself."""

import dataclasses
import statistics
import time
from typing import Callable, Optional

from tests.bench import data, load
from tests.bench.instance import Instance
from tests.bench.load import LoadError, Requests, Sample
from tests.bench.processor import Processor
from tests.support.postgres import programs_folder
from tests.support.process import children, wait_until

READ_CONNECTIONS = 64     # of every row of reads, and of the spends that are compared with others
SPEND_CONNECTIONS = (32, 64, 128, 256)
BATCH_CONNECTIONS = 16
BATCH = 100               # operations, as in requests.lua
AUTOVACUUM_WORKERS = 3    # may begin at any time
PGBENCH_CLIENTS = (8, 16, 32, 64)  # its best of these is the reference
CACHED_USERS = 200        # read so often that the cache has all of them before a run begins
CACHE_SLIP = 0.02         # share of look-ups that may go the other way (entries last 30 s)
CACHE_SECONDS = 31         # then nothing of a run is kept

NAMES = ("bare", "cached", "node_cached", "uncached", "pgbench",
         *(f"pgbench_{n}" for n in SPEND_CONNECTIONS), *(f"spend_{n}" for n in SPEND_CONNECTIONS),
         "hot", "batch", "node_spend")
SCALE_NAMES = ("scale_spend_small", "scale_spend_big", "scale_balance_small", "scale_balance_big")
SINGLE_NAMES = ("start", "bootstrap", "memory")
ALL_NAMES = NAMES + SCALE_NAMES + SINGLE_NAMES


def pick(words):
    """The names that words name: each is one, or the beginning of some before a "_"."""
    picked = set()
    for word in words:
        found = {name for name in ALL_NAMES if name == word or name.startswith(word + "_")}
        if not found:
            raise LoadError(f"no row {word}; there are {', '.join(ALL_NAMES)}")
        picked |= found
    return [name for name in ALL_NAMES if name in picked or not words]


@dataclasses.dataclass
class Row:
    """A row under load. run(seconds): one run of it. writes: operations a request, 0 for reads."""

    name: str
    instance: Instance
    clients: int
    run: Callable[[int], Sample]
    writes: int = 0
    cache: Optional[str] = None  # "warm" or "cold": what the shared cache must have said
    warm_up: bool = True
    remark: str = ""


def measure(row, seconds):
    """A warm-up, then a run that checks itself. Returns its Sample."""
    if row.warm_up:
        row.run(load.WARM_SECONDS)
    _wait_quiet(row.instance)
    entries = row.instance.entries() if row.writes else 0
    counts = row.instance.cache_counts() if row.cache else None
    processor = Processor(row.instance)
    sample = row.run(seconds)
    _wait_quiet(row.instance)
    sample.cpu_us = processor.microseconds(sample.operations)
    if row.writes:
        check_entries(row, sample, row.instance.entries() - entries)
    if counts:
        check_cache(row, counts, row.instance.cache_counts())
    row.instance.forget_access_log()
    return sample


def _wait_quiet(instance):
    """Until what the generator left behind when it stopped is done."""
    wait_until(lambda: instance.query(
        "SELECT count(*) = 0 FROM pg_stat_activity WHERE state = 'active'"
        " AND usename = 'dreamlens' AND backend_type = 'client backend'")[0][0],
        30, "the database is idle")


def check_entries(row, sample, made):
    """What was acknowledged is there, and no more than what was under way besides: requests cut off
    at the end of this run, and those of the warm-up that were still queued when it began."""
    most = sample.operations + 2 * row.clients * row.writes
    if not sample.operations <= made <= most:
        raise LoadError(f"{row.name}: {sample.operations} acknowledged, but {made} new entries"
                        f" (at most {most} expected)")


def check_cache(row, before, after):
    """before, after: (hits, misses) of all time. A row of warm reads hit, one of first reads
    missed, but for the few whose entries ended meanwhile."""
    hits, misses = (now - then for now, then in zip(after, before))
    wrong = misses if row.cache == "warm" else hits
    if wrong > CACHE_SLIP * (hits + misses) or hits + misses == 0:
        raise LoadError(f"{row.name}: expected a {row.cache} cache, but {hits} hits and"
                        f" {misses} misses")


# --- the rows ---

def cached(instance, name, base, product):
    """Balances that the cache has. product: whether it is our cache."""
    def run(seconds):
        return load.wrk(base, Requests("balance", CACHED_USERS), READ_CONNECTIONS, seconds)
    return Row(name, instance, READ_CONNECTIONS, run, cache="warm" if product else None)


def uncached(instance, name):
    """Balances of users nobody has asked for within the time that the cache keeps them: each in
    turn. Two statements, for the identity and for the balance. Waits until none of the last run's
    is kept any more, because a short round comes by the same users again."""
    def run(seconds):
        time.sleep(max(0, instance.cold_at - time.monotonic()))
        sample = load.wrk(instance.base, Requests("sequence", instance.users, instance.position),
                          READ_CONNECTIONS, seconds)
        instance.position = (instance.position + sample.positions) % instance.users
        instance.cold_at = time.monotonic() + CACHE_SECONDS
        return sample
    return Row(name, instance, READ_CONNECTIONS, run, cache="cold")


def spend(instance, name, connections, base=None, users=None):
    """Single spends over all users, or the first few."""
    def run(seconds):
        requests = Requests("spend", users or instance.users, key=instance.service_key)
        return load.wrk(base or instance.base, requests, connections, seconds)
    return Row(name, instance, connections, run, writes=1)


def batch(instance):
    """Batches of spends over all users."""
    def run(seconds):
        requests = Requests("batch", instance.users, key=instance.service_key, operations=BATCH)
        return load.wrk(instance.base, requests, BATCH_CONNECTIONS, seconds)
    return Row("batch", instance, BATCH_CONNECTIONS, run, writes=BATCH,
               remark="latency is of a batch")


def pgbench(instance, name, script, clients):
    """Spends by pgbench over all users. script: (its name, its path)."""
    def run(seconds):
        before = len(children(instance.postmaster()))
        sample = load.pgbench(f"{programs_folder()}/pgbench", instance.url, script[1], clients,
                              seconds)
        # The sessions end after their clients, which with 256 of them takes a second or two.
        wait_until(lambda: len(children(instance.postmaster())) < before + AUTOVACUUM_WORKERS + 1,
                   30, "pgbench's sessions are gone")
        return sample
    return Row(name, instance, clients, run, writes=1, warm_up=False,
               remark=f"{script[0]}, {clients} clients")


def probe(candidates, seconds, passes):
    """Runs {key: Row} in turn, some passes, and returns the key of the highest median rate and
    {key: [rates]}."""
    rates = {key: [] for key in candidates}
    for _ in range(passes):
        for key, row in candidates.items():
            rates[key].append(measure(row, seconds).rate)
    best = max(rates, key=lambda key: statistics.median(rates[key]))
    return best, rates


def write_pgbench_scripts(instance):
    """[(name, path)] of the two ways to spend."""
    return list(data.write_scripts(instance.stack.state, instance.users).items())
