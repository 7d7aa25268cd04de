"""A whole instance as scripts/up makes it: handlers, supervisor and nginx, on ephemeral ports.

    with Stack(database_url, binaries, env={"LOG_LEVEL": "debug"}) as stack:
        client = stack.client()                      # an identity of its own
        assert client.get("/api/tokens").data["balance"] == 5

Leaving the block stops everything and fails on a sanitizer finding in any log, and on a handler
that died although the test did not say so (stack.expect_deaths).
"""

import contextlib
import glob
import http.client
import ipaddress
import json
import os
import random
import secrets
import select
import shutil
import socket
import ssl
import subprocess
import tempfile
import zlib

from tests.support import logs
from tests.support.process import REPOSITORY

SECRET = "secret-of-the-tests-0123456789abcdef"


def new_device():
    """A device id nobody has used."""
    return "device_test_" + secrets.token_hex(12)


def address_of(device):
    """An address that only this device has; any one without a device."""
    tail = zlib.crc32(device.encode()) & 0xFFFFFF if device else random.getrandbits(24)
    return str(ipaddress.IPv4Address(0x0A000000 + tail))


def free_ports(count):
    """Different ports that were free a moment ago."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def free_port():
    """One of them."""
    return free_ports(1)[0]


class Answer:
    """What came back: status, headers (without regard to case), body; json and data of it."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def data(self):
        """The member data of a success."""
        assert 200 <= self.status < 300, self
        whole = self.json
        assert whole["success"] is True, self
        return whole["data"]

    @property
    def code(self):
        """The member code of a failure in the contract's format."""
        whole = self.json
        assert whole["success"] is False and whole["error"], self
        return whole["code"]

    def __repr__(self):
        return f"{self.status} {self.body[:400]!r}"


class Client:
    """One identity on one kept connection; not for several threads at once."""

    def __init__(self, stack, device=None, anonymous=False):
        self.stack = stack
        self.device = None if anonymous else device or new_device()
        # Where it calls from; None for an address of the device's own, because devices of one
        # address share a limit (tests/edge/test_limits_by_address.py is about that).
        self.address = None
        self.connection = None

    def request(self, method, path, headers=None, body=None, timeout=60):
        """Sends a request and returns the Answer. body: bytes, an iterator of
        pieces that go out in chunks, or anything else as JSON."""
        sent = {"Content-Type": "application/json"}
        if path.partition("?")[0] != "/metrics":  # for this very machine only
            sent["X-Forwarded-For"] = self.address or address_of(self.device)
        if self.device:
            sent["Authorization"] = f"Device {self.device}"
        if body is not None and not isinstance(body, bytes) and not hasattr(body, "__next__"):
            body = json.dumps(body, ensure_ascii=False).encode()
        sent.update(headers or {})
        sent = {name: value for name, value in sent.items() if value is not None}
        if self.connection and self.connection.sock:
            # nginx closes what was idle for long, as browsers find out before they send.
            if select.select([self.connection.sock], [], [], 0)[0]:
                self.close()
        if self.connection is None:
            self.connection = http.client.HTTPSConnection(
                "127.0.0.1", self.stack.https_port, context=self.stack.tls, timeout=timeout)
        try:
            self.connection.request(method, path, body=body, headers=sent)
            response = self.connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        except BaseException:
            self.close()
            raise

    def get(self, path, **options):
        """GET."""
        return self.request("GET", path, **options)

    def post(self, path, body=None, **options):
        """POST."""
        return self.request("POST", path, body=body, **options)

    def delete(self, path, **options):
        """DELETE."""
        return self.request("DELETE", path, **options)

    def close(self):
        """Closes the connection; the next request opens another."""
        if self.connection:
            self.connection.close()
            self.connection = None

    __del__ = close


