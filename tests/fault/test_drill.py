"""A short fault drill: some faults of each sort, and nothing lost or doubled."""

import os
import re
import subprocess

import pytest

from tests.support.process import REPOSITORY

SECONDS = 15


@pytest.mark.quick
@pytest.mark.seconds(180)
def test_no_movement_is_lost_or_doubled(binaries):
    """Acknowledged is there once, whatever failed meanwhile."""
    done = subprocess.run(
        [f"{REPOSITORY}/scripts/fault-drill", str(SECONDS)],
        env={**os.environ, "BIN_DIR": binaries}, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=170, check=False)
    said = done.stdout[-6000:] + done.stderr[-3000:]
    result = re.search(r"(\d+) faults of (\d+) kinds, (\d+) acknowledged operations, 0 lost,"
                       r" 0 doubled, 0 negative$", done.stdout.strip())
    assert result, said
    assert done.returncode == 0, said
    faults, kinds, operations = map(int, result.groups())
    assert faults >= 4 and kinds >= 4 and operations >= 500, said
