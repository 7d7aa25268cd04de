"""docs/operating.md is true: a backup is restored by its commands, and it names what there is."""
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.test_docs_configuration import HANDLERS, SCRIPTS
from tests.support.process import REPOSITORY
from tests.support.stack import Stack

ROOT = Path(REPOSITORY)
PAGE = (ROOT / "docs/operating.md").read_text(encoding="utf-8")


def section(heading):
    """The text below a heading of the second level."""
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def blocks(heading):
    """The shell blocks of a section."""
    return re.findall(r"^```sh\n(.*?)^```$", section(heading), re.S | re.M)


def run_on(stack, folder, text):
    """Runs a block on an instance, as a person in the folder of the project would. Its output."""
    script = "set -eu\n" + text.replace(".run/", f"{stack.run_dir}/").replace(
        "scripts/", f"{REPOSITORY}/scripts/").replace("localhost:8443",
                                                      f"localhost:{stack.https_port}")
    done = subprocess.run(["bash", "-c", script], env={**os.environ, **stack.environment},
                          cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def embedded(binaries):
    """An instance with the private cluster that scripts/up makes."""
    with Stack(None, binaries, env={"TEST_FSYNC": "off"}) as made:
        yield made


def test_a_backup_is_restored(embedded, tmp_path):
    dump, restore = blocks("Backups")
    client = embedded.client()
    assert client.post("/api/tokens").status == 200
    before = client.get("/api/tokens").data["balance"]
    run_on(embedded, tmp_path, dump)
    # What came after the backup is gone when it is restored.
    later = embedded.client()
    assert later.get("/api/tokens").data["balance"] == 5
    output = run_on(embedded, tmp_path, restore)
    assert "1 accounts, 2 entries: all agree" in output, output
    assert embedded.client(device=client.device).get("/api/tokens").data["balance"] == before
    # The roles are as they were: the ledger cannot be changed.
    done = embedded.run("psql", "-c", "DELETE FROM token_transactions")
    assert done.returncode != 0 and "permission denied" in done.stderr, done.stderr


@pytest.mark.parametrize("heading", ["Certificates", "Logs", "Metrics and health"])
def test_commands_run(embedded, tmp_path, heading):
    found = blocks(heading)
    assert found
    for text in found:
        run_on(embedded, tmp_path, text)


def test_metrics_worth_an_alarm_are_there():
    text = (ROOT / "common/observe/metrics.c").read_text(encoding="utf-8")
    for name in re.findall(r"`(\w+_(?:total|seconds))`", section("Metrics and health")):
        assert f'"{name}"' in text, name


def test_settings_are_settings():
    for name in re.findall(r"^\| `([A-Z_]+)(?:=\d+)?`", section("With scripts/up"), re.M):
        assert name in HANDLERS or name in SCRIPTS, name


def test_the_table_of_units_is_whole():
    units = {re.sub("HANDLER", "", name) for name in
             re.findall(r"^\| `(dreamlens[^`]*)`", section("As services of systemd"), re.M)}
    there = {file.name for file in (ROOT / "systemd").glob("dreamlens*")
             if file.suffix in (".service", ".socket", ".target")}
    assert units == there
