"""From samples to medians, ratios and targets, and how they are shown."""

import statistics

from tests.bench.processor import PARTS

# name of the ratio: (row, reference row, the least rate, the most p99, both as a multiple of the
# reference's; None: no target). "spend" stands for the best number of connections, "reference" for
# pgbench at its best.
PAIRS = {
    "spend_vs_pgbench": ("spend", "reference", 2.5, None),
    "batch_vs_pgbench": ("batch", "reference", 6, None),
    "hot_vs_spread": ("hot", "spend_64", 0.7, None),
    "spend_vs_node": ("spend_64", "node_spend", 5, 1 / 3),
    "cached_vs_bare": ("cached", "bare", 1.1, 1),
    "cached_vs_node": ("cached", "node_cached", 2, 0.5),
    "scale_spend": ("scale_spend_big", "scale_spend_small", 0.8, None),
    "scale_balance": ("scale_balance_big", "scale_balance_small", 0.8, None),
}
SINGLES = {"pss_idle_mb": 30, "pss_loaded_mb": 80, "start_ms": 20, "bootstrap_ms": 500}


def p99_name(ratio):
    """The name of the latency that stands beside a ratio of rates."""
    first, separator, rest = ratio.partition("_vs_")
    return f"{first}_p99_vs_{rest}" if separator else f"{ratio}_p99"


TARGETS = {
    **{name: ("at least", pair[2]) for name, pair in PAIRS.items()},
    **{p99_name(name): ("at most", pair[3]) for name, pair in PAIRS.items()},
    "spend_p99_vs_pgbench": ("at most", 1),
    **{name: ("at most", most) for name, most in SINGLES.items()},
}


def medians(samples):
    """{rate, p50_ms, p99_ms, p999_ms, cpu_us}: each the median over the rounds."""
    return {
        **{field: round(statistics.median(getattr(sample, field) for sample in samples), 3)
           for field in ("rate", "p50_ms", "p99_ms", "p999_ms")},
        "cpu_us": {part: round(statistics.median(sample.cpu_us[part] for sample in samples), 1)
                   for part in samples[0].cpu_us}}


def _best(names, results):
    there = [name for name in names if name in results]
    return max(there, key=lambda name: medians(results[name])["rate"], default=None)


def ratio(field, row, reference, results):
    """The median over the rounds of the quotient within a round: what made one round slow slowed
    both. None when one of the two was not measured."""
    if row not in results or reference not in results:
        return None
    return round(statistics.median(
        getattr(ours, field) / getattr(theirs, field)
        for ours, theirs in zip(results[row], results[reference])), 3)


def ratios(results, singles):
    """Every ratio of TARGETS; None where its rows were not measured. results: {row: [Sample]}."""
    spend = _best([name for name in results if name.startswith("spend_")], results)
    reference = _best([name for name in results if name.startswith("pgbench")], results)
    found = {}
    for name, (row, other, _, _) in PAIRS.items():
        row = spend if row == "spend" else row
        other = reference if other == "reference" else other
        found[name] = ratio("rate", row, other, results)
        found[p99_name(name)] = ratio("p99_ms", row, other, results)
    # Of as many clients, not of as many as suit pgbench best.
    found["spend_p99_vs_pgbench"] = spend and ratio(
        "p99_ms", spend, spend.replace("spend_", "pgbench_"), results)
    return {**found, **{name: singles.get(name) for name in SINGLES}}


def verdict(name, value):
    """A target in words, with what became of it."""
    direction, bound = TARGETS[name]
    if bound is None:
        return ""
    if value is None:
        return f"{direction} {bound:.3g}"
    met = value >= bound if direction == "at least" else value <= bound
    return f"{direction} {bound:.3g}: {'met' if met else 'MISSED'}"


def table(results, remarks, found):
    """The lines of the report."""
    lines = [f"{'':<60}  processor us an operation",
             f"{'row':<20} {'per second':>10} {'p50 ms':>8} {'p99 ms':>8} {'p99.9 ms':>9} "
             + "".join(f"{part:>9}" for part in (*PARTS, "all"))]
    for name, samples in results.items():
        middle = medians(samples)
        parts = [middle["cpu_us"][part] for part in PARTS]
        lines.append(f"{name:<20} {middle['rate']:>10,.0f} {middle['p50_ms']:>8.2f}"
                     f" {middle['p99_ms']:>8.2f} {middle['p999_ms']:>9.2f} "
                     + "".join(f"{used:>9.1f}" for used in (*parts, sum(parts)))
                     + f"  {remarks[name]}")
    lines += ["", f"{'ratio':<26} {'value':>8}  target"]
    for name, value in found.items():
        if value is not None:
            lines.append(f"{name:<26} {value:>8.2f}  {verdict(name, value)}".rstrip())
    return lines
