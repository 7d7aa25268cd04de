"""A proxy in front of PostgreSQL that can lose what the server answered.

The client end is a Unix socket named as PostgreSQL names its own, so that a handler's URL only
needs another host. Rules look at the bytes that clients send:

    with PostgresProxy(cluster) as proxy:
        proxy.cut_answer_to(bind_of("token_claim_bonus"))   # the next run of that statement
        url = proxy.url(database_url)
"""

import contextlib
import os
import re
import select
import shutil
import socket
import tempfile
import threading
import time
import urllib.parse

SOCKET_NAME = ".s.PGSQL.5432"


def bind_of(query):
    """The pattern of a Bind message for a prepared statement of that query, with which it runs
    (PostgreSQL 15 documentation, section 55.7): B, length, portal name, statement name."""
    return rb"B.{4}\x00" + query.encode() + rb"_[0-9a-f]{8}\x00"


class PostgresProxy:
    """Forwards every connection; what is refused, delayed or cut is set while it runs."""

    def __init__(self, cluster):
        self.server = os.path.join(cluster.folder, SOCKET_NAME)
        self.folder = tempfile.mkdtemp(prefix="dl-px-", dir="/tmp")
        os.chmod(self.folder, 0o711)
        self.refuse = False      # close new connections at once
        self.delay_seconds = 0.0 # before each piece of an answer
        self.silent = False      # forward nothing, close nothing
        self.cuts = 0            # answers that were lost so far
        self._cut = None
        self._cut_before = False
        self._cut_left = 0
        self._lock = threading.Lock()
        self._closing = False
        self._pairs = set()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path = os.path.join(self.folder, SOCKET_NAME)
        self._listener.bind(path)
        os.chmod(path, 0o777)
        self._listener.listen(256)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def url(self, database_url):
        """The same database through the proxy."""
        parts = urllib.parse.urlsplit(database_url)
        return parts._replace(query=f"host={self.folder}").geturl()

    def cut_answer_to(self, pattern, times=1):
        """The next requests that match reach the server and are carried out; their answers do
        not come back: the connection ends instead."""
        with self._lock:
            self._cut, self._cut_left = re.compile(pattern, re.DOTALL), times
            self._cut_before = False

    def cut_request_with(self, pattern, times=1):
        """The next requests that match never reach the server; the connection ends."""
        with self._lock:
            self._cut, self._cut_left = re.compile(pattern, re.DOTALL), times
            self._cut_before = True

    def drop_all(self):
        """Ends every connection that is open."""
        for pair in list(self._pairs):
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _accept(self):
        while not self._closing:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refuse:
                client.close()
                continue
            server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                server.connect(self.server)
            except OSError:
                client.close()
                continue
            pair = (client, server)
            self._pairs.add(pair)
            thread = threading.Thread(target=self._serve, args=pair, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _take_cut(self, data):
        with self._lock:
            if self._cut is None or not self._cut.search(data) or self._cut_left == 0:
                return None
            self._cut_left -= 1
            self.cuts += 1
            return "request" if self._cut_before else "answer"

    def _serve(self, client, server):
        try:
            while not self._closing:
                ready, _, _ = select.select([client, server], [], [], 0.2)
                if self.silent:
                    time.sleep(0.02)
                    continue
                if client in ready:
                    data = client.recv(65536)
                    cut = self._take_cut(data)
                    if not data or cut == "request":
                        return
                    server.sendall(data)
                    if cut == "answer":
                        server.settimeout(10)
                        server.recv(65536)  # it has been carried out, and nobody learns of it
                        return
                if server in ready:
                    data = server.recv(65536)
                    if not data:
                        return
                    if self.delay_seconds:
                        time.sleep(self.delay_seconds)
                    client.sendall(data)
        except OSError:
            pass
        finally:
            self._pairs.discard((client, server))
            client.close()
            server.close()

    def close(self):
        """Ends every connection and the proxy."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop_all()
        for thread in self._threads:
            thread.join(5)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
