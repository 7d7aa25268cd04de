"""What is timed once at a time: a handler's start, and the first request of an empty database."""

import contextlib
import glob
import os
import socket
import statistics
import subprocess
import time

from tests.support.fastcgi import PARAMS, STDIN, Connection, begin, name_values, parameters, stream
from tests.support.process import as_user, end
from tests.support.stack import new_device

STARTS, BOOTSTRAPS = 21, 5
HANDLER = "tokens"


def _request(connection, path, device):
    """Sends a request and leaves its answer to be received."""
    connection.send(begin() + stream(PARAMS, name_values(parameters("GET", path, device)))
                    + stream(STDIN, b""))


class _Handler:
    """One more handler beside those of the instance, with their environment, on its own socket."""

    def __init__(self, instance, **environment):
        stack = instance.stack
        with open(f"{stack.run_dir}/handlers.env", encoding="utf-8") as file:
            self.environment = dict(
                entry.split("=", 1) for entry in file.read().split("\0") if entry)
        self.environment.update(environment)
        self.program = f"{stack.run_dir}/bin/{HANDLER}"
        self.path = f"{stack.state}/single.sock"
        self.log = f"{stack.run_dir}/logs/{HANDLER}-single.log"
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(16)
        self.user = as_user(stack.instance["RUN_USER"])
        self.process = None

    def start(self):
        """Starts the process; what connected before is answered as soon as it serves."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.program], env=self.environment, cwd="/", stdin=self.listener, stdout=log,
                stderr=log, **self.user)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process:
            end(self.process, 40)
        self.listener.close()
        os.unlink(self.path)


def start_ms(instance):
    """Milliseconds from before fork to the answer to a request that was waiting: the balance of a
    user, read from the database, where the shared cache exists. Returns all of them."""
    times = []
    for number in range(1, STARTS + 1):
        with _Handler(instance) as handler, Connection(handler.path) as connection:
            _request(connection, "/api/tokens", f"device_bench_{number:09d}")
            began = time.perf_counter()
            handler.start()
            answer = connection.receive()
            times.append((time.perf_counter() - began) * 1000)
            assert answer.status == 200, answer
    return times


@contextlib.contextmanager
def _empty_database(instance, number):
    name = f"bench_empty_{number}"
    instance.query(f"CREATE DATABASE {name} OWNER dreamlens_owner")
    try:
        yield name
    finally:
        instance.query(f"DROP DATABASE {name} WITH (FORCE)")


def bootstrap_ms(instance):
    """Milliseconds of the first request that a handler, which has been running, sends to a database
    without any table: it makes the schema, opens an account and answers. Returns all of them."""
    times = []
    memory = f"/dev/shm/dl-bench-{os.getpid()}"
    for number in range(BOOTSTRAPS):
        with _empty_database(instance, number) as name, _Handler(
                instance, POSTGRES_URL=instance.url_of(name), SHARED_MEMORY=memory,
                POSTGRES_URL_NON_POOLING=instance.url_of(name, "dreamlens_owner")) as handler:
            handler.start()
            try:
                with Connection(handler.path) as connection:
                    _request(connection, "/api/nothing", None)
                    assert connection.receive().status == 404
                    began = time.perf_counter()
                    _request(connection, "/api/tokens", new_device())
                    answer = connection.receive()
                    times.append((time.perf_counter() - began) * 1000)
                assert answer.data["balance"] == 5, answer
            finally:
                end(handler.process, 40)
                for path in glob.glob(f"{memory}.*"):
                    os.unlink(path)
    return times


def median(values):
    """The median, to a tenth."""
    return round(statistics.median(values), 1)
