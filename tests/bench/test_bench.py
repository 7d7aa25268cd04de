"""The benchmark works and notices a run that must not count. No speed is asserted."""

import json
import os
import subprocess

import pytest

from tests.bench import load, report, rows
from tests.bench.load import LoadError, Requests, Sample
from tests.support.process import REPOSITORY

PICKED = ["bare", "cached", "spend_32"]


def test_a_quick_run_of_some_rows(binaries, tmp_path):
    """It measures what was picked, and every ratio has its place in the file."""
    path = tmp_path / "bench.json"
    done = subprocess.run(
        [f"{REPOSITORY}/scripts/bench", "--quick", "--json", path, *PICKED, "memory"],
        env={**os.environ, "BIN_DIR": binaries}, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    made = json.loads(path.read_text(encoding="utf-8"))
    assert list(made["rows"]) == PICKED
    for row in made["rows"].values():
        assert row["rate"] > 0 and 0 < row["p50_ms"] <= row["p99_ms"] <= row["p999_ms"], row
        assert len(row["rounds"]) == made["size"]["rounds"]
        assert set(row["cpu_us"]) == {"load", "nginx", "program", "postgres"}
    # Who works in which row, and who does not.
    assert made["rows"]["spend_32"]["cpu_us"]["postgres"] > 10
    assert made["rows"]["cached"]["cpu_us"]["program"] > 1
    assert made["rows"]["bare"]["cpu_us"]["program"] > 1
    assert set(made["ratios"]) == set(made["targets"])
    measured = {name for name, value in made["ratios"].items() if value is not None}
    assert measured == {"cached_vs_bare", "cached_p99_vs_bare", "pss_idle_mb", "pss_loaded_mb"}
    assert made["settings"]["fsync"] == "on"
    assert [line.endswith("all agree") for line in made["verify"]] == [True]


def test_every_row_can_be_picked():
    """By its name, by the beginning of it, and all when none is named."""
    assert rows.pick([]) == list(rows.ALL_NAMES)
    assert rows.pick(["scale", "hot"]) == ["hot", *rows.SCALE_NAMES]
    with pytest.raises(LoadError, match="no row spen;"):
        rows.pick(["spen"])


def sample(rate, p99_ms=1.0):
    """A Sample of which only these matter."""
    return Sample(rate, 1.0, p99_ms, 2.0, 100)


def test_ratios_are_those_of_a_round():
    """A machine that was slow for one round was so for both; and who is compared with whom."""
    results = {
        "spend_32": [sample(300), sample(90), sample(300)],
        "spend_64": [sample(400, 8), sample(100, 9), sample(400, 8)],
        "pgbench": [sample(200, 1), sample(50, 1), sample(200, 1)],
        "pgbench_64": [sample(100, 4), sample(25, 4.5), sample(100, 4)],
        "hot": [sample(200), sample(60), sample(200)],
    }
    found = report.ratios(results, {"start_ms": 3.5})
    assert found["spend_vs_pgbench"] == 2      # the best spend, pgbench's best
    assert found["spend_p99_vs_pgbench"] == 2  # of as many clients
    assert found["hot_vs_spread"] == 0.5
    assert found["start_ms"] == 3.5
    assert found["spend_vs_node"] is None
    assert set(found) == set(report.TARGETS)
    assert report.verdict("spend_vs_pgbench", 2) == "at least 2.5: MISSED"
    assert report.verdict("spend_vs_pgbench", 2.5) == "at least 2.5: met"
    assert report.verdict("start_ms", 20.1) == "at most 20: MISSED"


def test_a_percentile_is_one_of_the_values():
    """The smallest value that is not below this share of them."""
    assert load.percentile([1, 2, 3, 4], 0.5) == 2
    assert load.percentile(list(range(1, 101)), 0.99) == 99
    assert load.percentile([7], 0.999) == 7


def test_answers_that_are_failures_do_not_count(stack):
    """A key that is wrong makes every answer 401, and the run an error that says how many."""
    with pytest.raises(LoadError, match=r"'status': [1-9]"):
        load.wrk(f"https://127.0.0.1:{stack.https_port}", Requests("spend", 10, key="wrong"), 2, 1)


@pytest.mark.parametrize("made, counts", [(99, False), (100, True), (164, True), (165, False)])
def test_entries_are_compared_with_what_was_acknowledged(made, counts):
    """100 acknowledged by 32 clients of one operation a request."""
    row = rows.Row("spend_32", None, 32, None, writes=1)
    if counts:
        rows.check_entries(row, sample(1), made)
    else:
        with pytest.raises(LoadError, match="100 acknowledged"):
            rows.check_entries(row, sample(1), made)


@pytest.mark.parametrize("cache, hits, misses, counts", [
    ("warm", 1000, 10, True), ("warm", 1000, 100, False), ("cold", 10, 1000, True),
    ("cold", 100, 1000, False), ("warm", 0, 0, False)])
def test_the_cache_must_have_said_what_the_row_means(cache, hits, misses, counts):
    """Cached rows hit, uncached ones miss."""
    row = rows.Row("cached", None, 64, None, cache=cache)
    after = (5 + hits, 7 + misses)
    if counts:
        rows.check_cache(row, (5, 7), after)
    else:
        with pytest.raises(LoadError, match="cache"):
            rows.check_cache(row, (5, 7), after)
