"""docs/performance.md has the targets of the benchmark, and its last run was judged by them."""
import re
from fractions import Fraction
from pathlib import Path

from tests.bench import report
from tests.support.process import REPOSITORY

PAGE = (Path(REPOSITORY) / "docs/performance.md").read_text(encoding="utf-8")


def test_the_table_of_targets():
    section = PAGE.split("\n## Ratios and targets\n")[1].split("\n## ")[0]
    found = {}
    for line in section.splitlines():
        if not line.startswith("| `"):
            continue
        names, _, targets, latency = (cell.strip() for cell in line.split("|")[1:-1])
        targets = re.findall(r"at (?:least|most) [\d.]+", targets)
        for name, target in zip(re.findall(r"`(\w+)`", names), targets, strict=True):
            found[name] = target
        for name, target in re.findall(r"`(\w+_p99\w*)`(?:[^`]*: (at most [\d/]+))?", latency):
            found[name] = target or None
    assert set(found) == set(report.TARGETS)
    for name, (bound, value) in report.TARGETS.items():
        if value is None:
            assert found[name] is None, name
            continue
        assert found[name].startswith(bound), name
        assert abs(float(Fraction(found[name].split()[-1])) - value) < 1e-9, name


def test_the_last_run_names_every_ratio_in_order():
    lines = re.findall(r"^(\w+) +(-?[\d.]+)(?:  (at \w+) ([\d.]+): (met|MISSED))?$",
                       PAGE.split("\nratio ")[1].split("```")[0], re.M)
    assert sorted(line[0] for line in lines) == sorted(report.TARGETS)
    for name, value, bound, target, judged in lines:
        wanted_bound, wanted = report.TARGETS[name]
        if wanted is None:
            assert not bound, name
            continue
        assert (bound, float(target)) == (wanted_bound, round(wanted, 3)), name
        met = float(value) >= wanted if bound == "at least" else float(value) <= wanted
        assert (judged == "met") == met, name
