"""scripts/up on an instance that runs: what was asked for is served, or it fails and says why."""

import contextlib
import glob
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest

from tests.support import logs
from tests.support.process import pid_in, wait_until
from tests.support.stack import Stack, new_device

LISTEN = "0A"  # a state in /proc/net/tcp


def listening_on(port):
    """The addresses of /proc/net/tcp that listen on a port."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in logs.read(f"/proc/net/{table}").splitlines()[1:]:
            local, _, state = line.split()[1:4]
            address, _, hexadecimal = local.rpartition(":")
            if state == LISTEN and int(hexadecimal, 16) == port:
                found.add(address)
    return found


LOOPBACK = {"0100007F"}


def up(stack, expected=0, **environment):
    """Runs scripts/up with other settings; what it printed."""
    stack.environment.update(environment)
    done = stack.run("up")
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout + done.stderr


def nginx_pid(stack):
    """Its master process."""
    return pid_in(f"{stack.run_dir}/run/nginx.pid")


def rate_served(stack):
    """The burst that the nginx that runs allows, by what it refuses: 5, or all of 40."""
    client = stack.client(anonymous=True)
    client.address = "198.51.100.7"
    statuses = [client.get("/api/health").status for _ in range(40)]
    client.close()
    return 5 if 429 in statuses else 40


def test_from_all_addresses_to_one_and_back(make_stack, database):
    """With another change at once; each time what was asked for is what is served."""
    stack = make_stack(database, LISTEN_ADDRESS="*")
    assert listening_on(stack.https_port) != LOOPBACK
    old = nginx_pid(stack)
    said = up(stack, LISTEN_ADDRESS="127.0.0.1", EDGE_RATE="1r/m", EDGE_BURST="5")
    assert "nginx is restarted" in said and "bind() to 127.0.0.1" in said
    assert listening_on(stack.https_port) == listening_on(stack.http_port) == LOOPBACK
    assert nginx_pid(stack) != old
    assert rate_served(stack) == 5
    said = up(stack, LISTEN_ADDRESS="*", EDGE_RATE="900000r/s", EDGE_BURST="100000")
    assert "00000000" in listening_on(stack.https_port)
    assert rate_served(stack) == 40
    assert stack.run("status").returncode == 0
    assert "nginx runs already" in up(stack)


def test_a_request_under_way_is_finished(make_stack, database):
    """When nginx is replaced, what the old one is about comes to its end."""
    stack = make_stack(database, LISTEN_ADDRESS="*")
    context = ssl.create_default_context(cafile=f"{stack.run_dir}/tls/certificate.pem")
    body = b'{"action":"download"}'
    with socket.create_connection(("127.0.0.1", stack.https_port), 30) as plain, \
            context.wrap_socket(plain, server_hostname="localhost") as connection:
        connection.sendall(f"POST /api/usage HTTP/1.1\r\nHost: localhost\r\nAuthorization: Device "
                           f"{new_device()}\r\nContent-Length: 1000\r\n\r\n".encode())
        old = nginx_pid(stack)
        changed = threading.Thread(target=up, args=(stack,), kwargs={"LISTEN_ADDRESS": "127.0.0.1"})
        changed.start()
        sent = 0

        def replaced():
            """A blank now and then: the body never stops for as long as it may."""
            nonlocal sent
            connection.sendall(b" ")
            sent += 1
            time.sleep(0.1)
            return listening_on(stack.https_port) == LOOPBACK
        wait_until(replaced, 60, "the new one listens")
        wait_until(lambda: serves(stack), 10, "it serves")
        connection.sendall(body.rjust(1000 - sent))
        assert connection.recv(65536).startswith(b"HTTP/1.1 201")
    changed.join()
    assert nginx_pid(stack) != old and stack.run("status").returncode == 0


def serves(stack):
    """Whether it answers at all."""
    with contextlib.suppress(OSError):
        return stack.client().get("/api/health/live").status == 200


def test_the_port_is_somebody_elses_on_another_address(make_stack, database):
    """It fails, says where, and nobody notices; with what was there before it works again."""
    stack = make_stack(database)
    old = nginx_pid(stack)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.9", stack.https_port))
        other.listen()
        said = up(stack, 1, LISTEN_ADDRESS="*", EDGE_RATE="1r/m", EDGE_BURST="5")
        assert "nginx goes on with its old configuration" in said
        assert f"0.0.0.0:{stack.https_port} failed (98: Address already in use)" in said
        assert nginx_pid(stack) == old and rate_served(stack) == 40
        # It asks for the same again, and fails again: nothing was forgotten.
        assert "goes on with its old" in up(stack, 1)
        said = up(stack, LISTEN_ADDRESS="127.0.0.1", EDGE_RATE="900000r/s", EDGE_BURST="100000")
        assert "nginx runs already" in said
    up(stack, LISTEN_ADDRESS="*")
    assert "00000000" in listening_on(stack.https_port)


def as_run_user(stack):
    """Keyword arguments for subprocess: the user that runs the parts."""
    user = stack.instance["RUN_USER"]
    return {} if os.geteuid() else {"user": user, "group": user, "extra_groups": []}


def limit_files(stack, pid, count):
    """How many files a process may have open from now on."""
    subprocess.run(["prlimit", "--pid", str(pid), f"--nofile={count}:"], check=True, cwd="/",
                   **as_run_user(stack))


def test_too_many_open_files(make_stack, database):
    """nginx -t is another process with limits of its own, and passes."""
    stack = make_stack(database)
    pid = nginx_pid(stack)
    before = re.search(r"Max open files +(\d+)", logs.read(f"/proc/{pid}/limits")).group(1)
    limit_files(stack, pid, 8)
    said = up(stack, 1, EDGE_RATE="1r/m", EDGE_BURST="5")
    assert "goes on with its old configuration" in said and "Too many open files" in said
    assert rate_served(stack) == 40
    limit_files(stack, pid, before)
    up(stack)
    assert rate_served(stack) == 5


def test_a_key_that_a_zone_cannot_change(make_stack, database):
    """As a new version of nginx.conf may have it: nginx -t passes, the reload does not."""
    stack = make_stack(database)
    for name, old, new in (("nginx", "limit_req_zone $edge_key", "limit_req_zone $remote_addr"),
                           ("generation", 'return 200 "', 'return 200 "of-another-version-')):
        path = f"{stack.run_dir}/nginx/{name}.conf"
        text = logs.read(path)
        assert old in text
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace(old, new))
    stop_nginx(stack)
    os.unlink(f"{stack.run_dir}/run/nginx.sock")
    environment = {"PATH": os.environ["PATH"] + ":/usr/sbin"}
    subprocess.run(["nginx", "-p", stack.run_dir, "-c", f"{stack.run_dir}/nginx/nginx.conf",
                    "-e", f"{stack.run_dir}/logs/nginx-error.log"], env=environment, check=True,
                   cwd="/", **as_run_user(stack))
    wait_until(lambda: stack.run("status").returncode == 0, 10, "the other version runs")
    said = up(stack)
    assert "nginx is restarted" in said and "while previously it used" in said
    assert "nginx runs already" in up(stack)


def stop_nginx(stack):
    """The whole of it, at once, and its socket file stays behind."""
    pid = nginx_pid(stack)
    workers = logs.read(f"/proc/{pid}/task/{pid}/children").split()
    for process in (pid, *map(int, workers)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    wait_until(lambda: not listening_on(stack.https_port), 10, "nginx is gone")


def test_an_nginx_that_was_killed(make_stack, database):
    stack = make_stack(database)
    stop_nginx(stack)
    assert os.path.exists(f"{stack.run_dir}/run/nginx.sock")
    assert "starting nginx" in up(stack)
    assert stack.client().get("/api/tokens").status == 200


def test_nginx_refuses_the_certificate(make_stack, database, tmp_path):
    """The pair that works stays, on disk as well."""
    stack = make_stack(database)
    pair = [logs.read(f"{stack.run_dir}/tls/{name}.pem") for name in ("certificate", "key")]
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate\n", encoding="utf-8")
    said = up(stack, 1, TLS_CERTIFICATE=str(wrong), TLS_KEY=str(wrong))
    assert "nginx refuses its configuration" in said
    assert pair == [logs.read(f"{stack.run_dir}/tls/{name}.pem") for name in ("certificate", "key")]
    for name in ("TLS_CERTIFICATE", "TLS_KEY"):
        del stack.environment[name]
    assert "nginx runs already" in up(stack)
    assert not re.search(r"\.old\b", " ".join(os.listdir(f"{stack.run_dir}/tls")))


def test_settings_of_a_postgresql_that_runs(make_stack):
    """Taken up, refused with the name, or said to need a restart."""
    stack = make_stack(None, TEST_FSYNC="off")
    path = f"{stack.run_dir}/postgres/data/dreamlens.conf"

    def shown(name):
        return stack.run("psql", "-XAtc", f"SHOW {name}", check=True).stdout.strip()
    assert shown("fsync") == "off"
    up(stack, TEST_FSYNC="on")
    wait_until(lambda: shown("fsync") == "on", 10, "PostgreSQL has taken it up")
    text = logs.read(path)
    said = up(stack, 1, TEST_FSYNC="hunter2")
    assert "PostgreSQL refuses its configuration: fsync = hunter2" in said
    assert logs.read(path).strip() == text.strip() and shown("fsync") == "on"
    # As if this version had another number in its file.
    with open(path, "a", encoding="utf-8") as file:
        file.write("max_connections = 151\n")
    stack.run("down", check=True)
    start_postgres(stack)
    assert shown("max_connections") == "151"
    said = up(stack, TEST_FSYNC="off")
    assert "PostgreSQL runs already; scripts/down and scripts/up change max_connections" in said
    assert shown("max_connections") == "151"


def start_postgres(stack):
    """The private cluster alone, with the file as it is."""
    program = sorted(glob.glob("/usr/lib/postgresql/*/bin/pg_ctl"))[-1]
    subprocess.run([program, "start", "-w", "-D", f"{stack.run_dir}/postgres/data", "-l",
                    f"{stack.run_dir}/logs/postgres.log"], check=True, cwd="/",
                   stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, **as_run_user(stack))


@pytest.mark.parametrize("value", ["*", "https://app.example;", "https://a b", "null",
                                   "app.example", "https://app.example/path", "https://x$host"])
def test_what_is_no_origin_is_refused(binaries, database, value):
    with pytest.raises(AssertionError) as refusal:
        Stack(database, binaries, {"ALLOWED_ORIGINS": f"https://app.example,{value}"})
    assert f"ALLOWED_ORIGINS: {value}: expected an origin" in str(refusal.value)
