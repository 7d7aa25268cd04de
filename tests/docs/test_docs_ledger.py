"""docs/ledger.md is true: its examples run as they stand and answer what the page shows."""
import json
import os
import re
import subprocess
from pathlib import Path

from tests.support import openapi
from tests.support.process import REPOSITORY

PAGE = (Path(REPOSITORY) / "docs/ledger.md").read_text(encoding="utf-8")


def examples():
    """(shell block, what the page shows after it or None), in order."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.S | re.M)
    found = []
    for kind, text in blocks:
        if kind == "sh":
            found.append([text, None])
        else:
            assert kind == "json" and found[-1][1] is None
            found[-1][1] = json.loads(text)
    return found


def without_the_accidental(value, name=None):
    """The value without ids, times and counts of other accounts, which differ from run to run."""
    if isinstance(value, dict):
        return {key: without_the_accidental(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [without_the_accidental(item) for item in value]
    changes = ("transactionId", "holdId", "expiresAt", "id", "createdAt", "nextCursor", "accounts",
               "entries")
    return type(value).__name__ if name in changes else value


def test_the_examples_run_and_answer_that(stack, tmp_path):
    found = examples()
    assert len(found) > 10
    script = "set -eu\n" + "".join(
        f"{text}\nprintf '\\n--- %s\\n' {number}\n" for number, (text, _) in enumerate(found))
    script = script.replace("https://localhost:8443", f"https://localhost:{stack.https_port}")
    script = script.replace(".run/", f"{stack.run_dir}/")
    script = script.replace("scripts/", f"{REPOSITORY}/scripts/")
    done = subprocess.run(["bash", "-c", script], env={**os.environ, **stack.environment},
                          cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    outputs = re.split(r"\n--- \d+\n", done.stdout)
    for (text, shown), output in zip(found, outputs):
        if shown is None:
            assert output == "", text
            continue
        *before, last = output.strip().splitlines()
        assert without_the_accidental(json.loads(last)) == without_the_accidental(shown), text
        for line in before:  # the comment says what it prints
            assert f"# {line}" in text, text


def test_every_scope_and_every_code_is_named():
    header = (Path(REPOSITORY) / "common/services/service_key_service.h").read_text("utf-8")
    scopes = re.findall(r'X\(\w+, "(\w+)"\)', header)
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.M) == scopes
    codes = set()
    for _, path, operation in openapi.operations():
        if path.startswith("/api/ledger/"):
            for response in operation["responses"].values():
                codes |= set(openapi.resolve(response).get("x-codes", ()))
    told = PAGE.split("## Failures")[1]
    edge = {"bad_request", "client_gone", "method_not_allowed", "conflict",
            "uri_too_long", "headers_too_large", "not_implemented", "bad_gateway",
            "service_unavailable", "overloaded", "database_unavailable",
            "database_updating", "identity_unavailable", "gateway_timeout", "origin_not_allowed",
            "unsupported_media_type"}
    for code in codes - edge:
        assert f"`{code}`" in told, code
