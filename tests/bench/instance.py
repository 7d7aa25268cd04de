"""The instance under test, made by scripts/up as a user makes it, and what it can be asked."""

import contextlib
import os
import re
import signal
import subprocess
import urllib.parse

import psycopg2

from tests.bench import data
from tests.bench.load import LoadError
from tests.support.process import REPOSITORY, pid_in, wait_until
from tests.support.stack import Stack, free_port

# A disk and not memory: /tmp may be a tmpfs, on which a commit costs nothing.
FOLDER = "/var/tmp"
MEMORY_FILE_SYSTEMS = {"tmpfs", "ramfs"}
DURABLE = ("fsync", "synchronous_commit", "full_page_writes")
CONNECTIONS_MAX = 400  # pgbench with 256 clients beside the handlers; a user's cluster takes 100

# A second server of the same nginx: the same TLS, headers, limits and log as the product's own.
PEER_SERVER = """server {{
    listen 127.0.0.1:{port} ssl http2 backlog=1024;
    server_name _;
    include tls.conf;
    include headers.conf;
    include errors.conf;
    include fastcgi.conf;
    limit_req zone=edge_rate burst={burst} nodelay;
    limit_conn edge_connections {connections};
{locations}}}
"""


class Instance:
    """A running instance with users in its database. url None: with a cluster of its own."""

    def __init__(self, binaries, url=None, owner_url=None):
        environment = {"NGINX_WORKERS": "auto", "TRUSTED_PROXIES": "", "LOG_LEVEL": "info"}
        if owner_url:
            environment["POSTGRES_URL_NON_POOLING"] = owner_url
        self.stack = Stack(url, binaries, environment, folder=FOLDER)
        self.url = self.stack.instance["POSTGRES_URL"]
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.url).query)
        self.database = urllib.parse.urlsplit(self.url).path.lstrip("/")
        self.sockets = query["host"][0]
        self.users = 0
        self.position = 0  # how far first touches have come
        self.cold_at = 0   # when none of them is in the cache any more, by the monotonic clock
        self.service_key = None
        self.peers = []    # process ids of programs that stand behind its nginx as well

    # --- the database ---

    @contextlib.contextmanager
    def admin(self, database=None):
        """A superuser's connection, autocommit."""
        connection = psycopg2.connect(
            host=self.sockets, user="postgres", dbname=database or self.database)
        connection.autocommit = True
        try:
            yield connection
        finally:
            connection.close()

    def query(self, text, database=None):
        """Runs one statement as the superuser and returns its rows, or None when it has none."""
        with self.admin(database) as connection:
            cursor = connection.cursor()
            cursor.execute(text)
            return cursor.fetchall() if cursor.description else None

    def url_of(self, database, role="dreamlens"):
        """The URL of another database of the same cluster."""
        return f"postgresql://{role}@/{database}?host={self.sockets}"

    def allow_connections(self):
        """Raises max_connections, for which the instance stops and starts once."""
        self.query(f"ALTER SYSTEM SET max_connections = {CONNECTIONS_MAX}")
        self.stack.run("down", check=True)
        self.stack.run("up", check=True)

    def postmaster(self):
        """The process id of the database server."""
        return pid_in(f"{os.path.dirname(self.sockets)}/data/postmaster.pid")

    def fill(self, users, entries_each):
        """Makes users with entries, and a key of a service that may charge them."""
        with self.admin() as connection:
            data.generate(connection, users, entries_each)
        self.users = users
        done = self.stack.run("service-key", "create", "bench", check=True)
        self.service_key = done.stdout.split()[-1]

    def entries(self):
        """How many ledger entries there are."""
        return self.query("SELECT count(*) FROM token_transactions")[0][0]

    def verify(self):
        """The last line of scripts/verify; raises LoadError when the books do not agree."""
        done = self.stack.run("verify", timeout=900)
        if done.returncode != 0:
            raise LoadError(f"scripts/verify: {done.stdout[-2000:]}{done.stderr[-500:]}")
        return done.stdout.strip().splitlines()[-1]

    def settings(self):
        """{name: value} of what decides what a commit costs; raises LoadError when one is off."""
        found = {name: self.query(f"SHOW {name}")[0][0] for name in (
            *DURABLE, "wal_sync_method", "shared_buffers", "max_wal_size", "wal_compression",
            "server_version")}
        off = [name for name in DURABLE if found[name] != "on"]
        found["file_system"] = subprocess.run(
            ["stat", "-f", "-c", "%T", self.stack.run_dir], capture_output=True, text=True,
            check=True).stdout.strip()
        if off or found["file_system"] in MEMORY_FILE_SYSTEMS:
            raise LoadError(f"expected a durable database, found {found}")
        return found

    # --- what the handlers say ---

    def cache_counts(self):
        """(hits, misses) of the shared cache since the instance began."""
        client = self.stack.client(anonymous=True)
        text = client.get("/metrics").body.decode()
        client.close()
        counts = []
        for name in ("hits", "misses"):
            values = re.findall(rf"^\w*cache_{name}_total(?:\{{[^}}]*\}})? (\d+)", text, re.M)
            counts.append(sum(map(int, values)))
        return tuple(counts)

    def memory_mb(self):
        """Resident memory of all handlers together, each page shared out among those that map it,
        without the shared cache and counters. MB of 10^6 bytes."""
        shared = self.stack.instance["SHARED_MEMORY"]
        total_kib = 0
        for pid in self.stack.pids().values():
            with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as file:
                counted = True
                for line in file:
                    if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                        counted = shared not in line
                    elif counted and line.startswith("Pss:"):
                        total_kib += int(line.split()[1])
        return total_kib * 1024 / 1e6

    def forget_access_log(self):
        """Empties nginx's access log, which a run fills with some hundred megabytes."""
        os.truncate(f"{self.stack.run_dir}/logs/nginx-access.log", 0)

    # --- peers behind the same nginx ---

    def add_peers(self, peers):
        """Puts peers (upstream text, locations text) behind the instance's nginx, each on a port of
        its own. Returns their base URLs."""
        environment = self.stack.environment
        text, urls = "", []
        for upstream, locations in peers:
            port = free_port()
            text += upstream + PEER_SERVER.format(
                port=port, locations=locations, burst=environment["EDGE_BURST"],
                connections=environment["EDGE_CONNECTIONS"])
            urls.append(f"https://127.0.0.1:{port}")
        path = f"{self.stack.run_dir}/nginx/upstreams.conf"
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)
        master = pid_in(f"{self.stack.run_dir}/run/nginx.pid")
        os.kill(master, signal.SIGHUP)
        for url in urls:
            wait_until(lambda url=url: _answers(url), 10, f"nginx listens for {url}")
        return urls

    @property
    def base(self):
        """The base URL of the product."""
        return f"https://127.0.0.1:{self.stack.https_port}"

    def close(self):
        """Stops it and removes all of it."""
        self.stack.close()


def _answers(url):
    """Whether the TLS server there answers, whatever it answers."""
    return subprocess.run(
        ["curl", "--silent", "--insecure", "--noproxy", "*", "--output", "/dev/null", url],
        check=False).returncode == 0


def upstream(name, socket_path):
    """An upstream with the very settings that handlers have (nginx/upstream.conf)."""
    with open(f"{REPOSITORY}/nginx/upstream.conf", encoding="utf-8") as file:
        text = file.read()
    return re.sub(r"unix:\S+", f"unix:{socket_path}",
                  text.replace("handler-@HANDLER@", name))
