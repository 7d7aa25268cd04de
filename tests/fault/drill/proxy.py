"""The TCP proxy between the handlers and PostgreSQL, and between primary and standby.

    proxy = Proxy()
    port = proxy.add("primary", "/folder/.s.PGSQL.5432")    # listens on 127.0.0.1
    proxy.cut("answer", 3)       # the next 3 movements are carried out; their answers are lost
    proxy.cut("midway", 3)       # sent, and cut at once: carried out or not
    proxy.cut("request", 3)      # never sent
    proxy.delay_seconds = 0.1    # before each piece of an answer
    proxy.hold("replication")    # what the server sends stays with the server, as on a dead link
"""

import contextlib
import os
import re
import socket
import threading
import time

# What changes the books; by the name of the prepared statement or in the text of an unnamed one.
MOVEMENT = re.compile(rb"ledger_post|ledger_reverse|hold_c|hold_r|claim|link_"
                      rb"|payment_(open|apply|uncertain|refused)|refund_(open|apply)")


class Route:
    """One port of the proxy. target: the Unix socket it leads to, or None for nowhere."""

    def __init__(self, target, movements):
        self.target = target
        self.movements = movements  # whether cut() and delay_seconds are about this route
        self.flowing = threading.Event()
        self.flowing.set()
        self.pairs = set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]


class Pair:
    """One connection, both its ends."""

    def __init__(self, client, server):
        self.client, self.server = client, server
        self.lose_answer = False

    def end(self):
        """Ends both; the threads that wait for them notice."""
        for side in (self.client, self.server):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)


class Proxy:
    """Two threads a connection: there are some tens, and blocking calls are easy to trust."""

    def __init__(self):
        self.routes = {}
        self.delay_seconds = 0.0
        self.counts = {"answer": 0, "midway": 0, "request": 0, "delayed": 0, "dropped": 0}
        self._lock = threading.Lock()
        self._cut, self._cuts_left = None, 0
        self._closing = False

    def add(self, name, target, movements=True):
        """Opens a port that leads to target. Returns the port."""
        route = self.routes[name] = Route(target, movements)
        threading.Thread(target=self._accept, args=(route,), daemon=True).start()
        return route.port

    def cut(self, how, times):
        """Cuts the next movements: see the head of the file."""
        with self._lock:
            self._cut, self._cuts_left = how, times

    def hold(self, name):
        """From now on nothing flows from the server; nothing is lost or closed either."""
        self.routes[name].flowing.clear()

    def release(self, name):
        """Ends hold()."""
        self.routes[name].flowing.set()

    def drop(self, name):
        """Ends the route's connections, with whatever was under way."""
        for pair in list(self.routes[name].pairs):
            self.counts["dropped"] += 1
            pair.end()

    def lead(self, name, target):
        """Leads new connections to another server and ends the old ones."""
        self.routes[name].target = target
        self.drop(name)

    def _accept(self, route):
        while not self._closing:
            try:
                client, _ = route.listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                if route.target is None:
                    raise OSError("leads nowhere")
                server.connect(route.target)
            except OSError:
                client.close()
                server.close()
                continue
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = Pair(client, server)
            route.pairs.add(pair)
            back = threading.Thread(target=self._answers, args=(route, pair), daemon=True)
            back.start()
            threading.Thread(target=self._requests, args=(route, pair, back), daemon=True).start()

    def _take_cut(self, data):
        if not self._cuts_left or not MOVEMENT.search(data):
            return None
        with self._lock:
            if not self._cuts_left:
                return None
            self._cuts_left -= 1
            return self._cut

    def _requests(self, route, pair, back):
        try:
            while data := pair.client.recv(65536):
                how = self._take_cut(data) if route.movements else None
                if how == "request":
                    self.counts[how] += 1
                    break
                if how == "answer":
                    pair.lose_answer = True
                pair.server.sendall(data)
                if how == "midway":
                    self.counts[how] += 1
                    break
        except OSError:
            pass
        pair.end()
        back.join()
        route.pairs.discard(pair)
        pair.client.close()
        pair.server.close()

    def _answers(self, route, pair):
        try:
            while True:
                route.flowing.wait()
                data = pair.server.recv(65536)
                # What came while it was being held is lost with the link, as on a real one.
                if not data or (not route.flowing.is_set() and not route.flowing.wait(60)):
                    break
                if pair.lose_answer:
                    self.counts["answer"] += 1
                    break
                if route.movements and self.delay_seconds:
                    self.counts["delayed"] += 1
                    time.sleep(self.delay_seconds)
                pair.client.sendall(data)
        except OSError:
            pass
        pair.end()

    def close(self):
        """Ends everything."""
        self._closing = True
        for name, route in self.routes.items():
            with contextlib.suppress(OSError):
                route.listener.shutdown(socket.SHUT_RDWR)
            route.listener.close()
            route.flowing.set()
            self.drop(name)


def server_socket(folder):
    """The socket PostgreSQL makes in folder, on its usual port."""
    return os.path.join(folder, ".s.PGSQL.5432")
