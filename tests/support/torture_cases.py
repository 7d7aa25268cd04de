"""The requests of tests/fault/test_torture.py: CASES of each handler.

What takes a scene (test_torture.Scene) makes what the request is about: an account of its own is
there already.
"""

import dataclasses

from tests.support.movements import post
from tests.support.stack import SECRET
from tests.support.torture_payments import (
    BACK, check_payment, have_orders, have_paid, have_subscribed)

IMAGE = "https://images.example/torture.png"
TEXT = 'a "text" ' + 7 * "that json-c puts together from pieces \\ in a buffer that grows "


@dataclasses.dataclass
class Case:
    """A request of a kind. path and body: {NAME} stands for what prepare told. again: what the same
    request may be answered once it is done, beside what it always is."""

    method: str
    path: str
    status: int = 200
    body: dict = None
    who: str = "device"  # device, new device, clerk, service, provider, host, or nobody
    prepare: object = None
    again: tuple = ()
    route: str = None    # as the handler has it, where path is not that
    check: object = None  # called with the scene and each answer with status

    @property
    def name(self):
        """For messages."""
        return f"{self.method} {self.path}"


def _hold(scene):
    answer = scene.ask("POST", "/api/ledger/holds",
                       {"userId": scene.user, "amount": 2, "ttlSeconds": 600})
    scene.names["hold"] = answer.data["holdId"]


def _grant(scene):
    answer = scene.ask("POST", "/api/ledger/grant",
                       {"userId": scene.user, "amount": 2, "type": "purchase"})
    scene.names["entry"] = answer.data["transactionId"]


def _generation(scene):
    answer = scene.ask("POST", "/api/generations", {"imageUrl": IMAGE})
    scene.names["generation"] = answer.data["generation"]["id"]


def _history(scene):
    for _ in range(20):  # more than an answer's first buffers hold
        post(scene.run, scene.user, 1, description=TEXT)


def _forget_newest_migration(scene):
    scene.run("DELETE FROM schema_migrations"
              " WHERE version = (SELECT max(version) FROM schema_migrations)")


def _movement(kind, **more):
    return {"operationId": kind, "kind": kind, "userId": "{user}", "amount": 1, **more}


CASES = {
    "tokens": [
        Case("GET", "/api/tokens"),
        Case("GET", "/api/tokens", who="new device"),
        Case("GET", "/api/tokens", who="clerk"),
        Case("POST", "/api/tokens"),
        Case("GET", "/api/tokens/transactions"),
    ],
    "user": [
        Case("GET", "/api/user"),
        Case("DELETE", "/api/user", 204),
        Case("POST", "/api/user/link", who="clerk"),
        Case("GET", "/api/user/stats"),
        Case("GET", "/api/stats"),
        Case("GET", "/api/user/export", prepare=_history),
    ],
    "generations": [
        Case("GET", "/api/generations"),
        Case("POST", "/api/generations", 201, {"imageUrl": IMAGE, "trend": "a", "quality": "1K"}),
        Case("DELETE", "/api/generations/{generation}", 204, prepare=_generation, again=(404,),
             route="/api/generations/{id}"),
    ],
    "usage": [
        Case("GET", "/api/usage"),
        Case("POST", "/api/usage", 201, {"action": "download"}),
    ],
    "ledger": [
        Case("POST", "/api/ledger/spend", 201, {"userId": "{user}", "amount": 1}, "service"),
        Case("POST", "/api/ledger/grant", 201,
             {"userId": "{user}", "amount": 1, "type": "refund", "description": TEXT,
              **{f"unknown{n}": n for n in range(14)}}, "service"),  # json-c's table has to grow
        Case("POST", "/api/ledger/holds", 201,
             {"userId": "{user}", "amount": 1, "ttlSeconds": 600}, "service"),
        Case("POST", "/api/ledger/holds/{hold}/capture", 200, {"amount": 1}, "service", _hold,
             route="/api/ledger/holds/{id}/capture"),
        Case("POST", "/api/ledger/holds/{hold}/release", 200, None, "service", _hold,
             route="/api/ledger/holds/{id}/release"),
        Case("POST", "/api/ledger/transactions/{entry}/reverse", 201, None, "service", _grant,
             route="/api/ledger/transactions/{id}/reverse"),
        Case("POST", "/api/ledger/batch", 200,
             {"operations": [_movement("spend"), _movement("grant", type="bonus")]}, "service"),
        Case("GET", "/api/ledger/users/{user}", who="service", route="/api/ledger/users/{id}"),
        Case("GET", "/api/ledger/holds/{hold}", who="service", prepare=_hold,
             route="/api/ledger/holds/{id}"),
        Case("GET", "/api/ledger/users/{user}/holds?status=pending", who="service", prepare=_hold,
             route="/api/ledger/users/{id}/holds"),
        Case("GET", "/api/ledger/verify", who="service"),
    ],
    "payments": [
        Case("GET", "/api/payments"),
        Case("POST", "/api/payments/create", 200, {"package": "small", "returnUrl": BACK},
             check=check_payment),
        Case("GET", "/api/payments/{payment}", prepare=have_orders, route="/api/payments/{id}"),
        Case("POST", "/api/payments/{payment}/refund", 201, {"amount": "99.00"}, "service",
             prepare=have_orders, route="/api/payments/{id}/refund"),
    ],
    "packages": [Case("GET", "/api/packages", who="nobody")],
    "plans": [Case("GET", "/api/plans", who="nobody")],
    "payments-webhook": [
        Case("POST", "/api/payments/webhook", 200,
             {"type": "notification", "event": "payment.succeeded", "object": {"id": "{theirs}"}},
             "provider", have_paid),
    ],
    "subscriptions": [
        Case("GET", "/api/subscriptions", prepare=have_subscribed),
        Case("POST", "/api/subscriptions", 200, {"plan": "pro", "returnUrl": BACK},
             check=check_payment),
        Case("DELETE", "/api/subscriptions", prepare=have_subscribed),
        Case("DELETE", "/api/subscriptions/{subscription}", who="service",
             prepare=have_subscribed, route="/api/subscriptions/{id}"),
    ],
    "init-db": [
        Case("GET", f"/api/init-db?secret={SECRET}", who="nobody"),
        Case("POST", f"/api/init-db?secret={SECRET}", who="nobody",
             prepare=_forget_newest_migration),
    ],
    "health": [
        Case("GET", "/api/health?metrics=true", who="nobody"),
        Case("GET", "/api/health/live", who="nobody"),
    ],
    "metrics": [Case("GET", "/metrics", who="host")],
}
