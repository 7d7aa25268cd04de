"""A back-end service of the ledger, as the tests of its handler have it."""

import concurrent.futures

from tests.support import openapi

INT_MAX = 2**31 - 1
NOBODY = "01a20576-0483-7000-8763-0123456789ab"
ALL_SCOPES = "spend,grant,hold,reverse,read,verify"
BAD_AMOUNTS = [0, -1, 1.5, 1.0, 2**31, 2**63, 1e300, "5", True, None, [1], {}]


class Service:
    """A back-end service with a key of its own; every answer is checked against openapi.yaml."""

    def __init__(self, stack, name, scopes=ALL_SCOPES):
        self.stack, self.name = stack, name
        done = stack.run("service-key", "create", name, scopes)
        assert done.returncode == 0, done.stderr
        self.key = done.stdout.splitlines()[-1]
        self.client = stack.client(anonymous=True)

    def request(self, method, path, body=None, key=None, client=None, **headers):
        """One request; key: its Idempotency-Key; client: another connection."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"Authorization": f"Service {self.key}", "Idempotency-Key": key, **headers}
        answer = (client or self.client).request(method, path, body=body, headers=sent)
        openapi.check_response(method, path, answer.status, answer.headers, answer.body)
        return answer

    def post(self, path, body=None, **options):
        """POST below /api/ledger/."""
        return self.request("POST", "/api/ledger/" + path, body, **options)

    def get(self, path):
        """GET below /api/ledger/."""
        return self.request("GET", "/api/ledger/" + path)

    def spend(self, user, amount, **options):
        """Spends and returns the Answer."""
        return self.post("spend", {"userId": user, "amount": amount}, **options)

    def grant(self, user, amount, **options):
        """Grants and returns the Answer."""
        return self.post("grant", {"userId": user, "amount": amount, "type": "purchase"},
                         **options)

    def hold(self, user, amount, ttl=600, **options):
        """Sets aside and returns the Answer."""
        return self.post("holds", {"userId": user, "amount": amount, "ttlSeconds": ttl},
                         **options)

    def at_once(self, calls):
        """calls(client) from as many threads, each on a connection of its own; the Answers."""
        clients = [self.stack.client(anonymous=True) for _ in calls]
        with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
            answers = list(pool.map(lambda pair: pair[0](pair[1]), zip(calls, clients)))
        for client in clients:
            client.close()
        return answers


def new_account(stack):
    """The id of one more account, with 5 tokens."""
    client = stack.client()
    user = client.get("/api/user").data["user"]["id"]
    client.close()
    return user


def agree(service):
    """The books agree."""
    assert service.get("verify").data["mismatches"] == []


def item(number, user, amount=1, kind="spend", **more):
    """One operation of a batch."""
    return {"operationId": f"op-{number}", "kind": kind, "userId": user, "amount": amount,
            **({"type": "purchase"} if kind == "grant" else {}), **more}
