"""Two PostgreSQL servers: a primary, and a standby that confirms each commit before its answer."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import psycopg2

from tests.fault.drill.disk import Disk
from tests.fault.drill.proxy import server_socket
from tests.support.postgres import STOP_SIGNALS, SUPERUSER, programs_folder
from tests.support.process import alive, children, give_away, wait_until

DISK_MEBIBYTES = 640  # some 300 for ten minutes of load, and WAL

SETTINGS = {
    "listen_addresses": "",
    "max_connections": "150",
    "shared_buffers": "64MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_wal_size": "64MB",
    "min_wal_size": "16MB",
    "wal_keep_size": "64MB",
    "max_wal_senders": "8",
    "wal_retrieve_retry_interval": "200ms",
    "restart_after_crash": "on",
    "hot_standby": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "log_min_error_statement": "panic",
    "synchronous_standby_names": "",
}


class Node:
    """One server. Its data is on a disk of its own; its socket, settings and log are beside it."""

    def __init__(self, name):
        self.name = name
        self.programs = programs_folder()
        self.folder = tempfile.mkdtemp(prefix=f"dl-{name}-", dir="/tmp")
        os.chmod(self.folder, 0o711)
        give_away(self.folder)
        self.data = os.path.join(self.folder, "data")
        self.log = os.path.join(self.folder, "postgres.log")
        self.socket = server_socket(self.folder)
        self.settings = {**SETTINGS, "unix_socket_directories": self.folder}
        self.disk = Disk(self.data, DISK_MEBIBYTES)
        self.process = None

    def initialise(self):
        """Makes a new cluster."""
        self.disk.run(f"{self.programs}/initdb", "-D", self.data, "-U", SUPERUSER, "-A", "trust",
                      "-E", "UTF8", "--locale=C.UTF-8", "--wal-segsize=4", "--no-sync",
                      "--no-instructions")

    def configure(self, **changes):
        """Changes settings, for a server that runs as well."""
        self.settings.update(changes)
        path = os.path.join(self.folder, "postgresql.conf")
        with open(path + ".new", "w", encoding="utf-8") as file:
            for name, value in self.settings.items():
                file.write(f"{name} = '{value}'\n")
        give_away(path + ".new")
        os.rename(path + ".new", path)
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGHUP)

    def start(self, wait=60):
        """Starts the server and waits until it takes connections."""
        command = self.disk.inside(
            f"{self.programs}/postgres", "-D", self.data,
            "-c", f"config_file={self.folder}/postgresql.conf",
            "-c", f"hba_file={self.data}/pg_hba.conf",
            "-c", f"ident_file={self.data}/pg_ident.conf")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, cwd="/", stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, start_new_session=True)
        if wait:
            wait_until(self.answers, wait, f"{self.name} takes connections; see {self.log}")

    def answers(self):
        """Whether it takes connections; fails when the server is gone."""
        assert self.process.poll() is None, f"{self.name} ended: {self.log_text()[-1500:]}"
        try:
            psycopg2.connect(self.url(), connect_timeout=2).close()
        except psycopg2.OperationalError:
            return False
        return True

    def stop(self, mode="immediate"):
        """Stops the server."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(STOP_SIGNALS[mode])
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.process = None

    def pids(self):
        """The server and its children."""
        return [self.process.pid, *children(self.process.pid)]

    def freeze(self):
        """Stops all its processes where they stand. Returns their ids."""
        pids = self.pids()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        return pids

    def thaw(self, pids):
        """Ends freeze()."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def url(self, database="postgres", role=SUPERUSER):
        """The address of a database past proxy and pooler."""
        return f"postgresql://{role}@/{database}?host={self.folder}"

    def query(self, text, parameters=None, database="postgres"):
        """Rows of one statement, as superuser."""
        connection = psycopg2.connect(self.url(database), connect_timeout=3)
        try:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute("SET synchronous_commit = local")
            cursor.execute(text, parameters)
            return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def timeline(self):
        """The timeline it writes."""
        return int(self.query("SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)")[0][0],
                   16)

    def log_text(self):
        """All it has logged."""
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def logged(self, pattern):
        """How often a pattern stands in its log."""
        return len(re.findall(pattern, self.log_text()))

    def copy_from(self, primary):
        """Becomes a copy of the primary."""
        self.stop()
        self.disk.empty()
        self.disk.run(f"{self.programs}/pg_basebackup", "-h", primary.folder, "-U", SUPERUSER,
                      "-D", self.data, "-c", "fast", "-X", "stream", "--no-sync")
        self.disk.run("touch", f"{self.data}/standby.signal")

    def close(self):
        """Ends everything and removes the folder."""
        if self.process is not None and self.process.poll() is None:
            self.thaw(self.pids())
        pids = self.pids() if self.process is not None else []
        self.stop()
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not any(alive(pid) for pid in pids), 10, "its processes are gone")
        if not self.disk.possible:
            with contextlib.suppress(AssertionError):
                self.disk.empty()
        self.disk.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Servers:
    """Primary and standby, and what a high-availability manager does with them: it stops the old
    primary before it promotes the standby, promotes only one that is known to have confirmed every
    commit, and makes the old one a standby again."""

    def __init__(self, proxy):
        self.proxy = proxy
        self.nodes = [Node("a"), Node("b")]
        self.primary, self.standby = self.nodes
        self.whole = threading.Event()  # the standby confirms commits; a fail-over loses nothing
        self.rebuilding = None
        self.closing = False
        self.problem = None
        self.ports = [proxy.add(node.name, node.socket) for node in self.nodes]
        self.primary_port = proxy.add("primary", self.primary.socket)
        self.replication_port = proxy.add("replication", self.primary.socket, movements=False)

    def start(self):
        """Makes both."""
        self.primary.initialise()
        self.primary.configure()
        self.primary.start()
        self._join()

    def fail_over(self, mode="immediate"):
        """Fences the primary and promotes the standby; a new standby is made in the background.
        Returns the two timelines."""
        assert self.whole.is_set()
        self.whole.clear()
        old, new = self.primary, self.standby
        before = old.timeline()
        old.stop(mode)
        self.proxy.drop("replication")
        self.proxy.release("replication")
        new.query("SELECT pg_promote(true, 30)")
        wait_until(lambda: not new.query("SELECT pg_is_in_recovery()")[0][0], 30,
                   "the standby is promoted")
        self.primary, self.standby = new, old
        self.proxy.lead("primary", new.socket)
        self.proxy.lead("replication", new.socket)
        self.rebuilding = threading.Thread(target=self._rebuild, daemon=True)
        self.rebuilding.start()
        return before, new.timeline()

    def _rebuild(self):
        for _ in range(20):
            try:
                self._join()
                return
            except (AssertionError, psycopg2.Error, subprocess.TimeoutExpired) as problem:
                self.problem = problem
                if self.closing:
                    return
                time.sleep(1)

    def _join(self):
        primary, standby = self.primary, self.standby
        primary.configure(synchronous_standby_names="")
        standby.copy_from(primary)
        standby.configure(
            synchronous_standby_names="",
            primary_conninfo=f"host=127.0.0.1 port={self.replication_port} user={SUPERUSER} "
                             f"application_name={standby.name} connect_timeout=2")
        standby.start()
        wait_until(lambda: self._stands("streaming"), 60, "the standby follows")
        primary.configure(synchronous_standby_names=standby.name)
        # The checkpointer tells the back-ends; from then on every commit waits.
        time.sleep(1)
        lsn = primary.query("SELECT pg_current_wal_insert_lsn()")[0][0]
        wait_until(lambda: self._stands("streaming", lsn), 60, "the standby has everything")
        self.whole.set()

    def _stands(self, state, lsn="0/0"):
        assert self.standby.process.poll() is None, self.standby.log_text()[-500:]
        return bool(self.primary.query(
            "SELECT 1 FROM pg_stat_replication WHERE application_name = %s AND state = %s"
            " AND flush_lsn >= %s::pg_lsn", (self.standby.name, state, lsn)))

    def keep_alive(self):
        """Starts the primary again when it ended, as a service manager does. Returns whether it
        had."""
        if self.primary.process.poll() is None:
            return False
        self.primary.process = None
        self.primary.start()
        return True

    def close(self):
        """Ends both."""
        self.closing = True
        if self.rebuilding:
            self.rebuilding.join(30)
        for node in self.nodes:
            node.close()
