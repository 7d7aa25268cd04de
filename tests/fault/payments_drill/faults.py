"""What goes wrong below and beside the payments, next to what the provider does by itself. Most of
it is the fault drill's; a fault that returns nothing could not be shown and does not count."""

import os
import time

from tests.fault.drill import faults
from tests.support.process import wait_until

HANDLERS = ("payments", "payments-webhook")
RECONCILER = "payments-reconciler"


class Faults(faults.Faults):
    """drill: servers, proxy, stack, provider, reconciler."""

    KILLED = HANDLERS
    RESTARTED = (*HANDLERS, RECONCILER, "all")

    def kill_reconciler(self):
        """kill -9 of one of the two reconcilers, whatever it is about."""
        if self.random.random() < 0.5:
            before, after = self.drill.reconciler.kill()
            return f"the second, {before} -> {after}"
        before = self.stack.pids()[RECONCILER]
        os.kill(before, 9)
        wait_until(lambda: self.stack.pids().get(RECONCILER, 0) not in (0, before), 20,
                   "the supervisor starts the reconciler again")
        return f"the first, {before} -> {self.stack.pids()[RECONCILER]}"

    def restart_provider(self):
        """The provider drops every connection and is away for a moment."""
        before = self.drill.provider.control("state")["restarts"]
        seconds = self.random.uniform(0.1, 2)
        self.drill.provider.control("restart", seconds=seconds)
        wait_until(lambda: self.drill.state().get("restarts", 0) > before, 20, "it is back")
        return f"for {seconds:.1f} s"

    def lose_notifications(self):
        """For some seconds no notification is sent at all."""
        seconds = self.random.uniform(3, 8)
        self.drill.provider.control("webhook", webhook=None)
        time.sleep(seconds)
        self.drill.send_notifications()
        return f"for {seconds:.1f} s"


LIGHT = {
    "kill -9 of a handler": Faults.kill_handler,
    "kill -9 of a reconciler": Faults.kill_reconciler,
    "back-end ended in mid-commit": Faults.end_backends,
    "answer cut off": Faults.cut_answers,
    "request cut off": Faults.cut_requests,
    "answers delayed": Faults.delay,
    "handler restarted": Faults.restart_handler,
    "nginx reloaded": Faults.reload_nginx,
    "provider restarted": Faults.restart_provider,
    "no notifications": Faults.lose_notifications,
}
HEAVY = {
    "PostgreSQL stopped at once": Faults.restart_server,
    "back-end killed (-9)": Faults.kill_backend,
    "PostgreSQL frozen": Faults.freeze_server,
}
# Of the provider, by chance, on every call, payment or notification.
CHANCES = {
    "timeout_before": 0.01, "timeout_after": 0.01, "error_500_before": 0.015,
    "error_500_after": 0.015, "too_many_requests": 0.01, "cut_before": 0.01, "cut_after": 0.01,
    "other_amount": 0.004, "other_currency": 0.004, "test_flag": 0.004, "early": 0.03,
    "unknown_fields": 0.2, "duplicate": 0.1, "reordered": 0.1, "lost": 0.05, "forged": 0.1,
}
