"""The programs that the product is compared with, each on a Unix socket behind the same nginx."""

import contextlib
import os
import shutil
import socket
import subprocess

from tests.bench.instance import upstream
from tests.support import npm
from tests.support.fastcgi import Connection
from tests.support.process import REPOSITORY, end, wait_until

FOLDER = os.path.join(REPOSITORY, "tests", "bench", "peer")
BARE_THREADS = 64  # connections pin threads, and no row that it is compared in has more
NODE_LEAST = 18    # Debian 12 has it

BARE_LOCATIONS = """    location = /api/tokens {
        fastcgi_pass bench-bare;
    }
"""
NODE_LOCATION = """    location = {path} {{
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
        proxy_set_header X-Request-Id $request_id;
        proxy_next_upstream off;
        proxy_pass http://{name};
    }}
"""


class Bare:
    """tests/bench/bare.c, which answers with what the tokens handler answered a moment ago."""

    def __init__(self, instance, binaries):
        folder = instance.stack.state
        answer = f"{folder}/bare.answer"
        with Connection(instance.stack.socket_path("tokens")) as connection:
            taken = connection.request("GET", "/api/tokens", device="device_bench_000000001")
            head = "".join(f"{name}: {value}\r\n" for name, value in taken.headers.items())
        assert taken.status == 200, taken
        with open(answer, "wb") as file:
            file.write(head.encode() + b"\r\n" + taken.body)
        path = f"{folder}/bare.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(path)
            os.chmod(path, 0o666)
            listener.listen(1024)
            program = os.path.join(os.path.dirname(binaries), "tests", "bench", "bare")
            self.process = subprocess.Popen(
                [program, answer, str(BARE_THREADS)], stdin=listener)
        instance.peers.append(self.process.pid)
        self.nginx = (upstream("bench-bare", path), BARE_LOCATIONS)

    def close(self):
        """Stops it."""
        end(self.process)


class Node:
    """tests/bench/peer/server.mjs with a number of processes and of connections each."""

    def __init__(self, instance, workers, pool):
        self.name = f"bench-node-{workers}-{pool}"
        path = f"{instance.stack.state}/{self.name}.sock"
        self.process = subprocess.Popen(
            ["node", f"{FOLDER}/server.mjs"], stdin=subprocess.DEVNULL, env={
                "PATH": os.environ["PATH"], "NODE_ENV": "production", "SOCKET": path,
                "DATABASE_URL": instance.url, "POOL": str(pool), "WORKERS": str(workers),
                "QUERIES": f"{REPOSITORY}/sql/queries"})
        instance.peers.append(self.process.pid)
        try:
            wait_until(lambda: self._listens(path), 30, f"{self.name} listens")
        except BaseException:
            self.close()
            raise
        self.nginx = (upstream(self.name, path), "".join(
            NODE_LOCATION.format(path=location, name=self.name)
            for location in ("/api/tokens", "/api/ledger/spend")))

    def _listens(self, path):
        assert self.process.poll() is None, f"{self.name} ended: {self.process.returncode}"
        # The mode is changed once it listens.
        with contextlib.suppress(FileNotFoundError):
            return os.stat(path).st_mode & 0o777 == 0o666
        return False

    def close(self):
        """Stops it."""
        end(self.process)


def install_node():
    """The packages of the Node peer."""
    assert shutil.which("node") and shutil.which("npm"), "expected Node.js and npm"
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    major = int(version.stdout.strip().lstrip("v").split(".")[0])
    assert major >= NODE_LEAST, f"expected Node.js {NODE_LEAST} or newer, found {version.stdout}"
    npm.install(FOLDER)
