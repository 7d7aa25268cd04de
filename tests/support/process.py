"""Processes the tests start: as which user, and how they end."""

import os
import pwd
import subprocess
import time

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HANDLERS = sorted(name[:-2] for name in os.listdir(f"{REPOSITORY}/handlers")
                  if name.endswith(".c"))

# What PostgreSQL and PgBouncer run as when the tests run as root, which both refuse.
SYSTEM_USERS = ("postgres", "nobody")


def wait_until(condition, seconds=10.0, what="the condition"):
    """Polls until condition() is true and returns its value; fails after that many seconds."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise AssertionError(f"{what}: not true after {seconds} s")
        time.sleep(0.01)


def as_user(name):
    """Keyword arguments for subprocess that make root's child that user's, and nobody else's."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(name)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def unprivileged():
    """The same for an unprivileged user."""
    for name in SYSTEM_USERS:
        try:
            return as_user(name)
        except KeyError:
            continue
    raise AssertionError(f"expected one of the system users {SYSTEM_USERS}")


def give_away(path):
    """Makes the unprivileged user the owner of path."""
    who = unprivileged()
    if who:
        os.chown(path, who["user"], who["group"])


def alive(pid):
    """Whether the process exists and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def pid_in(path):
    """The process id that is the first line of a file."""
    with open(path, encoding="ascii") as file:
        return int(file.readline())


def children(pid):
    """Process ids of the direct children."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(child) for child in file.read().split()]
    except FileNotFoundError:
        return []


def resident_kib(pid, field="VmRSS"):
    """Resident memory now, or at its highest with field VmHWM."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith(field + ":"):
                return int(line.split()[1])
    raise AssertionError(f"process {pid} has no {field}")


def end(process, seconds=10.0):
    """Ends a child: SIGTERM, then SIGKILL. Returns its exit status."""
    if process.poll() is None:
        process.terminate()
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait(seconds)
