"""A handler whose n-th allocation fails: tests/fault/failing_malloc.c, from the outside.

    with Torture(released, "tokens", POSTGRES_URL=url) as handler:
        outcome = handler.attempt(7, lambda: handler.request("GET", "/api/tokens", device=device))
        if outcome.died: handler.start()

Places are (library, function): the innermost library that is not the C library, and the innermost
of its functions on the stack that has a name to the outside.
"""

import functools
import mmap
import os
import re
import struct
import subprocess
import tempfile

from tests.support.fastcgi import Closed, Handler
from tests.support.process import REPOSITORY

SHIM = os.path.join(REPOSITORY, "build", "release", "tests", "fault", "failing_malloc.so")
CONTROL = struct.Struct("ii4000s4000s")  # struct control of failing_malloc.c
NEVER = 0
# What stands between a library and its allocation, or its death.
BELOW = re.compile(r"failing_malloc\.so|libc\.so|ld-linux")
EXIT_SECONDS = 10


@functools.cache
def _source(binary, offset):
    """The function there, which only the debugger knows, and its line."""
    return subprocess.run(["addr2line", "-pfsie", binary, offset], capture_output=True, text=True,
                          check=False).stdout.strip()


class Frame:
    """A line of the shim: MODULE+OFFSET FUNCTION."""

    def __init__(self, line):
        where, self.function = line.split(" ")
        self.module, self.offset = where.split("+")
        self.library = self.module.split(".so")[0]


class Place:
    """Where an allocation failed, or a process died; empty when nothing did."""

    def __init__(self, raw, binary):
        self.frames = [Frame(line) for line in raw.split(b"\0")[0].decode().splitlines()]
        self.binary = binary

    def __bool__(self):
        return bool(self.frames)

    def _own(self):
        return [frame for frame in self.frames if not BELOW.match(frame.module)]

    @property
    def library(self):
        """The innermost library, or the handler's own name."""
        own = self._own()
        return own[0].library if own else "libc"

    @property
    def key(self):
        """(library, function)."""
        for frame in self._own():
            if frame.library != self.library:
                break
            if frame.function != "?":
                return self.library, frame.function
        return self.library, "?"

    def __repr__(self):
        """The stack; the handler's own frames by the names that only the debugger knows."""
        lines = []
        for frame in self.frames:
            name = frame.function
            if frame.module == os.path.basename(self.binary):
                name = _source(self.binary, frame.offset)
            lines.append(f"  {frame.module} {name}")
        return "\n".join(lines)


class Outcome:
    """What became of an attempt: its answer, None when there was none; the place of the allocation
    that failed; the signal the process died by, and where; its exit status, None while it runs."""

    def __init__(self, answer, control, status, binary):
        _, self.signal, failed, died = CONTROL.unpack(control)
        self.answer, self.status = answer, status
        self.failed, self.died_in = Place(failed, binary), Place(died, binary)

    @property
    def died(self):
        """Whether the process is gone."""
        return self.status is not None

    def __repr__(self):
        return (f"answer {self.answer}, exit status {self.status}, failed:\n{self.failed}\n"
                f"died by signal {self.signal}:\n{self.died_in}")


class Torture(Handler):
    """A handler of one thread with the shim in it."""

    def __init__(self, binaries, name, **environment):
        # The handler opens it by name, again after each start, before it confines itself.
        number, self.control_path = tempfile.mkstemp(prefix="dl-torture-", dir="/dev/shm")
        with os.fdopen(number, "r+b") as file:
            file.truncate(CONTROL.size)
            self.control = mmap.mmap(file.fileno(), CONTROL.size)
        super().__init__(binaries, name, THREADS="1", LD_PRELOAD=SHIM,
                         FAIL_MALLOC=self.control_path, **environment)

    def fail_nth(self, number):
        """The number-th allocation from now on fails, counted from 1; NEVER ends that."""
        self.control[:] = CONTROL.pack(number, 0, b"", b"")

    def attempt(self, number, job):
        """Runs job, which returns an Answer, with that allocation failing."""
        self.fail_nth(number)
        try:
            answer = job()
        except (Closed, ConnectionError):
            answer = None
            self._wait_for_exit()
        status = self.process.poll()
        outcome = Outcome(answer, bytes(self.control), status, self.binary)
        self.fail_nth(NEVER)
        return outcome

    def _wait_for_exit(self):
        """After a connection that was closed: the shim has noted by then that the process dies."""
        if CONTROL.unpack(bytes(self.control))[1]:
            self.process.wait(EXIT_SECONDS)

    def attempt_start(self, number):
        """Starts the process, which must not run, with that allocation failing. The Outcome has no
        answer; its exit status is None when the handler got ready."""
        self.fail_nth(number)
        try:
            self.start()
        except AssertionError:
            if self.process.poll() is None:
                raise  # neither ready nor gone
        outcome = Outcome(None, bytes(self.control), self.process.poll(), self.binary)
        self.fail_nth(NEVER)
        return outcome

    def kill(self):
        """Ends the process at once."""
        self.process.kill()
        self.process.wait()

    def close(self):
        """Ends the process and removes what it had, whatever became of it."""
        self.kill()
        self._remove()
        self.control.close()
        os.unlink(self.control_path)
