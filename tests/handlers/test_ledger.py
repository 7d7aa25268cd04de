"""/api/ledger through nginx: movements, holds, reversals, batches, reading, keys and scopes."""

import base64
import concurrent.futures
import datetime
import json
import subprocess
import time

import pytest

from tests.support import openapi
from tests.support.process import wait_until
from tests.support.stack import Stack

NOBODY = "01a20576-0483-7000-8763-0123456789ab"
INT_MAX = 2**31 - 1
ALL_SCOPES = "spend,grant,hold,reverse,read,verify"


# --- who calls ---

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


class Issuer:
    """Signs session tokens as Clerk does (RS256), with a key that openssl makes."""

    def __init__(self, folder):
        self.private = str(folder / "issuer.pem")
        subprocess.run(["openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt",
                        "rsa_keygen_bits:2048", "-out", self.private], check=True,
                       stdin=subprocess.DEVNULL, capture_output=True)
        self.public = subprocess.run(["openssl", "pkey", "-in", self.private, "-pubout"],
                                     check=True, capture_output=True, text=True).stdout

    def token(self, subject):
        """A token of a minute."""
        now = int(time.time())
        parts = [{"alg": "RS256", "typ": "JWT"},
                 {"sub": subject, "iat": now, "nbf": now, "exp": now + 60}]
        text = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
                         for part in parts)
        signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.private],
                                   input=text, check=True, capture_output=True).stdout
        return (text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    """Who signs the Clerk tokens of this module."""
    return Issuer(tmp_path_factory.mktemp("issuer"))


@pytest.fixture(scope="module")
def stack(cluster, template, binaries, issuer):
    """An instance that knows the issuer."""
    url = cluster.create_database(template)
    with Stack(url, binaries, {"CLERK_JWT_KEY": issuer.public}) as made:
        made.database_url = url
        yield made
    cluster.drop(url)


@pytest.fixture(scope="module")
def service(stack):
    """A service with every scope."""
    return Service(stack, "all-scopes")


@pytest.fixture
def user(client):
    """The id of a new anonymous account, which has 5 tokens; client is its person."""
    return client.get("/api/user").data["user"]["id"]


def sign_in(stack, issuer, name):
    """(client, user id) of a Clerk account."""
    client = stack.client(anonymous=True)
    headers = {"Authorization": f"Bearer {issuer.token(name)}"}
    send = client.request
    client.request = lambda method, path, **options: send(
        method, path, **{**options, "headers": {**headers, **(options.get("headers") or {})}})
    return client, client.get("/api/user").data["user"]["id"]


def link(account, device):
    """Moves a device's account into a Clerk account."""
    answer = account.post("/api/user/link", headers={"X-Device-Id": device.device})
    openapi.check_response("POST", "/api/user/link", answer.status, answer.headers, answer.body)
    assert answer.data == {"linked": True}


def agree(service):
    """The books agree."""
    assert service.get("verify").data["mismatches"] == []


# --- movements ---

@pytest.mark.quick
def test_spend_and_grant(service, user, client):
    spent = service.post("spend", {"userId": user, "amount": 3, "description": "портрет"})
    assert spent.status == 201 and spent.data["balance"] == 2
    assert client.get("/api/tokens").data["balance"] == 2, "the cached balance is gone at once"
    granted = service.post("grant", {"userId": user, "amount": 50, "type": "refund"})
    assert granted.status == 201 and granted.data["balance"] == 52
    assert client.get("/api/tokens").data["balance"] == 52
    entries = client.get("/api/tokens/transactions").data["transactions"]
    assert [(e["amount"], e["type"], e["description"], e["balanceAfter"]) for e in entries[:2]] == [
        (50, "refund", None, 52), (-3, "generation", "портрет", 2)]
    assert [e["id"] for e in entries[:2]] == [
        granted.data["transactionId"], spent.data["transactionId"]]


@pytest.mark.parametrize("kind", ["purchase", "bonus", "refund"])
def test_types_of_grants(service, user, kind):
    assert service.post("grant", {"userId": user, "amount": 1, "type": kind}).status == 201
    assert service.get(f"users/{user}").data["entries"][0]["type"] == kind


def test_not_enough(service, user, client):
    answer = service.spend(user, 6)
    assert (answer.status, answer.code) == (402, "insufficient_tokens")
    assert answer.json["data"] == {"balance": 5}
    assert client.get("/api/tokens").data["balance"] == 5
    answer = service.hold(user, INT_MAX)
    assert (answer.status, answer.code, answer.json["data"]) == (
        402, "insufficient_tokens", {"balance": 5})


def test_limit_of_a_balance(service, user):
    answer = service.grant(user, INT_MAX - 4)
    assert (answer.status, answer.code) == (422, "balance_limit")
    assert service.grant(user, INT_MAX - 5).data["balance"] == INT_MAX
    assert service.grant(user, 1).code == "balance_limit"
    spent = service.spend(user, 10).data
    assert service.grant(user, 10).status == 201
    answer = service.post(f"transactions/{spent['transactionId']}/reverse")
    assert (answer.status, answer.code) == (422, "balance_limit")
    agree(service)


# --- what bad input gets ---

BAD_AMOUNTS = [0, -1, 1.5, 1.0, 2**31, 2**63, 1e300, "5", True, None, [1], {}]


@pytest.mark.parametrize("path, rest", [
    ("spend", {}), ("grant", {"type": "bonus"}), ("holds", {"ttlSeconds": 60})])
@pytest.mark.parametrize("amount", BAD_AMOUNTS, ids=repr)
def test_bad_amounts(service, user, path, rest, amount):
    answer = service.post(path, {"userId": user, "amount": amount, **rest})
    assert (answer.status, answer.code, answer.json["field"]) == (400, "invalid_field", "amount")


@pytest.mark.parametrize("path, change, field", [
    ("spend", {"userId": None}, "userId"), ("spend", {"userId": "me"}, "userId"),
    ("spend", {"userId": 7}, "userId"), ("spend", {"userId": NOBODY + "0"}, "userId"),
    ("spend", {"description": 7}, "description"), ("spend", {"description": "x" * 501},
                                                   "description"),
    ("grant", {"type": None}, "type"), ("grant", {"type": "generation"}, "type"),
    ("grant", {"type": "gift"}, "type"), ("grant", {"type": 1}, "type"),
    ("holds", {"ttlSeconds": None}, "ttlSeconds"), ("holds", {"ttlSeconds": 0}, "ttlSeconds"),
    ("holds", {"ttlSeconds": 86401}, "ttlSeconds"), ("holds", {"ttlSeconds": "60"}, "ttlSeconds"),
], ids=repr)
def test_bad_fields(service, user, path, change, field):
    body = {"userId": user, "amount": 1, "type": "bonus", "ttlSeconds": 60, **change}
    answer = service.post(path, body)
    assert (answer.status, answer.code, answer.json["field"]) == (400, "invalid_field", field)


@pytest.mark.parametrize("body", [
    b"{", b"[]", b"{} x", b'{"amount":1,"amount":1}', b'{"userId":"\xff"}', b'"x"'], ids=repr)
def test_bad_json(service, user, body):
    hold = service.hold(user, 1).data["holdId"]
    for path in ("spend", "grant", "holds", f"holds/{hold}/capture", "batch"):
        answer = service.post(path, body)
        assert (answer.status, answer.code) == (400, "malformed_json"), path


def test_text_is_text(service, user):
    text = "'; DROP TABLE users; -- \u2028 😀 \\"
    service.post("spend", {"userId": user, "amount": 1, "description": text})
    assert service.get(f"users/{user}").data["entries"][0]["description"] == text
    assert service.post("spend", {"userId": user, "amount": 1, "description": "x\0"}).status == 400


def test_unknown_user(service):
    for path, rest in (("spend", {}), ("grant", {"type": "bonus"}), ("holds", {"ttlSeconds": 9})):
        answer = service.post(path, {"userId": NOBODY, "amount": 1, **rest})
        assert (answer.status, answer.code) == (404, "user_not_found"), path
    for name in (NOBODY, "me", "%27--"):
        answer = service.get(f"users/{name}")
        assert (answer.status, answer.code) == (404, "user_not_found"), name


def test_an_erased_person_has_no_account(service, user, client):
    assert client.delete("/api/user").status == 204
    assert service.grant(user, 1).code == "user_not_found"
    assert service.get(f"users/{user}").code == "user_not_found"


@pytest.mark.parametrize("ident", [NOBODY, "x", "A" * 43, "A" * 300, "%00", "..%2f.."])
def test_unknown_hold_or_entry(service, ident):
    for path in (f"holds/{ident}/capture", f"holds/{ident}/release",
                 f"transactions/{ident}/reverse"):
        answer = service.post(path)
        assert answer.status in (400, 404) and answer.code in ("bad_request", "not_found"), path
    assert service.post(f"holds/{'A' * 43}/capture").status == 404


def test_methods_and_paths(service):
    for method, path in (("GET", "spend"), ("DELETE", "batch"), ("POST", "verify"),
                         ("POST", f"users/{NOBODY}")):
        answer = service.request(method, "/api/ledger/" + path)
        assert answer.status == 405 and answer.headers["Allow"], path
    for path in ("", "nothing", "spend/", "holds/x", "holds/x/y", "transactions/x", "users/a/b"):
        assert service.get(path).code == "not_found", path


# --- keys ---

@pytest.mark.parametrize("credentials", [
    None, "Service", "Service ", "Service wrong", "Service " + "A" * 43, "Service " + "A" * 5000,
    "Bearer x", "Device device_0123456789abcdef"])
def test_without_a_good_key(service, user, credentials):
    for method, path in (("POST", "spend"), ("POST", "batch"), ("GET", "verify"),
                         ("GET", f"users/{user}"), ("POST", f"holds/{'A' * 43}/release")):
        answer = service.request(method, "/api/ledger/" + path, {} if method == "POST" else None,
                                 Authorization=credentials)
        assert (answer.status, answer.code) == (401, "unauthorized"), path


def test_a_service_is_no_person(service):
    assert service.request("GET", "/api/tokens").status == 401


def operations(user):
    """One request a scope: path and body."""
    item = {"operationId": "a", "userId": user, "amount": 1}
    return {
        "spend": [("spend", {"userId": user, "amount": 1}),
                  ("batch", {"operations": [{**item, "kind": "spend"}]})],
        "grant": [("grant", {"userId": user, "amount": 1, "type": "bonus"})],
        "hold": [("holds", {"userId": user, "amount": 1, "ttlSeconds": 1}),
                 (f"holds/{'A' * 43}/capture", {}), (f"holds/{'A' * 43}/release", {})],
        "reverse": [(f"transactions/{'A' * 43}/reverse", {})],
        "read": [(f"users/{user}", None)], "verify": [("verify", None)],
    }


@pytest.mark.parametrize("scope", ALL_SCOPES.split(","))
def test_scopes(stack, user, scope):
    service = Service(stack, f"only-{scope}", scope)
    for wanted, requests in operations(user).items():
        for path, body in requests:
            answer = service.request("GET" if body is None else "POST", "/api/ledger/" + path,
                                     body)
            if wanted == scope:
                assert answer.status in (200, 201, 404), path
            else:
                assert (answer.status, answer.code) == (403, "forbidden"), path


def test_scope_of_a_grant_in_a_batch(stack, user):
    service = Service(stack, "no-grant", "spend")
    results = service.post("batch", {"operations": [
        {"operationId": "1", "kind": "grant", "userId": user, "amount": 1, "type": "bonus"},
        {"operationId": "2", "kind": "spend", "userId": user, "amount": 1}]}).data["results"]
    assert [(r["status"], r.get("code")) for r in results] == [(403, "forbidden"), (201, None)]


@pytest.mark.quick
def test_a_revoked_key_is_refused_at_once(stack, user):
    for number in range(3):
        service = Service(stack, f"revoked-{number}")
        assert service.get(f"users/{user}").status == 200, "it is in the cache now"
        assert stack.run("service-key", "revoke", service.name).returncode == 0
        answer = service.get(f"users/{user}")
        assert (answer.status, answer.code) == (401, "unauthorized")


def test_service_key_script(stack, cluster):
    done = stack.run("service-key", "create", "of-the-script", "spend,read")
    key = done.stdout.splitlines()[-1]
    assert len(key) == 43
    kept = cluster.query(stack.database_url, "SELECT * FROM service_keys WHERE name = %s",
                         ("of-the-script",))
    assert key not in repr(kept), "only a digest is kept"
    listed = stack.run("service-key", "list").stdout
    assert "of-the-script" in listed and "spend,read" in listed and key not in listed
    assert stack.run("service-key", "create", "of-the-script").returncode != 0
    assert stack.run("service-key", "revoke", "of-the-script").returncode == 0
    again = stack.run("service-key", "create", "of-the-script")
    assert again.returncode != 0, "a name is used once"
    assert stack.run("service-key", "revoke", "no-such-key").returncode != 0
    for arguments in (["create", "UPPER"], ["create", ""], ["create", "n", "fly"], ["x"], []):
        assert stack.run("service-key", *arguments).returncode not in (0, 127), arguments
    assert key not in stack.all_logs()


# --- holds ---

def test_hold_and_capture(service, user, client):
    hold = service.hold(user, 3).data
    assert (hold["balance"], hold["held"]) == (2, 3)
    status = client.get("/api/tokens").data
    assert (status["balance"], status["held"]) == (2, 3)
    assert service.spend(user, 3).json["data"] == {"balance": 2}
    captured = service.post(f"holds/{hold['holdId']}/capture", {"amount": 1})
    assert captured.status == 200 and captured.data["balance"] == 4
    status = client.get("/api/tokens").data
    assert (status["balance"], status["held"]) == (4, 0)
    entry = service.get(f"users/{user}").data["entries"][0]
    assert (entry["id"], entry["amount"]) == (captured.data["transactionId"], -1)
    for verb in ("capture", "release"):
        answer = service.post(f"holds/{hold['holdId']}/{verb}")
        assert (answer.status, answer.code) == (409, "hold_not_pending"), verb
    agree(service)


@pytest.mark.parametrize("body", [None, b"", {}, {"amount": None}, {"amount": 3}], ids=repr)
def test_capture_of_all(service, user, body):
    hold = service.hold(user, 3).data["holdId"]
    assert service.post(f"holds/{hold}/capture", body).data["balance"] == 2


@pytest.mark.parametrize("amount", [value for value in BAD_AMOUNTS if value is not None] + [4],
                         ids=repr)
def test_bad_capture(service, user, amount):
    hold = service.hold(user, 3).data["holdId"]
    answer = service.post(f"holds/{hold}/capture", {"amount": amount})
    assert (answer.status, answer.code, answer.json["field"]) == (400, "invalid_field", "amount")
    assert service.post(f"holds/{hold}/release").data["balance"] == 5


def test_release(service, user, client):
    hold = service.hold(user, 5).data["holdId"]
    assert client.get("/api/tokens").data["balance"] == 0
    for _ in range(2):
        answer = service.post(f"holds/{hold}/release")
        assert answer.status == 200 and answer.data == {"balance": 5}
        assert client.get("/api/tokens").data["balance"] == 5
    answer = service.post(f"holds/{hold}/capture")
    assert (answer.status, answer.code) == (409, "hold_not_pending")


def test_one_hold_in_every_state(service, user, stack, cluster):
    waiting = service.post("holds", {"userId": user, "amount": 1, "ttlSeconds": 600,
                                     "description": "\u043f\u043e\u0440\u0442\u0440\u0435\u0442"}).data
    expected = {"holdId": waiting["holdId"], "userId": user, "status": "pending", "amount": 1,
                "captured": None, "transactionId": None, "description": "\u043f\u043e\u0440\u0442\u0440\u0435\u0442",
                "expiresAt": waiting["expiresAt"]}
    found = service.get("holds/" + waiting["holdId"]).data["hold"]
    assert found.pop("createdAt") < waiting["expiresAt"]
    assert found == expected

    taken = service.hold(user, 2).data["holdId"]
    entry = service.post(f"holds/{taken}/capture", {"amount": 1}).data["transactionId"]
    found = service.get("holds/" + taken).data["hold"]
    assert (found["status"], found["amount"], found["captured"], found["transactionId"]) == (
        "captured", 2, 1, entry)

    free = service.hold(user, 1).data["holdId"]
    service.post(f"holds/{free}/release")
    assert service.get("holds/" + free).data["hold"]["status"] == "released"

    late = service.hold(user, 1, ttl=1).data["holdId"]
    wait_until(lambda: service.get("holds/" + late).data["hold"]["status"] == "expired", 5,
               "from that moment, swept or not")
    service.spend(user, 1)  # sweeps what expired of this account
    wait_until(lambda: cluster.value(
        stack.database_url, "SELECT count(*) FROM token_holds WHERE user_id = %s"
        " AND status = 'pending'", (user,)) == 1, 20, "it is swept")
    assert service.get("holds/" + late).data["hold"]["status"] == "expired"

    assert [hold["holdId"] for hold in service.get(f"users/{user}/holds").data["holds"]] == [
        late, free, taken, waiting["holdId"]], "newest first"
    for status, hold in (("pending", waiting["holdId"]), ("captured", taken), ("released", free),
                         ("expired", late)):
        page = service.get(f"users/{user}/holds?status={status}").data
        assert [found["holdId"] for found in page["holds"]] == [hold]
        assert page["nextCursor"] is None


def test_pages_of_holds(service, user, stack):
    made = [service.hold(user, 1).data["holdId"] for _ in range(5)]
    found, cursor = [], ""
    while cursor is not None:
        page = service.get(f"users/{user}/holds?limit=2&status=pending{cursor}").data
        found += [hold["holdId"] for hold in page["holds"]]
        assert len(page["holds"]) <= 2
        last, cursor = cursor, page["nextCursor"] and f"&cursor={page['nextCursor']}"
    assert found == made[::-1]
    # Of this list and this account alone.
    for path in (f"users/{user}?limit=2", f"users/{service_user(service, stack)}/holds?limit=2"):
        answer = service.get(path + last)
        assert (answer.status, answer.code, answer.json["field"]) == (
            400, "invalid_parameter", "cursor")


@pytest.mark.parametrize("query,field", [
    ("status=", "status"), ("status=open", "status"), ("status=PENDING", "status"),
    ("status=" + "x" * 100, "status"), ("status=%FF", "status"), ("limit=0", "limit"),
    ("cursor=x", "cursor")])
def test_bad_queries_of_holds(service, user, query, field):
    answer = service.get(f"users/{user}/holds?{query}")
    assert (answer.status, answer.code, answer.json["field"]) == (400, "invalid_parameter", field)


def test_holds_that_are_not_there(service, user):
    assert service.get(f"users/{user}/holds").data == {"holds": [], "nextCursor": None}
    for ident in (NOBODY, "x"):
        answer = service.get(f"users/{ident}/holds")
        assert (answer.status, answer.code) == (404, "user_not_found")
    for ident in ("x", "A" * 43):
        answer = service.get("holds/" + ident)
        assert (answer.status, answer.code) == (404, "not_found")


def test_an_expired_hold_is_released(service, user, client, stack, cluster):
    hold = service.hold(user, 5, ttl=1).data
    assert client.get("/api/tokens").data["held"] == 5
    expires = datetime.datetime.fromisoformat(hold["expiresAt"].rstrip("Z") + "+00:00")
    wait_until(lambda: datetime.datetime.now(datetime.timezone.utc) > expires, 5, "it expires")
    assert client.get("/api/tokens").data["balance"] == 5, "from that moment, swept or not"
    assert service.get(f"users/{user}").data["balance"] == 5
    answer = service.post(f"holds/{hold['holdId']}/capture")
    assert (answer.status, answer.code) == (409, "hold_not_pending")
    assert service.spend(user, 5).status == 201
    assert service.post(f"holds/{hold['holdId']}/release").status == 200

    swept = service.hold(service_user(service, stack), 1, ttl=1).data["holdId"]
    wait_until(lambda: cluster.value(
        stack.database_url, "SELECT count(*) FROM token_holds WHERE status = 'pending'"
        " AND expires_at < now() AT TIME ZONE 'utc'") == 0 and cluster.value(
            stack.database_url, "SELECT count(*) FROM token_holds WHERE status = 'pending'"
            " AND expires_at < (now() AT TIME ZONE 'utc') + interval '1 second'") == 0,
               20, f"the background sweep releases {swept}")
    agree(service)


def service_user(service, stack):
    """The id of one more account, with 5 tokens."""
    client = stack.client()
    user = client.get("/api/user").data["user"]["id"]
    client.close()
    return user


# --- reversals ---

def test_reverse(service, user, client):
    spent = service.spend(user, 3).data["transactionId"]
    answer = service.post(f"transactions/{spent}/reverse")
    assert answer.status == 201 and answer.data["balance"] == 5
    assert client.get("/api/tokens").data["balance"] == 5
    entry = service.get(f"users/{user}").data["entries"][0]
    assert (entry["id"], entry["amount"], entry["type"]) == (
        answer.data["transactionId"], 3, "refund")
    for again in (spent, answer.data["transactionId"]):
        answer = service.post(f"transactions/{again}/reverse")
        assert (answer.status, answer.code) == (409, "already_reversed")
    agree(service)


def test_reverse_of_a_grant_needs_the_tokens(service, user):
    granted = service.grant(user, 10).data["transactionId"]
    service.spend(user, 12)
    answer = service.post(f"transactions/{granted}/reverse")
    assert (answer.status, answer.code, answer.json["data"]) == (
        402, "insufficient_tokens", {"balance": 3})
    service.grant(user, 7)
    assert service.post(f"transactions/{granted}/reverse").data["balance"] == 0


def test_reverse_of_a_capture(service, user):
    hold = service.hold(user, 4).data["holdId"]
    captured = service.post(f"holds/{hold}/capture").data["transactionId"]
    assert service.post(f"transactions/{captured}/reverse").data["balance"] == 5


# --- batch ---

def item(number, user, amount=1, kind="spend", **more):
    """One operation."""
    return {"operationId": f"op-{number}", "kind": kind, "userId": user, "amount": amount,
            **({"type": "purchase"} if kind == "grant" else {}), **more}


@pytest.mark.quick
def test_batch_with_bad_ones_among_good(service, stack, user, client):
    other = service_user(service, stack)
    sent = [item(1, user, 2), item(2, other, 50, "grant"), item(3, user, 99), item(4, NOBODY),
            item(5, user, 0), item(6, user, kind="gift"), "text", {"kind": "spend"},
            item(9, other, INT_MAX, "grant"), item(10, user, type="x", kind="grant"),
            item(1, user, 2), item(1, user, 3), item(13, user, 3)]
    answer = service.post("batch", {"operations": sent})
    results = answer.data["results"]
    assert [(r["status"], r.get("balance"), r.get("code"), r.get("field")) for r in results] == [
        (201, 3, None, None), (201, 55, None, None), (402, 3, "insufficient_tokens", None),
        (404, None, "user_not_found", None), (400, None, "invalid_field", "amount"),
        (400, None, "invalid_field", "kind"), (400, None, "invalid_field", "operations"),
        (400, None, "invalid_field", "operationId"), (422, None, "balance_limit", None),
        (400, None, "invalid_field", "type"), (201, 3, None, None),
        (422, None, "idempotency_key_reused", None), (201, 0, None, None)]
    assert [r["operationId"] for r in results[:6]] == [f"op-{n}" for n in range(1, 7)]
    assert results[6]["operationId"] is None and results[7]["operationId"] is None
    assert results[0]["transactionId"] == results[10]["transactionId"]
    assert client.get("/api/tokens").data["balance"] == 0

    again = service.post("batch", {"operations": sent})
    for first, second in zip(results, again.data["results"]):
        assert first == second or first["status"] == second["status"] == 402
    assert service.get(f"users/{other}").data["balance"] == 55
    agree(service)


@pytest.mark.parametrize("operations, status, code", [
    ([], 400, "invalid_field"), (None, 400, "invalid_field"), ({}, 400, "invalid_field"),
    ("x", 400, "invalid_field"), ([{}] * 1001, 413, "batch_too_large")],
    ids=["none", "null", "object", "text", "1001"])
def test_size_of_a_batch(service, operations, status, code):
    answer = service.post("batch", {"operations": operations})
    assert (answer.status, answer.code) == (status, code)
    if status == 400:
        assert answer.json["field"] == "operations"


def test_a_thousand_in_a_batch(service, stack, client, user):
    others = [service_user(service, stack) for _ in range(9)] + [user]
    sent = [item(n, others[n % 10], 1000 + n, "grant", description="ж" * 100)
            for n in range(1000)]
    results = service.post("batch", {"operations": sent}).data["results"]
    assert [r["operationId"] for r in results] == [f"op-{n}" for n in range(1000)]
    assert {r["status"] for r in results} == {201}
    assert len({r["transactionId"] for r in results}) == 1000
    total = 5 + sum(1000 + n for n in range(9, 1000, 10))
    assert client.get("/api/tokens").data["balance"] == total
    assert service.post("batch", {"operations": sent}).data["results"] == results
    agree(service)


def test_four_thousand_at_once_in_four_batches(service, stack):
    users = [service_user(service, stack) for _ in range(4)]
    bodies = [{"operations": [item(f"{b}-{n}", users[(n + b) % 4], 1, "grant")
                              for n in range(1000)]} for b in range(4)]
    answers = service.at_once([
        lambda client, body=body: service.post("batch", body, client=client) for body in bodies])
    assert {r["status"] for answer in answers for r in answer.data["results"]} == {201}
    assert [service.get(f"users/{user}").data["balance"] for user in users] == [1005] * 4
    agree(service)


def test_body_cap_of_a_batch(service, user):
    head = json.dumps({"operations": [item(1, user)]}).encode()
    fits = head + b" " * (2**20 - len(head))
    assert service.post("batch", fits).data["results"][0]["status"] == 201
    answer = service.post("batch", fits + b" ")
    assert (answer.status, answer.code) == (413, "body_too_large")
    answer = service.post("spend", b" " * (64 * 1024 + 1))
    assert (answer.status, answer.code) == (413, "body_too_large")


# --- reading ---

def test_balance_at_a_time(service, user):
    times = []
    for step in (lambda: service.spend(user, 1), lambda: service.hold(user, 2),
                 lambda: service.grant(user, 10)):
        assert step().status == 201
        times.append(datetime.datetime.now(datetime.timezone.utc))
    past = [service.get(f"users/{user}?at={moment.strftime('%Y-%m-%dT%H:%M:%S.%fZ')}").data
            for moment in times]
    assert [(p["balance"], p["held"], len(p["entries"])) for p in past] == [
        (4, 0, 2), (2, 2, 2), (12, 2, 3)]
    early = service.get(f"users/{user}?at=2020-01-01").data
    assert (early["balance"], early["held"], early["entries"]) == (0, 0, [])
    late = service.get(f"users/{user}?at=2999-01-01T00:00:00%2B03:00").data
    assert (late["balance"], len(late["entries"])) == (14, 3), "no hold is held until then"


@pytest.mark.parametrize("query", ["at=", "at=now", "at=2026-13-01", "at=1", "at=%00", "limit=0",
                                   "limit=101", "cursor=x", "cursor=" + "A" * 39])
def test_bad_queries(service, user, query):
    answer = service.get(f"users/{user}?{query}")
    assert (answer.status, answer.code) == (400, "invalid_parameter")
    assert answer.json["field"] == query.split("=")[0]


def test_pages_of_entries(service, user):
    service.post("batch", {"operations": [item(n, user, 1, "grant") for n in range(24)]})
    whole = service.get(f"users/{user}?limit=100").data
    assert len(whole["entries"]) == 25 and whole["nextCursor"] is None
    found, cursor = [], ""
    for _ in range(5):
        page = service.get(f"users/{user}?limit=5{cursor}").data
        assert (page["balance"], len(page["entries"])) == (29, 5)
        found += page["entries"]
        cursor = f"&cursor={page['nextCursor']}"
    assert page["nextCursor"] is None and found == whole["entries"]
    assert len({entry["id"] for entry in found}) == 25


def test_verify_finds_what_does_not_agree(service, stack, cluster, user):
    before = service.get("verify").data
    assert before["mismatches"] == [] and before["accounts"] > 0 and before["entries"] > 0
    assert stack.run("verify").returncode == 0
    change = "UPDATE user_tokens SET balance = balance + %s WHERE user_id = %s"
    cluster.query(stack.database_url, change, (2, user))
    try:
        assert service.get("verify").data["mismatches"] == [{
            "userId": user, "balance": 7, "entriesSum": 5, "chainBreaks": 0, "held": 0,
            "holdsSum": 0}]
        done = stack.run("verify")
        assert done.returncode == 1 and user in done.stdout
    finally:
        cluster.query(stack.database_url, change, (-2, user))
    agree(service)


def test_entries_are_append_only_for_the_handlers_role(stack, cluster, user):
    with cluster.connect(stack.database_url) as connection:
        cursor = connection.cursor()
        for text in ("UPDATE token_transactions SET amount = 1", "DELETE FROM token_transactions",
                     "TRUNCATE token_transactions"):
            with pytest.raises(Exception, match="append-only|permission denied"):
                cursor.execute(text)


# --- many at once ---

@pytest.mark.quick
def test_200_threads_spend_what_pays_for_50(service, user, client):
    service.grant(user, 45)
    answers = service.at_once([lambda own: service.spend(user, 1, client=own)] * 200)
    statuses = [answer.status for answer in answers]
    assert (statuses.count(201), statuses.count(402)) == (50, 150)
    assert sorted(a.data["balance"] for a in answers if a.status == 201) == list(range(50))
    assert client.get("/api/tokens").data["balance"] == 0
    agree(service)


@pytest.mark.parametrize("path, rest", [
    ("spend", {}), ("grant", {"type": "bonus"}), ("holds", {"ttlSeconds": 600})])
def test_200_requests_with_one_key(service, user, cluster, stack, path, rest):
    body = {"userId": user, "amount": 1, **rest}
    answers = service.at_once([
        lambda own: service.post(path, body, key="one-key", client=own)] * 200)
    good = [answer for answer in answers if answer.status == 201]
    assert good and len({answer.body for answer in good}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in good) == 1
    for answer in answers:
        assert answer.status == 201 or answer.code == "idempotency_in_progress"
    table = "token_holds" if path == "holds" else "token_transactions"
    count = cluster.value(stack.database_url, f"SELECT count(*) FROM {table} WHERE user_id = %s",
                          (user,))
    assert count == (1 if path == "holds" else 2), "one, and the welcome bonus"
    agree(service)


def test_captures_and_releases_at_once(service, user):
    for number in range(5):
        service.grant(user, 1)
        hold = service.hold(user, 1).data["holdId"]
        answers = service.at_once([
            lambda own, verb=verb, hold=hold: service.post(f"holds/{hold}/{verb}", client=own)
            for verb in ["capture", "release"] * 8])
        captured = sum(answer.status == 200 for answer in answers[::2])
        released = sum(answer.status == 200 for answer in answers[1::2])
        assert (captured, released) in ((1, 0), (0, 8)), number
    agree(service)


# --- linked accounts ---

def test_a_linked_device_is_followed(service, stack, issuer):
    device = stack.client()
    device_user = device.get("/api/user").data["user"]["id"]
    hold = service.hold(device_user, 3, key="hold").data
    small = service.hold(device_user, 1, key="small").data
    early = service.post(f"holds/{small['holdId']}/capture", key="early")
    spent = service.spend(device_user, 1, key="before")
    undone = service.post(f"transactions/{early.data['transactionId']}/reverse", key="undo")
    account, user = sign_in(stack, issuer, f"user_linked_{time.time_ns()}")
    link(account, device)
    assert account.get("/api/tokens").data["balance"] == 6, "10 + 5 - 5 (bonus) - 1 - 3 held"

    # What came before is told again, to the letter.
    assert service.hold(device_user, 3, key="hold").data == hold
    assert service.spend(device_user, 1, key="before").body == spent.body
    again = service.post(f"holds/{small['holdId']}/capture", key="early")
    assert (again.status, again.body) == (200, early.body)
    again = service.post(f"transactions/{early.data['transactionId']}/reverse", key="undo")
    assert (again.status, again.body) == (201, undone.body)
    answer = service.post(f"transactions/{early.data['transactionId']}/reverse", key="other")
    assert (answer.status, answer.code) == (409, "already_reversed")
    assert account.get("/api/tokens").data["balance"] == 6

    # What comes after happens in the account.
    assert service.spend(device_user, 1).data["balance"] == 5
    assert account.get("/api/tokens").data["balance"] == 5
    assert device.get("/api/tokens").data["balance"] == 5, "the device leads to the account"
    captured = service.post(f"holds/{hold['holdId']}/capture", {"amount": 2}, key="late")
    assert captured.data["balance"] == 6
    again = service.post(f"holds/{hold['holdId']}/capture", {"amount": 2}, key="late")
    assert again.body == captured.body and again.headers["Idempotency-Replayed"] == "true"
    assert service.post(f"holds/{hold['holdId']}/release").code == "hold_not_pending"
    for entry, balance in ((captured, 8), (spent, 9)):
        answer = service.post(f"transactions/{entry.data['transactionId']}/reverse", key="r")
        assert answer.data["balance"] == balance
        again = service.post(f"transactions/{entry.data['transactionId']}/reverse", key="r")
        assert again.body == answer.body
    for ident in (device_user, user):
        assert service.get(f"users/{ident}").data["balance"] == 9
    results = service.post("batch", {"operations": [
        item("a", device_user, 2), item("b", user, 2), item("c", device_user, 99)]}).data["results"]
    assert [(r["status"], r["balance"]) for r in results] == [(201, 7), (201, 5), (402, 5)] or [
        (r["status"], r["balance"]) for r in results] == [(201, 5), (201, 7), (402, 5)]
    # Holds moved with the account; what was captured before the link stays where it happened.
    for ident in (device_user, user):
        moved = {found["amount"]: found for found in
                 service.get(f"users/{ident}/holds?status=captured").data["holds"]}
        assert moved[3]["userId"] == moved[1]["userId"] == user
        assert (moved[3]["captured"], moved[3]["transactionId"]) == (
            2, captured.data["transactionId"])
        assert (moved[1]["captured"], moved[1]["transactionId"]) == (
            1, early.data["transactionId"])
    assert service.get("holds/" + hold["holdId"]).data["hold"] == moved[3]
    held = service.hold(device_user, 5).data
    assert held["balance"] == 0
    assert service.post(f"holds/{held['holdId']}/release").data["balance"] == 5
    agree(service)