class Stack:
    """See the head of the file. database_url None: whatever env says, else a cluster of its own."""

    def __init__(self, database_url, binaries, env=None, folder="/tmp"):
        self.state = tempfile.mkdtemp(prefix="dl-st-", dir=folder)
        os.chmod(self.state, 0o755)
        self.binaries = binaries
        self.deaths_expected = False
        self.findings_expected = False
        self.saved_logs = None
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"),
            "STATE_DIR": self.state, "BIN_DIR": binaries, "LISTEN_ADDRESS": "127.0.0.1",
            "NGINX_WORKERS": "1", "EDGE_RATE": "900000r/s", "EDGE_BURST": "100000",
            "EDGE_CONNECTIONS": "1000", "TRUSTED_PROXIES": "127.0.0.1", "DB_INIT_SECRET": SECRET,
            "ALLOWED_ORIGINS": "https://app.example/,https://other.example",
            **logs.SANITIZER_OPTIONS,
        }
        if database_url:
            self.environment["POSTGRES_URL"] = database_url
        self.environment.update(env or {})
        try:
            self._up()
        except BaseException:
            self._down()
            raise

    def _up(self):
        for _ in range(5):
            self.https_port, self.http_port = free_ports(2)
            self.environment.update(HTTPS_PORT=str(self.https_port), HTTP_PORT=str(self.http_port))
            done = self.run("up")
            if done.returncode == 0:
                break
            # Only a port that was taken meanwhile is worth another try.
            assert "another program listens" in done.stderr + done.stdout, (
                done.stdout + done.stderr)
        with open(os.path.join(self.state, "instance"), encoding="utf-8") as file:
            self.instance = dict(line.rstrip("\n").split("=", 1) for line in file)
        self.run_dir = self.instance["RUN_DIR"]
        self.tls = ssl.create_default_context(cafile=f"{self.run_dir}/tls/certificate.pem")

    def run(self, script, *arguments, check=False, timeout=120):
        """Runs scripts/SCRIPT on this instance. Returns the CompletedProcess."""
        return subprocess.run(
            [f"{REPOSITORY}/scripts/{script}", *arguments], env=self.environment, cwd="/",
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=check)

    def client(self, device=None, anonymous=False):
        """A Client with an identity of its own, unless one is given or none is wanted."""
        return Client(self, device, anonymous)

    def socket_path(self, handler):
        """The Unix socket of a handler, to speak FastCGI to it without nginx."""
        return f"{self.run_dir}/run/sockets/{handler}.sock"

    # --- processes ---

    def status(self):
        """{handler: {pid, state, restarts, ...}} as the supervisor tells it."""
        done = subprocess.run(
            [f"{self.run_dir}/bin/supervisor", "--control", f"{self.run_dir}/run/supervisor.sock",
             "status"], env=self.environment, capture_output=True, text=True, check=True)
        handlers = {}
        for line in done.stdout.splitlines():
            words = line.split()
            if len(words) > 1:
                handlers[words[0]] = dict(word.split("=", 1) for word in words[1:] if "=" in word)
        return handlers

    def pids(self):
        """{handler: process id}."""
        return {name: int(fields["pid"]) for name, fields in self.status().items()}

    # --- logs ---

    def log_files(self):
        """Paths of all logs."""
        return sorted(glob.glob(f"{self.run_dir}/logs/*.log"))

    def log(self, name):
        """The text of one log: a handler's, supervisor, nginx-access, nginx-error."""
        if self.saved_logs is not None:
            return self.saved_logs.get(name, "")
        return logs.read(f"{self.run_dir}/logs/{name}.log")

    def events(self, name):
        """The lines of one log as objects."""
        return logs.events(self.log(name))

    def all_events(self):
        """The lines of all handlers' logs."""
        names = [os.path.basename(path)[:-4] for path in self.log_files()]
        return [event for name in names if name not in ("nginx-error", "initdb", "postgres")
                for event in self.events(name)]

    def all_logs(self):
        """The text of all logs together."""
        return "\n".join(logs.read(path) for path in self.log_files())

    def deaths(self):
        """What the supervisor says about handlers that ended without being asked to, or that had
        to be killed in the end."""
        return [event for event in self.events("supervisor")
                if event["level"] == "error" or event["message"].startswith("drained too long")]

    # --- the end ---

    def _down(self):
        done = self.run("down", "--purge")
        shutil.rmtree(self.state, ignore_errors=True)
        for path in glob.glob(f"{getattr(self, 'instance', {}).get('SHARED_MEMORY', '-')}.*"):
            os.unlink(path)
        return done

    def close(self):
        """Stops everything, then looks at what the logs say."""
        if not os.path.exists(self.state):
            return
        stopped = self.run("down")
        found = logs.findings(self.all_logs())
        deaths = [] if self.deaths_expected else self.deaths()
        texts = {os.path.basename(path)[:-4]: logs.read(path) for path in self.log_files()}
        self._down()
        self.saved_logs = texts
        assert self.findings_expected or not found, "\n\n".join(found[:3])
        assert not deaths, f"{deaths}\n" + "\n".join(
            texts.get(death["process"], "")[-1500:] for death in deaths[:2])
        assert stopped.returncode == 0, stopped.stdout + stopped.stderr

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
