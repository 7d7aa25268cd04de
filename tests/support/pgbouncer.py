"""PgBouncer in transaction mode in front of a Cluster, on a Unix socket of its own."""

import os
import shutil
import subprocess
import tempfile

import psycopg2

from tests.support.postgres import ROLE, SUPERUSER
from tests.support.process import end, give_away, unprivileged, wait_until

PORT = 6432


class PgBouncer:
    """pool_size: server connections a database has; fewer than the handlers open, so they share."""

    def __init__(self, cluster, pool_size=2):
        self.folder = tempfile.mkdtemp(prefix="dl-pb-", dir="/tmp")
        os.chmod(self.folder, 0o711)
        give_away(self.folder)
        self.log = f"{self.folder}/pgbouncer.log"
        with open(f"{self.folder}/users.txt", "w", encoding="utf-8") as file:
            file.write(f'"{ROLE}" ""\n"{SUPERUSER}" ""\n')
        with open(f"{self.folder}/pgbouncer.ini", "w", encoding="utf-8") as file:
            file.write(f"""[databases]
* = host={cluster.folder}
[pgbouncer]
listen_addr =
listen_port = {PORT}
unix_socket_dir = {self.folder}
auth_type = trust
auth_file = {self.folder}/users.txt
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 500
logfile = {self.log}
admin_users = {SUPERUSER}
""")
        self.process = subprocess.Popen(
            ["/usr/sbin/pgbouncer", "-q", f"{self.folder}/pgbouncer.ini"], cwd="/",
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            **unprivileged())
        try:
            wait_until(self._answers, 20, f"PgBouncer takes connections; see {self.log}")
        except BaseException:
            self.close()
            raise

    def _answers(self):
        assert self.process.poll() is None, self.log
        try:
            psycopg2.connect(self.url("pgbouncer", SUPERUSER)).close()
        except psycopg2.OperationalError:
            return False
        return True

    def url(self, database, role=ROLE):
        """The URL of a database through the pooler."""
        return f"postgresql://{role}@/{database}?host={self.folder}&port={PORT}"

    def close(self):
        """Ends it."""
        end(self.process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
