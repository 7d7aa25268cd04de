"""The sample of docs/contributing.md is true: it builds and answers."""
import glob
import json
import os
import re
import shutil
import subprocess
import uuid
from pathlib import Path

import pytest

from tests.support.process import REPOSITORY

ROOT = Path(REPOSITORY)
PAGE = (ROOT / "docs/contributing.md").read_text(encoding="utf-8")
DEVICE = "device_docs_sample_1"


def sample_blocks():
    """(path, whether it is a new file, text) of the blocks of "Add an endpoint", in order."""
    section = PAGE.split("\n## Add an endpoint\n")[1].split("\n## ")[0]
    found = re.findall(
        r"(New file|At the end\s+of) `([^`]+)`:\n\n```\w+\n(.*?)^```$", section, re.S | re.M | re.I)
    return [(path, kind.lower() == "new file", text) for kind, path, text in found]


@pytest.fixture(scope="module")
def sample_tree(tmp_path_factory):
    """A copy of the tree with the sample in it."""
    tree = tmp_path_factory.mktemp("sample") / "tree"
    tree.mkdir()
    for name in ("handlers", "workers", "tools", "common", "sql", "nginx", "scripts"):
        shutil.copytree(ROOT / name, tree / name)
    shutil.copy(ROOT / "Makefile", tree)
    for path, new, text in sample_blocks():
        file = tree / path
        if new:
            assert not file.exists(), f"{path} is there already"
            file.write_text(text, encoding="utf-8")
        else:
            file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")
    return tree


@pytest.fixture(scope="module")
def sample_handler(sample_tree, mode):
    """The path of the sample's executable, built without a warning."""
    target = f"build/{mode}/bin/spending"
    done = subprocess.run(
        ["make", "-s", "-j2", f"MODE={mode}", "WERROR=1", target], cwd=sample_tree,
        capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return sample_tree / target


def test_the_sample_is_one_of_each():
    kinds = [path.split("/")[0 if new else 1] for path, new, _ in sample_blocks()]
    assert kinds == ["sql", "repositories", "repositories", "services", "services", "handlers",
                     "nginx"]


@pytest.mark.seconds(600)
def test_the_sample_answers(sample_handler, cluster, empty_database):
    prefix = f"/dev/shm/dl-test-{os.getpid()}-{uuid.uuid4().hex[:8]}"

    def ask(method="GET", device=DEVICE):
        environment = {
            "REQUEST_METHOD": method, "SCRIPT_NAME": "/api/spending", "SHARED_MEMORY": prefix,
            "POSTGRES_URL": empty_database, "HTTP_AUTHORIZATION": f"Device {device}"}
        done = subprocess.run([str(sample_handler)], env=environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        head, _, body = done.stdout.partition("\n\n")
        status = int(re.search(r"^Status: (\d+)", head, re.M).group(1))
        return status, json.loads(body)

    try:
        assert ask() == (200, {"success": True, "data": {"spent": 0, "entries": 0}})
        cluster.query(empty_database, """
            INSERT INTO token_transactions (user_id, id, amount, type, balance_after)
            SELECT id, gen_random_uuid(), -3, 'generation', 2 FROM users WHERE device_id = %s""",
                      (DEVICE,))
        assert ask() == (200, {"success": True, "data": {"spent": 3, "entries": 1}})
        assert ask(device="short")[0] == 401
        assert ask(method="PUT")[0] == 405
    finally:
        for path in glob.glob(prefix + ".*"):
            os.unlink(path)


def test_the_sample_keeps_the_layers(sample_tree):
    done = subprocess.run(["scripts/check-layers"], cwd=sample_tree, capture_output=True,
                          text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nginx_takes_the_route_of_the_sample(sample_tree, tmp_path):
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(f"""
pid {tmp_path}/pid; events {{}}
http {{
    access_log off;
    client_body_temp_path {tmp_path}/1; fastcgi_temp_path {tmp_path}/2;
    proxy_temp_path {tmp_path}/3; scgi_temp_path {tmp_path}/4; uwsgi_temp_path {tmp_path}/5;
    upstream handler-spending {{ server unix:{tmp_path}/socket; }}
    server {{
        listen unix:{tmp_path}/listen;
        include {sample_tree}/nginx/routes/spending.conf;
    }}
}}
""", encoding="utf-8")
    done = subprocess.run(
        ["nginx", "-t", "-q", "-p", str(tmp_path), "-c", str(configuration), "-e", "stderr"],
        capture_output=True, text=True, check=False, timeout=60,
        env={"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"})
    assert done.returncode == 0, done.stderr
