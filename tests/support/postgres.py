"""A private PostgreSQL 15 cluster in a temporary folder, and databases in it.

    cluster = Cluster()                       # made and started; fsync off unless durable=True
    url = cluster.create_database()           # empty; postgresql:// over the Unix socket
    url = cluster.create_database(template)   # a clone of the database of that name
    with cluster.connect(url) as connection: ...
    cluster.stop("fast"); cluster.start(); cluster.kill9(); cluster.close()

Databases belong to the role dreamlens, which is no superuser: what the handlers need has to work
without more rights. cluster.admin_url(name) is the superuser's.
"""

import contextlib
import glob
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.parse

import psycopg2

from tests.support.process import alive, children, give_away, unprivileged, wait_until

ROLE = "dreamlens"
SUPERUSER = "postgres"

SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %d ",
    "random_page_cost": "1.1",
    "max_wal_size": "1GB",
    "autovacuum_naptime": "1h",  # tests that need statistics run ANALYZE
}

# What makes a test cluster fast and a crash of the machine lose it. kill9() stays safe: the
# operating system still has what was written.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


def programs_folder():
    """Where the programs of the newest PostgreSQL are."""
    found = sorted(
        glob.glob("/usr/lib/postgresql/*/bin/postgres"),
        key=lambda path: int(path.split("/")[4]),
    )
    assert found, "expected PostgreSQL in /usr/lib/postgresql"
    return os.path.dirname(found[-1])


