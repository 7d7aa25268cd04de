"""What a handler process may not do, and that what it has to do works in its sandbox."""

import base64
import contextlib
import glob
import json
import os
import re
import secrets
import subprocess
import time

import pytest

from tests.support import logs
from tests.support.fastcgi import plain_cgi
from tests.support.postgres import ROLE, Cluster
from tests.support.process import give_away
from tests.support.stack import new_device


def process_status(pid):
    """/proc/PID/status as a dictionary."""
    return dict(line.split(":\t", 1) for line in logs.read(f"/proc/{pid}/status").splitlines())


def open_for_writing(pid):
    """Regular files that a process holds open for writing."""
    found = []
    for entry in glob.glob(f"/proc/{pid}/fdinfo/*"):
        flags = int(re.search(r"flags:\t(\d+)", logs.read(entry) or "flags:\t0")[1], 8)
        with contextlib.suppress(OSError):
            target = os.readlink(entry.replace("fdinfo", "fd"))
            if flags & os.O_ACCMODE and target.startswith("/"):
                found.append(target)
    return found


@pytest.mark.quick
def test_handlers_are_confined(stack):
    """Every handler: no rights, no new ones, a filter, and no file to write but its own log."""
    pids = stack.pids()
    assert len(pids) >= 8
    for name, pid in pids.items():
        status = process_status(pid)
        assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", name
        for caps in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(status[caps], 16) == 0, f"{name}: {caps}"
        assert os.geteuid() != 0 or int(status["Uid"].split()[1]) != 0, name
        allowed = {f"{stack.run_dir}/logs/{name}.log", "/dev/null"}
        assert set(open_for_writing(pid)) <= allowed, name
        sandboxed = [event for event in stack.events(name) if event["message"] == "sandboxed"]
        assert sandboxed and sandboxed[-1]["seccomp"] == "on"


def test_nginx_is_unprivileged(stack):
    """No process of the edge is root's when root started it, none has a right."""
    pid = int(logs.read(f"{stack.run_dir}/run/nginx.pid"))
    for one in [pid, *map(int, logs.read(f"/proc/{pid}/task/{pid}/children").split())]:
        status = process_status(one)
        assert os.geteuid() != 0 or int(status["Uid"].split()[1]) != 0
        assert int(status["CapEff"], 16) == 0


def test_sandbox_setting(make_handler, binaries, database):
    """off leaves it out and says so; anything else is refused by name; plain CGI has none."""
    handler = make_handler("health", POSTGRES_URL=database, SANDBOX="off")
    assert process_status(handler.process.pid)["Seccomp"] == "0"
    assert "not sandboxed" in [event["message"] for event in handler.events()]
    status, _, problem = plain_cgi(binaries, "health", env={"SANDBOX": "maybe"})
    assert status == 78 and "SANDBOX" in problem
    status, answer, problem = plain_cgi(binaries, "health", path="/api/health",
                                        env={"POSTGRES_URL": database})
    assert status == 0 and answer.status == 200 and "sandbox" not in problem


@pytest.fixture
def tls_cluster():
    """A cluster that takes TLS with a password only, and the folder of its certificate."""
    address = f"127.{secrets.randbelow(200) + 10}.{secrets.randbelow(250) + 1}.1"
    made = Cluster(settings={"listen_addresses": address},
                   hba=[f"hostssl all {ROLE} {address}/8 scram-sha-256"])
    try:
        folder = made.folder
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=db",
                        "-addext", f"subjectAltName=IP:{address}", "-keyout", f"{folder}/key.pem",
                        "-out", f"{folder}/ca.pem"], check=True, capture_output=True)
        for name in ("key.pem", "ca.pem"):
            os.chmod(f"{folder}/{name}", 0o600 if name == "key.pem" else 0o644)
            give_away(f"{folder}/{name}")
        made.write_settings(ssl="on", ssl_cert_file=f"{folder}/ca.pem",
                            ssl_key_file=f"{folder}/key.pem")
        made.restart()
        with made.admin() as connection:
            connection.cursor().execute(f"ALTER ROLE {ROLE} PASSWORD 'of-the-tests'")
        made.address = address
        yield made
    finally:
        made.close()


def test_database_by_tls_inside_the_sandbox(tls_cluster, make_handler, tmp_path):
    """Certificate and password files of the connection string are read at every connect: the schema
    is made, entries are read, and again after the database was away."""
    password = tmp_path / "password"
    password.write_text("*:*:*:*:of-the-tests\n")
    password.chmod(0o600)
    name = tls_cluster.create_database().split("/")[3].partition("?")[0]
    url = (f"postgresql://{ROLE}@{tls_cluster.address}/{name}?sslmode=verify-full"
           f"&sslrootcert={tls_cluster.folder}/ca.pem&passfile={password}")
    handler = make_handler("tokens", POSTGRES_URL=url)
    device = new_device()

    def entries():
        answer = handler.request("GET", "/api/tokens/transactions", device=device)
        return [entry["amount"] for entry in answer.data["transactions"]]

    assert entries() == [5]
    tls_cluster.restart()
    assert entries() == [5]
    # Renewed the usual way: another file under the same name.
    fresh = f"{tls_cluster.folder}/new.pem"
    with open(fresh, "w", encoding="ascii") as file:
        file.write(logs.read(f"{tls_cluster.folder}/ca.pem"))
    os.rename(fresh, f"{tls_cluster.folder}/ca.pem")
    os.chmod(f"{tls_cluster.folder}/ca.pem", 0o644)
    give_away(f"{tls_cluster.folder}/ca.pem")
    tls_cluster.restart()
    assert entries() == [5]
    assert tls_cluster.value(
        tls_cluster.admin_url("postgres"), "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity"
        " USING (pid) WHERE ssl AND datname = %s", (name,)) >= 1


def unsigned_token(**claims):
    """A token that a key could make good: its keys have to be fetched to refuse it."""
    now = int(time.time())
    payload = {"sub": "user_a", "iat": now - 1, "nbf": now - 1, "exp": now + 60, **claims}
    parts = [json.dumps(part).encode()
             for part in ({"alg": "RS256", "kid": "a", "typ": "JWT"}, payload)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=")
                    for part in [*parts, b"x" * 256])


def test_fetching_inside_the_sandbox(make_handler, database, make_stack):
    """libcurl resolves a name, loads the host's certificates and begins a TLS handshake inside the
    sandbox; that our certificate is nobody's leaves it without keys, and is not its end."""
    stack = make_stack(database)
    handler = make_handler(
        "tokens", POSTGRES_URL=database, LOG_LEVEL="debug", CLERK_ISSUER="https://clerk.example",
        CLERK_AUTHORIZED_PARTIES="https://app.example",
        CLERK_JWKS_URL=f"https://localhost:{stack.https_port}/api/health/live")
    token = unsigned_token(iss="https://clerk.example", azp="https://app.example")
    answer = handler.request("GET", "/api/tokens", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status, answer.code) == (503, "identity_unavailable")
    assert handler.process.poll() is None
