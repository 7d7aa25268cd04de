"""The faults. Each returns what shows that it happened, or None when it could not be brought about
this time; then it does not count.
"""

import contextlib
import os
import random
import time

import psycopg2

from tests.support.process import children, pid_in, wait_until

LONGEST_SECONDS = 60  # no fault may need longer to be over


class Faults:
    """What can go wrong between a client and the disk. drill: servers, proxy, pooler, stack."""

    KILLED = ("ledger", "ledger", "ledger", "tokens", "user")
    RESTARTED = ("ledger", "tokens", "user", "all")

    def __init__(self, drill):
        self.drill = drill
        self.servers, self.proxy, self.stack = drill.servers, drill.proxy, drill.stack
        self.random = random.Random(drill.seed)

    # --- faults of one process or one connection; several may be under way ---

    def kill_handler(self):
        """kill -9 of a handler."""
        before = self.stack.pids()
        name = self.random.choice([handler for handler in self.KILLED if before.get(handler)])
        os.kill(before[name], 9)
        wait_until(lambda: self.stack.pids().get(name, 0) not in (0, before[name])
                   and self.stack.status()[name].get("state") == "ready", 20,
                   f"the supervisor starts {name} again")
        return f"{name} {before[name]} -> {self.stack.pids()[name]}"

    def end_backends(self):
        """pg_terminate_backend of those that are at work, at best in the middle of a commit."""
        end = time.monotonic() + 3
        while time.monotonic() < end:
            rows = self.servers.primary.query(
                "SELECT pid, coalesce(wait_event, ''), pg_terminate_backend(pid)"
                " FROM pg_stat_activity WHERE datname = %s AND usename = 'dreamlens'"
                " AND state = 'active' AND wait_event IN ('SyncRep', 'WALSync', 'WALWrite')"
                " LIMIT 3", (self.drill.database,))
            if rows:
                return ", ".join(f"{pid} in {event}" for pid, event, _ in rows)
            time.sleep(0.002)
        return None

    def _cut(self, how):
        before = self.proxy.counts[how]
        times = self.random.randint(2, 8)
        self.proxy.cut(how, times)
        with contextlib.suppress(AssertionError):
            wait_until(lambda: self.proxy.counts[how] >= before + times, 4, "they are cut")
        self.proxy.cut(how, 0)
        cut = self.proxy.counts[how] - before
        return f"{cut} {how}s" if cut else None

    def cut_answers(self):
        """The movement was carried out, its answer does not arrive."""
        return self._cut(self.random.choice(("answer", "answer", "midway")))

    def cut_requests(self):
        """The connection ends before the movement reaches the server."""
        return self._cut("request")

    def delay(self):
        """Each piece of an answer takes longer."""
        before = self.proxy.counts["delayed"]
        self.proxy.delay_seconds = self.random.uniform(0.02, 0.4)
        time.sleep(self.random.uniform(1, 3))
        self.proxy.delay_seconds = 0
        delayed = self.proxy.counts["delayed"] - before
        return f"{delayed} pieces" if delayed else None

    def restart_pooler(self):
        """PgBouncer ends, with or without notice, and another one starts."""
        if not self.drill.pooled:
            return None
        before, after = self.drill.pooler.restart(self.random.random() < 0.5)
        return f"{before} -> {after}"

    def restart_handler(self):
        """scripts/restart of one handler or all."""
        name = self.random.choice(self.RESTARTED)
        before = self.stack.pids()
        with self.drill.scripts:
            done = self.stack.run("restart", name)
        changed = [handler for handler, pid in self.stack.pids().items() if pid != before[handler]]
        return f"{name}: {len(changed)} replaced" if done.returncode == 0 and changed else None

    def reload_nginx(self):
        """nginx takes up its configuration and replaces its workers."""
        master = pid_in(f"{self.stack.run_dir}/run/nginx.pid")
        before = set(children(master))
        os.kill(master, 1)
        wait_until(lambda: set(children(master)) - before, 20, "nginx has new workers")
        return f"workers {sorted(before)} -> {sorted(set(children(master)) - before)}"

    # --- faults of a server; one at a time ---

    def restart_server(self):
        """Immediate stop and start of PostgreSQL."""
        primary = self.servers.primary
        before, pid = primary.logged("immediate shutdown request"), primary.process.pid
        primary.stop("immediate")
        time.sleep(self.random.choice((0, 0.5, 2)))
        primary.start()
        shown = primary.logged("immediate shutdown request") - before
        return f"{pid} -> {primary.process.pid}" if shown else None

    def kill_backend(self):
        """kill -9 of a back-end; PostgreSQL restarts itself."""
        primary = self.servers.primary
        mark = r"terminated by signal 9"
        before = primary.logged(mark)
        rows = primary.query("SELECT pid FROM pg_stat_activity WHERE datname = %s"
                             " AND usename = 'dreamlens' ORDER BY state = 'active' DESC LIMIT 1",
                             (self.drill.database,))
        if not rows:
            return None
        os.kill(rows[0][0], 9)
        wait_until(lambda: primary.logged(mark) > before, 10, "PostgreSQL noticed")
        wait_until(primary.answers, LONGEST_SECONDS, "PostgreSQL is back")
        return f"back-end {rows[0][0]}, restarted by itself"

    def freeze_server(self):
        """SIGSTOP of the whole server for some seconds."""
        primary = self.servers.primary
        pids = primary.freeze()
        try:
            time.sleep(self.random.uniform(1, 6.5))
            with open(f"/proc/{pids[0]}/stat", encoding="ascii") as file:
                stopped = file.read().rpartition(")")[2].split()[0] == "T"
        finally:
            primary.thaw(pids)
        return f"{len(pids)} processes" if stopped else None

    def fill_disk(self):
        """No room on the primary's disk."""
        primary = self.servers.primary
        mark = "No space left on device"
        before = primary.logged(mark)
        primary.disk.fill()
        try:
            # A table wants another page soon. Another segment of the log is wanted later, and then
            # the server ends; that is sometimes made sooner.
            soon = self.random.random() < 0.4
            end = time.monotonic() + 8
            while primary.logged(mark) == before and time.monotonic() < end:
                if soon or time.monotonic() > end - 4:
                    with contextlib.suppress(psycopg2.Error):
                        primary.query("SELECT pg_switch_wal()")
                time.sleep(0.3)
            time.sleep(self.random.uniform(0.5, 2))
        finally:
            primary.disk.free()
        # A server that could not write its log ends; whoever made room starts it again.
        ended = self.servers.keep_alive()
        wait_until(primary.answers, LONGEST_SECONDS, "PostgreSQL is back")
        shown = primary.logged(mark) - before
        return f"{shown} messages{', it ended' if ended else ''}" if shown else None

    def fail_over(self):
        """The primary ends, the standby is promoted."""
        if not self.servers.whole.wait(20):
            return None
        before, after = self.servers.fail_over(self.random.choice(("immediate", "fast")))
        return f"timeline {before} -> {after}" if after > before else None

    def stall_standby(self):
        """The standby confirms nothing: commits that are there already wait for it, and are
        cancelled or their back-ends ended. Then it goes on, or the primary is lost with all that
        the standby never saw."""
        if not self.servers.whole.wait(20):
            return None
        primary, waited, ended = self.servers.primary, 0, 0
        self.proxy.hold("replication")
        try:
            end = time.monotonic() + self.random.uniform(2, 4)
            while time.monotonic() < end:
                rows = primary.query(
                    "SELECT pid, CASE WHEN random() < 0.5 THEN pg_cancel_backend(pid)"
                    " ELSE pg_terminate_backend(pid) END FROM pg_stat_activity"
                    " WHERE usename = 'dreamlens' AND wait_event = 'SyncRep'"
                    " AND random() < 0.7")
                waited += len(rows)
                ended += 1 if rows else 0
                time.sleep(0.25)
            if self.random.random() < 0.6:
                before, after = self.servers.fail_over("immediate")
                if waited and after > before:
                    return f"{waited} commits cut short, timeline {before} -> {after}"
                return None
        finally:
            self.proxy.release("replication")
        return f"{waited} commits cut short in {ended} rounds" if waited else None


LIGHT = {
    "kill -9 of a handler": Faults.kill_handler,
    "back-end ended in mid-commit": Faults.end_backends,
    "answer cut off": Faults.cut_answers,
    "request cut off": Faults.cut_requests,
    "answers delayed": Faults.delay,
    "PgBouncer restarted": Faults.restart_pooler,
    "handler restarted": Faults.restart_handler,
    "nginx reloaded": Faults.reload_nginx,
}
HEAVY = {
    "PostgreSQL stopped at once": Faults.restart_server,
    "back-end killed (-9)": Faults.kill_backend,
    "PostgreSQL frozen": Faults.freeze_server,
    "disk full": Faults.fill_disk,
    "fail-over": Faults.fail_over,
    "standby stalled": Faults.stall_standby,
}