class Cluster:
    """One cluster. settings: entries of postgresql.conf; hba: lines before the one that trusts."""

    def __init__(self, durable=False, settings=None, hba=()):
        self.programs = programs_folder()
        # Not listable, but open to whoever knows the random name: the handlers may run as another
        # user than the cluster.
        self.folder = tempfile.mkdtemp(prefix="dl-pg-", dir="/tmp")
        os.chmod(self.folder, 0o711)
        give_away(self.folder)
        self.data = os.path.join(self.folder, "data")
        self.log = os.path.join(self.folder, "postgres.log")
        self.settings = {**SETTINGS, **({} if durable else FAST), **(settings or {})}
        self.settings["unix_socket_directories"] = self.folder
        self.hba = list(hba)
        self.process = None
        self._count = 0
        self._killed = False
        try:
            self._initialise()
            self.start()
            with self.connect(self.admin_url("postgres")) as connection:
                connection.cursor().execute(f"CREATE ROLE {ROLE} LOGIN")
        except BaseException:
            self.close()
            raise

    # --- the server ---

    def _initialise(self):
        command = [f"{self.programs}/initdb", "-D", self.data, "-U", SUPERUSER, "-A", "trust",
                   "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False,
                              **unprivileged())
        assert done.returncode == 0, done.stdout + done.stderr
        if self.hba:
            with open(os.path.join(self.data, "pg_hba.conf"), "r+", encoding="utf-8") as file:
                old = file.read()
                file.seek(0)
                file.write("\n".join(self.hba) + "\n" + old)
        self.write_settings()

    def write_settings(self, **changes):
        """Changes settings; they hold from the next start, or reload() where that is enough."""
        self.settings.update(changes)
        with open(os.path.join(self.data, "postgresql.auto.conf"), "w", encoding="utf-8") as file:
            for name, value in self.settings.items():
                file.write(f"{name} = '{value}'\n")
        give_away(os.path.join(self.data, "postgresql.auto.conf"))

    def start(self, wait=True):
        """Starts the server and, unless wait is false, returns when it takes connections."""
        assert self.process is None
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [f"{self.programs}/postgres", "-D", self.data], cwd="/",
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                **unprivileged())
        if wait:
            wait_until(self._answers, 60, f"PostgreSQL takes connections; see {self.log}")
        self._killed = False

    def _answers(self):
        assert self.process.poll() is None, open(self.log, encoding="utf-8").read()[-2000:]
        try:
            psycopg2.connect(self.admin_url("postgres")).close()
        except psycopg2.OperationalError:
            return False
        return True

    def stop(self, mode="fast"):
        """Stops the server: smart, fast or immediate."""
        if self.process is None:
            return
        self.process.send_signal(STOP_SIGNALS[mode])
        self.process.wait(60)
        self.process = None

    def restart(self, mode="fast"):
        """Stops and starts."""
        self.stop(mode)
        self.start()

    def kill9(self):
        """Kills every process of the server at once, as a crash of its machine would."""
        pids = [*self.backends(), self.process.pid]
        self.process.send_signal(signal.SIGSTOP)  # it must not start new ones meanwhile
        pids += [pid for pid in self.backends() if pid not in pids]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(60)
        self.process = None
        wait_until(lambda: not any(alive(pid) for pid in pids), 30, "all processes are gone")
        self._killed = True

    def backends(self):
        """Process ids of the server's children."""
        return children(self.process.pid)

    def freeze(self, database):
        """Stops (SIGSTOP) the processes that serve connections to a database. Returns their ids."""
        with self.admin() as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT pid FROM pg_stat_activity WHERE datname = %s", (database,))
            pids = [row[0] for row in cursor.fetchall()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        return pids

    def reload(self):
        """Takes up settings that need no restart."""
        self.process.send_signal(signal.SIGHUP)

    def close(self):
        """Stops the server and removes the folder. Safe to repeat."""
        if self._killed:
            self.start()  # which removes the shared memory that the killed one left
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                for pid in self.backends():
                    os.kill(pid, signal.SIGCONT)
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- databases ---

    def url(self, name, role=ROLE, **parameters):
        """The URL of a database; parameters are added to its query."""
        query = urllib.parse.urlencode({"host": self.folder, **parameters}, safe="/")
        return f"postgresql://{role}@/{name}?{query}"

    def admin_url(self, name):
        """The superuser's URL of a database."""
        return self.url(name, SUPERUSER)

    def create_database(self, template=None):
        """Makes a database of a new name, a clone of template if given, and returns its URL."""
        self._count += 1
        name = f"test_{os.getpid()}_{self._count}"
        with self.admin() as connection:
            cursor = connection.cursor()
            cursor.execute(f'CREATE DATABASE "{name}" OWNER {ROLE} TEMPLATE'
                           f' "{template or "template0"}"')
        return self.url(name)

    def drop(self, url):
        """Drops a database, whoever is connected to it."""
        with self.admin() as connection:
            connection.cursor().execute(
                f'DROP DATABASE IF EXISTS "{database_name(url)}" WITH (FORCE)')

    @contextlib.contextmanager
    def admin(self, database="postgres"):
        """A superuser's connection, autocommit, closed at the end."""
        connection = psycopg2.connect(self.admin_url(database))
        connection.autocommit = True
        try:
            yield connection
        finally:
            connection.close()

    @staticmethod
    @contextlib.contextmanager
    def connect(url, autocommit=True):
        """A psycopg2 connection, closed at the end."""
        connection = psycopg2.connect(url)
        connection.autocommit = autocommit
        try:
            yield connection
        finally:
            connection.close()

    def query(self, url, text, parameters=None):
        """Runs one statement and returns its rows, or None when it has none."""
        with self.connect(url) as connection:
            cursor = connection.cursor()
            cursor.execute(text, parameters)
            return cursor.fetchall() if cursor.description else None

    def value(self, url, text, parameters=None):
        """The one value a statement returns."""
        return self.query(url, text, parameters)[0][0]


def database_name(url):
    """The database a URL of Cluster names."""
    return urllib.parse.urlsplit(url).path.lstrip("/")


def bootstrap(url, binary, secret="template-secret-of-the-tests"):
    """Makes the schema by running the handler init-db once as plain CGI."""
    environment = {
        "PATH": os.environ["PATH"], "POSTGRES_URL": url, "DB_INIT_SECRET": secret,
        "HTTP_X_DB_INIT_SECRET": secret, "REQUEST_METHOD": "POST",
        "DOCUMENT_URI": "/api/init-db", "CONTENT_LENGTH": "0",
        "SHARED_MEMORY": f"/dev/shm/dl-test-{os.getpid()}-template-{time.monotonic_ns()}",
    }
    try:
        done = subprocess.run([binary], env=environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60, check=False)
    finally:
        for path in glob.glob(environment["SHARED_MEMORY"] + ".*"):
            os.unlink(path)
    assert "Status: 200" in done.stdout, f"{binary}: {done.stdout}\n{done.stderr}"


class Template:
    """The database in which the schema was bootstrapped once, to clone others from."""

    def __init__(self, cluster, binary):
        url = cluster.create_database()
        bootstrap(url, binary)
        self.name = database_name(url)
