"""Who used how much processor time: what stays comparable on a machine that others use as well."""

import os
import resource

from tests.support.process import children, pid_in

TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
PARTS = ("load", "nginx", "program", "postgres")


def busy_share(seconds, wait):
    """The share of all processors that is in use, over some seconds, which wait(seconds) spends."""
    def ticks():
        with open("/proc/stat", encoding="ascii") as file:
            numbers = [int(word) for word in file.readline().split()[1:9]]
        return sum(numbers), numbers[3] + numbers[4]  # idle, and idle waiting for a disk
    total, idle = ticks()
    wait(seconds)
    total_after, idle_after = ticks()
    return round(1 - (idle_after - idle) / max(total_after - total, 1), 2)


def _tree(pid):
    """A process and all that descend from it."""
    return [pid] + [below for child in children(pid) for below in _tree(child)]


def _used(pids):
    """Seconds of these processes, and of children of theirs that ended and were waited for."""
    ticks = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                ticks += sum(map(int, file.read().rpartition(")")[2].split()[11:15]))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended; whoever waits for it has its time
    return ticks * TICK_SECONDS


class Processor:
    """Measures from here on."""

    def __init__(self, instance):
        self.instance = instance
        self.before = self._now()

    def _now(self):
        stack = self.instance.stack
        ours = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {
            "load": ours.ru_utime + ours.ru_stime,  # wrk and pgbench have ended by then
            "nginx": _used(_tree(pid_in(f"{stack.run_dir}/run/nginx.pid"))),
            "program": _used([pid for top in (*stack.pids().values(), *self.instance.peers)
                              for pid in _tree(top)]),
            "postgres": _used(_tree(self.instance.postmaster())),
        }

    def microseconds(self, operations):
        """{part: microseconds an operation} since the beginning."""
        now = self._now()
        return {part: round((now[part] - self.before[part]) * 1e6 / operations, 2)
                for part in PARTS}
