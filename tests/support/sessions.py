"""Statements of the project run as the handlers run them, by one session, by many, or step by step.

    Session(cluster, url): a connection with a thread of its own
        run(text, *values)     the rows
        start(text, *values)   a future of the rows; blocked() is true while it waits for a lock
        begin(), commit(), rollback()
    at_once(cluster, url, text, calls): the statement with each of calls, all at once
    query_text(name): sql/queries/NAME.sql with its parameters as psycopg2 wants them
"""

import concurrent.futures
import contextlib
import os
import re
import uuid

import psycopg2

from tests.support.process import REPOSITORY, wait_until


DEVICE = "device_of_the_test"


def new_id():
    """An operation id."""
    return str(uuid.uuid4())


def open_account(run, clerk_id=None, device_id=None):
    """Inserts an account with its identity; returns its id."""
    user = new_id()
    run("INSERT INTO users (id, clerk_id, device_id) VALUES (%s, %s, %s)", user, clerk_id,
        device_id)
    for identity in filter(None, (clerk_id and "clerk:" + clerk_id,
                                  device_id and "device:" + device_id)):
        run("INSERT INTO user_identities VALUES (%s, %s)", identity, user)
    return user


# user_erase of one user, as the service calls it; the digests only have to tell identities apart.
ERASE = """SELECT e.outcome FROM (VALUES (%s::uuid)) u (id), user_erase(u.id,
    ARRAY(SELECT i.identity FROM user_identities i WHERE i.user_id = u.id ORDER BY i.identity),
    ARRAY(SELECT md5(i.identity) FROM user_identities i WHERE i.user_id = u.id
          ORDER BY i.identity)) e"""


def query_text(name):
    """The statement of a query file. $1 becomes %(p1)s: pass values through numbered()."""
    with open(os.path.join(REPOSITORY, "sql", "queries", name + ".sql"), encoding="utf-8") as file:
        lines = [line for line in file if not line.startswith("--")]
    return re.sub(r"\$(\d+)", r"%(p\1)s", "".join(lines).replace("%", "%%"))


def numbered(*values):
    """Parameters of query_text()."""
    return {f"p{number}": value for number, value in enumerate(values, 1)}


class Session:
    """A connection, in autocommit unless begin() was called, and a thread for what may wait."""

    def __init__(self, cluster, url):
        self.cluster, self.url = cluster, url
        self.connection = psycopg2.connect(url)
        self.connection.autocommit = True
        self.cursor = self.connection.cursor()
        self.pid = self.connection.get_backend_pid()
        self.thread = concurrent.futures.ThreadPoolExecutor(1)
        self.begin = lambda: self.run("BEGIN")
        self.commit = lambda: self.run("COMMIT")
        self.rollback = lambda: self.run("ROLLBACK")

    def run(self, text, *values):
        """Runs a statement and returns its rows, or None when it has none. The values, or one dict
        of them."""
        if len(values) == 1 and isinstance(values[0], dict):
            values = values[0]
        self.cursor.execute(text, values)
        return self.cursor.fetchall() if self.cursor.description else None

    def start(self, text, *values):
        """Runs it in the session's thread; a future."""
        return self.thread.submit(self.run, text, *values)

    def blocked(self):
        """Whether the session waits for a lock."""
        return self.cluster.value(self.url, "SELECT cardinality(pg_blocking_pids(%s)) > 0",
                                  (self.pid,))

    def start_blocked(self, text, *values):
        """start(), and returns when it does wait for a lock."""
        future = self.start(text, *values)
        wait_until(lambda: self.blocked() or future.done(), 10, "it waits for a lock")
        assert not future.done(), f"it does not wait: {future.result()}"
        return future

    def close(self):
        """Closes the connection; what waits is cancelled."""
        self.connection.cancel()
        self.thread.shutdown()
        self.connection.close()


@contextlib.contextmanager
def sessions(cluster, url):
    """Yields a function that opens sessions, which are closed at the end."""
    with contextlib.ExitStack() as stack:
        def open_session():
            made = Session(cluster, url)
            stack.callback(made.close)
            return made
        yield open_session


def at_once(cluster, url, text, calls, connections=None):
    """Runs the statement with each of calls, all at once on a connection each, or on that many.
    Returns rows, or an SQLSTATE where it failed."""
    count = connections or len(calls)
    with contextlib.ExitStack() as stack:
        cursors = [stack.enter_context(cluster.connect(url)).cursor() for _ in range(count)]

        def execute(cursor, mine):
            answers = []
            for values in mine:
                try:
                    cursor.execute(text, values)
                    answers.append(cursor.fetchall())
                except psycopg2.Error as error:
                    answers.append(error.pgcode)
            return answers
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            found = pool.map(execute, cursors, [calls[n::count] for n in range(count)])
            return [answer for answers in found for answer in answers]
