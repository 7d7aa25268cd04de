"""FastCGI: one handler started alone on a Unix socket, and a client that speaks its records.

    with Handler(binaries, "tokens", POSTGRES_URL=url) as handler:
        with handler.connect() as connection:
            answer = connection.request("GET", "/api/tokens", device=device)

Record format: FastCGI specification 1.0, sections 3 and 5.
"""

import email.parser
import glob
import json
import ipaddress
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

from tests.support import logs
from tests.support.process import as_user, wait_until
from tests.support.stack import SECRET, Answer

BEGIN_REQUEST, ABORT_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT, STDERR = range(1, 8)
KEEP_CONNECTION = 1
RESPONDER = 1


def record(kind, content=b"", request_id=1, padding=0):
    """One record."""
    header = struct.pack(">BBHHBx", 1, kind, request_id, len(content), padding)
    return header + content + b"\0" * padding


def stream(kind, content, request_id=1, piece=65535):
    """Content as records of at most piece bytes, and the empty record that ends the stream."""
    pieces = [content[i : i + piece] for i in range(0, len(content), piece)]
    return b"".join(record(kind, part, request_id) for part in pieces) + record(
        kind, b"", request_id)


def begin(request_id=1, keep=True, role=RESPONDER):
    """The record that begins a request."""
    body = struct.pack(">HB5x", role, KEEP_CONNECTION if keep else 0)
    return record(BEGIN_REQUEST, body, request_id)


def name_values(params):
    """Encodes a dictionary of parameters."""
    out = bytearray()
    for name, value in params.items():
        for part in (name, value):
            size = len(part.encode())
            out += struct.pack(">B", size) if size < 128 else struct.pack(">L", size | 1 << 31)
        out += name.encode() + value.encode()
    return bytes(out)


def parameters(method, path, device=None, body=b"", headers=None, **extra):
    """What nginx would send for a request."""
    path, _, query = path.partition("?")
    params = {
        "REQUEST_METHOD": method, "DOCUMENT_URI": path, "QUERY_STRING": query,
        "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body)) if body else "",
        # Devices of one address share a limit, so each request comes from another one.
        "REMOTE_ADDR": str(ipaddress.IPv4Address(0x0A000000 + random.getrandbits(24))),
        "REQUEST_ID": os.urandom(16).hex(),
    }
    if device:
        params["HTTP_AUTHORIZATION"] = f"Device {device}"
    for name, value in (headers or {}).items():
        params["HTTP_" + name.upper().replace("-", "_")] = value
    params.update(extra)
    return {name: value for name, value in params.items() if value is not None}


class Closed(Exception):
    """The handler closed the connection, or ended the request without a word, as it does for one
    that is not whole; args[0] is what had arrived of the answer."""


