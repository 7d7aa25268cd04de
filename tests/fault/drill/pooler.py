"""PgBouncer in transaction mode in front of whichever server is the primary."""

import os
import shutil
import signal
import subprocess
import tempfile

from tests.support.postgres import ROLE, SUPERUSER
from tests.support.process import end, give_away, unprivileged, wait_until


class Pooler:
    """Listens on a TCP port; its server connections go through the proxy's port server_port."""

    def __init__(self, port, server_port):
        self.port = port
        self.folder = tempfile.mkdtemp(prefix="dl-pb-", dir="/tmp")
        os.chmod(self.folder, 0o711)
        give_away(self.folder)
        self.log = f"{self.folder}/pgbouncer.log"
        with open(f"{self.folder}/users.txt", "w", encoding="utf-8") as file:
            file.write(f'"{ROLE}" ""\n"{SUPERUSER}" ""\n')
        with open(f"{self.folder}/pgbouncer.ini", "w", encoding="utf-8") as file:
            file.write(f"""[databases]
* = host=127.0.0.1 port={server_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {self.folder}/users.txt
pool_mode = transaction
default_pool_size = 12
max_client_conn = 500
server_login_retry = 1
query_wait_timeout = 4
logfile = {self.log}
""")
        self.process = None
        self.start()

    def start(self):
        """Starts it."""
        self.process = subprocess.Popen(
            ["/usr/sbin/pgbouncer", "-q", f"{self.folder}/pgbouncer.ini"], cwd="/",
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True, **unprivileged())
        wait_until(lambda: self.process.poll() is not None or self._listens(), 20,
                   f"PgBouncer listens; see {self.log}")
        assert self.process.poll() is None, open(self.log, encoding="utf-8").read()[-1000:]

    def _listens(self):
        wanted = f":{self.port:04X} 00000000:0000 0A"
        with open("/proc/net/tcp", encoding="ascii") as file:
            return any(wanted in line for line in file)

    def restart(self, graceful):
        """Ends it, at once, and starts another. Returns both process ids."""
        before = self.process.pid
        self.process.send_signal(signal.SIGTERM if graceful else signal.SIGKILL)
        self.process.wait(10)
        self.start()
        return before, self.process.pid

    def close(self):
        """Ends it."""
        end(self.process)
        shutil.rmtree(self.folder, ignore_errors=True)