class Connection:
    """One connection to a handler; one request at a time."""

    def __init__(self, path, timeout=30):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        wait_until(lambda: self._connect(path), 10, f"a connection to {path}")

    def _connect(self, path):
        try:
            self.socket.connect(path)
        except BlockingIOError:  # a full backlog
            return False
        return True

    def send(self, data):
        """Raw bytes."""
        self.socket.sendall(data)

    def _exactly(self, size):
        data = bytearray()
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise Closed()
            data += piece
        return bytes(data)

    def receive(self, request_id=1):
        """Reads to the end of a request and returns its Answer."""
        out = bytearray()
        try:
            while True:
                version, kind, number, size, padding = struct.unpack(">BBHHBx", self._exactly(8))
                content = self._exactly(size + padding)[:size]
                assert version == 1 and number == request_id, (version, kind, number)
                if kind == STDOUT:
                    out += content
                elif kind == END_REQUEST:
                    break
        except Closed as closed:
            raise Closed(bytes(out)) from closed
        if not out:
            raise Closed(b"")
        head, separator, body = bytes(out).partition(b"\r\n\r\n")
        assert separator, out[:200]
        message = email.parser.BytesHeaderParser().parsebytes(head + b"\r\n")
        return Answer(int(message["Status"].split()[0]), message, body)

    def request(self, method, path, device=None, body=None, keep=True, **options):
        """One whole request and its Answer."""
        if body is None:
            body = b""
        if not isinstance(body, bytes):
            body = json.dumps(body, ensure_ascii=False).encode()
        params = parameters(method, path, device, body, **options)
        self.send(begin(keep=keep) + stream(PARAMS, name_values(params)) + stream(STDIN, body))
        return self.receive()

    def close(self):
        """Closes it."""
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Handler:
    """A handler process with its own socket on fd 0, no supervisor and no nginx. It shares memory
    with nobody, unless it is given that of another Handler, or a Stack to be beside: then it is one
    more of that instance, as its user, who has to be able to run what is in binaries."""

    def __init__(self, binaries, name, shared_memory=None, beside=None, **environment):
        self.name = name
        self.binary = f"{binaries}/{name}"
        self.user = {}
        if beside:
            self.user = as_user(beside.instance["RUN_USER"])
            shared_memory = beside.instance["SHARED_MEMORY"]
        self.findings_expected = False
        self.folder = tempfile.mkdtemp(prefix="dl-fc-", dir="/tmp")
        self.path = f"{self.folder}/{name}.sock"
        self.log_path = f"{self.folder}/{name}.log"
        self.shared_memory = shared_memory or f"/dev/shm/dl-test-{os.path.basename(self.folder)}"
        self.owns_memory = shared_memory is None
        self.environment = {
            "PATH": os.environ["PATH"], "SHARED_MEMORY": self.shared_memory,
            "DB_INIT_SECRET": SECRET, "IDENTITY_DIGEST_KEY": SECRET,
            "NOTIFY_SOCKET": f"{self.folder}/notify",
            **logs.SANITIZER_OPTIONS, **environment,
        }
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(f"{self.folder}/notify")
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(1024)
        if self.user:
            for path in (self.folder, f"{self.folder}/notify"):
                os.chown(path, self.user["user"], self.user["group"])
        self.process = None
        try:
            self.start()
        except BaseException:
            if self.process:
                self.process.kill()
                self.process.wait()
            self._remove()
            raise

    def start(self):
        """Starts the process and waits until it says READY=1."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([self.binary], env=self.environment, cwd="/",
                                            stdin=self.listener, stdout=log, stderr=log,
                                            **self.user)
        self.notify.settimeout(0.05)
        end = time.monotonic() + 20
        while True:
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < end, f"{self.name} is not ready\n{self.log()}"
            try:
                if self.notify.recv(256) == b"READY=1":
                    return
            except TimeoutError:
                continue

    def connect(self, timeout=30):
        """A new connection."""
        return Connection(self.path, timeout)

    def request(self, method, path, **options):
        """One request on a connection of its own."""
        with self.connect() as connection:
            return connection.request(method, path, **options)

    def log(self):
        """The text of the log."""
        return logs.read(self.log_path)

    def events(self):
        """The lines of the log as objects."""
        return logs.events(self.log())

    def stop(self, seconds=40):
        """SIGTERM; returns how long it took. Fails unless the exit status is 0."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(seconds) == 0, self.log()
        return time.monotonic() - start

    def _remove(self):
        self.listener.close()
        self.notify.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.owns_memory:
            for path in glob.glob(self.shared_memory + ".*"):
                os.unlink(path)

    def close(self):
        """Stops the process; fails if it had died, and on a finding in its log."""
        status = self.process.poll()
        try:
            if status is None:
                self.stop()
            found = logs.findings(self.log())
            assert self.findings_expected or not found, found[0]
            assert status in (None, 0), f"{self.name} ended with {status}\n{self.log()[-2000:]}"
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self._remove()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def plain_cgi(binaries, name, method="GET", path=None, body=b"", device=None, env=None):
    """Runs a handler as plain CGI. Returns (exit status, Answer or None, standard error)."""
    params = parameters(method, path, device, body) if path else {}
    environment = {"PATH": os.environ["PATH"], **logs.SANITIZER_OPTIONS, **params}
    environment.update({key: value for key, value in (env or {}).items() if value is not None})
    memory = f"/dev/shm/dl-test-cgi-{os.getpid()}-{time.monotonic_ns()}"
    environment.setdefault("SHARED_MEMORY", memory)
    try:
        done = subprocess.run([f"{binaries}/{name}"], env=environment, input=body, timeout=60,
                              capture_output=True, check=False, cwd="/")
    finally:
        for segment in glob.glob(memory + ".*"):
            os.unlink(segment)
    problem = done.stderr.decode(errors="replace")
    assert not logs.findings(problem), problem
    head, separator, rest = done.stdout.partition(b"\r\n\r\n")
    if not separator:
        return done.returncode, None, problem
    message = email.parser.BytesHeaderParser().parsebytes(head + b"\r\n")
    return done.returncode, Answer(int(message["Status"].split()[0]), message, rest), problem
