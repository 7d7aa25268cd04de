"""Idempotency-Key on every POST that changes something, through nginx."""

import concurrent.futures
import json
import secrets

import pytest

from tests.support import openapi
from tests.support.process import wait_until
from tests.support.proxy import PostgresProxy, bind_of

PERSONS = ["tokens", "generations", "usage"]
MOVEMENTS = ["spend", "grant", "holds", "capture", "reverse"]
EVERY = PERSONS + MOVEMENTS
PICTURE = {"imageUrl": "https://example.com/1.png"}

# The statement that each runs, and the table whose row of the user it locks first.
STATEMENTS = {
    "tokens": ("token_claim_bonus", "user_tokens", "user_id"),
    "generations": ("generation_record", "users", "id"), "usage": ("usage_record", "users", "id"),
    "spend": ("ledger_post(?:_many)?", "user_tokens", "user_id"),
    "grant": ("ledger_post(?:_many)?", "user_tokens", "user_id"),
    "holds": ("hold_create", "user_tokens", "user_id"),
    "capture": ("hold_capture", "user_tokens", "user_id"),
    "reverse": ("ledger_reverse", "user_tokens", "user_id")}


def new_key():
    """A key nobody has used."""
    return "key-" + secrets.token_hex(8)


class Caller:
    """A person of an instance and a service; sends the POST of a name, each answer checked."""

    def __init__(self, stack, service_key):
        self.stack, self.service_key = stack, service_key
        self.client = stack.client()
        self.user = self.client.get("/api/user").data["user"]["id"]

    def send(self, path, body=None, key=None, client=None, service_key=None):
        """One POST."""
        headers = {"Idempotency-Key": key}
        if path.startswith("/api/ledger"):
            headers["Authorization"] = f"Service {service_key or self.service_key}"
        answer = (client or self.client).post(path, body, headers=headers)
        openapi.check_response("POST", path, answer.status, answer.headers, answer.body)
        return answer

    def prepare(self, name):
        """(path, body, another body) of a request that succeeds; makes what it needs."""
        order = {"userId": self.user, "amount": 1}
        if name == "capture":
            hold = self.send("/api/ledger/holds", {**order, "ttlSeconds": 600}).data["holdId"]
            return f"/api/ledger/holds/{hold}/capture", {"amount": 1}, {}
        if name == "reverse":
            entry = self.send("/api/ledger/spend", order).data["transactionId"]
            return f"/api/ledger/transactions/{entry}/reverse", None, {}
        path, body, other = {
            "tokens": ("/api/tokens", None, {}),
            "generations": ("/api/generations", PICTURE, {**PICTURE, "trend": "noir"}),
            "usage": ("/api/usage", {"action": "download"}, {"action": "download", "a": 1}),
            "spend": ("/api/ledger/spend", order, {**order, "amount": 2}),
            "grant": ("/api/ledger/grant", {**order, "type": "bonus"},
                      {**order, "type": "refund"}),
            "holds": ("/api/ledger/holds", {**order, "ttlSeconds": 600},
                      {**order, "ttlSeconds": 601}),
        }[name]
        return path, body, other

    def state(self, cluster):
        """What there is of the user, to see whether anything changed."""
        return cluster.query(self.stack.database_url, """
            SELECT (SELECT (balance, held, last_bonus_date)::text FROM user_tokens
                    WHERE user_id = %(user)s),
                   (SELECT count(*) FROM token_transactions WHERE user_id = %(user)s),
                   (SELECT count(*) FROM token_holds WHERE user_id = %(user)s),
                   (SELECT count(*) FROM usage_logs WHERE user_id = %(user)s),
                   (SELECT count(*) FROM generations WHERE user_id = %(user)s)""",
                             {"user": self.user})


def prepare_instance(stack, cluster, url):
    """Makes a service key; all callers have one address, whose generations are limited."""
    stack.database_url = url
    cluster.query(url, "UPDATE app_settings SET value = 1000"
                  " WHERE name LIKE 'generations_per_minute%%'")
    return stack.run("service-key", "create", "first", check=True).stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def service_key(stack, cluster):
    """The key of a service with every scope."""
    return prepare_instance(stack, cluster, stack.database_url)


@pytest.fixture
def caller(stack, service_key):
    """A new person and the service."""
    made = Caller(stack, service_key)
    yield made
    made.client.close()


def replayed(answer):
    """Whether the answer says that it was given before."""
    return answer.headers.get("Idempotency-Replayed") == "true"


@pytest.mark.quick
@pytest.mark.parametrize("name", EVERY)
def test_the_first_answer_again(caller, cluster, name):
    path, body, _ = caller.prepare(name)
    key = new_key()
    first = caller.send(path, body, key)
    assert first.status in (200, 201) and not replayed(first)
    state = caller.state(cluster)
    for _ in range(3):
        again = caller.send(path, body, key)
        assert (again.status, again.body) == (first.status, first.body) and replayed(again)
    if name != "holds":
        caller.send("/api/ledger/grant", {"userId": caller.user, "amount": 7, "type": "bonus"})
    again = caller.send(path, body, key)
    assert again.body == first.body, "whatever happened meanwhile"
    if name == "holds":
        assert caller.state(cluster) == state


@pytest.mark.parametrize("name", EVERY)
def test_another_body(caller, cluster, name):
    path, body, other = caller.prepare(name)
    key = new_key()
    assert caller.send(path, body, key).status in (200, 201)
    state = caller.state(cluster)
    answer = caller.send(path, other, key)
    assert (answer.status, answer.code) == (422, "idempotency_key_reused")
    assert caller.state(cluster) == state
    assert replayed(caller.send(path, body, key)), "the first request is still known"


@pytest.mark.parametrize("name", EVERY)
def test_another_key(caller, name):
    path, body, _ = caller.prepare(name)
    assert caller.send(path, body, new_key()).status in (200, 201)
    answer = caller.send(path, body, new_key())
    assert not replayed(answer)
    assert (answer.status, answer.code if answer.status >= 400 else None) == {
        "tokens": (400, "bonus_already_claimed"), "capture": (409, "hold_not_pending"),
        "reverse": (409, "already_reversed")}.get(name, (201, None))


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("key", ["x" * 256, "a b", "a\tb", "ключ".encode(), "a\x7f", "é"], ids=repr)
def test_malformed_keys(caller, cluster, name, key):
    path, body, _ = caller.prepare(name)
    state = caller.state(cluster)
    answer = caller.send(path, body, key)
    assert (answer.status, answer.code) == (400, "invalid_parameter")
    assert answer.json["field"] == "Idempotency-Key"
    assert caller.state(cluster) == state


@pytest.mark.parametrize("key", ["a", "x" * 255, "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"])
@pytest.mark.parametrize("name", ["tokens", "spend"])
def test_keys_of_every_form(caller, name, key):
    path, body, _ = caller.prepare(name)
    first = caller.send(path, body, key)
    assert first.status in (200, 201)
    assert caller.send(path, body, key).body == first.body


# --- what fails does not burn the key ---

def test_too_little_does_not_burn_the_key(caller):
    order = {"userId": caller.user, "amount": 20}
    for path, body in (("spend", order), ("holds", {**order, "ttlSeconds": 600})):
        key = new_key()
        answer = caller.send("/api/ledger/" + path, body, key)
        assert (answer.status, answer.code) == (402, "insufficient_tokens")
        caller.send("/api/ledger/grant", {**order, "type": "purchase"})
        answer = caller.send("/api/ledger/" + path, body, key)
        assert answer.status == 201 and not replayed(answer)
        assert replayed(caller.send("/api/ledger/" + path, body, key))


@pytest.mark.parametrize("name", EVERY)
def test_a_refused_body_does_not_burn_the_key(caller, name):
    path, body, _ = caller.prepare(name)
    key = new_key()
    if name not in ("tokens", "reverse"):
        for wrong in (b"{", {"amount": "1", "action": 1, "imageUrl": 2}):
            assert caller.send(path, wrong, key).status == 400
    else:
        assert caller.send(path + "/x", None, key).status == 404
    first = caller.send(path, body, key)
    assert first.status in (200, 201) and not replayed(first)


def test_an_unknown_hold_does_not_burn_the_key(caller):
    path, body, _ = caller.prepare("capture")
    key = new_key()
    assert caller.send(f"/api/ledger/holds/{'A' * 43}/capture", body, key).status == 404
    assert not replayed(caller.send(path, body, key))


def test_too_many_does_not_burn_the_key(caller, cluster, stack):
    change = "UPDATE app_settings SET value = %s WHERE name = %s"
    for name, setting, limit in (("usage", "downloads_per_minute", 60),
                                 ("generations", "generations_per_minute", 1000)):
        path, body, _ = caller.prepare(name)
        key = new_key()
        cluster.query(stack.database_url, change, (0, setting))
        try:
            answer = caller.send(path, body, key)
            assert (answer.status, answer.code) == (429, "rate_limited")
        finally:
            cluster.query(stack.database_url, change, (limit, setting))
        answer = caller.send(path, body, key)
        assert answer.status == 201 and not replayed(answer)


def test_a_repetition_passes_the_limit(caller, cluster, stack):
    change = "UPDATE app_settings SET value = %s WHERE name = %s"
    for name, setting, limit in (("usage", "downloads_per_minute", 60),
                                 ("generations", "generations_per_minute", 1000)):
        path, body, _ = caller.prepare(name)
        key = new_key()
        caller.send(path, body)
        first = caller.send(path, body, key)
        cluster.query(stack.database_url, change, (1, setting))
        try:
            assert caller.send(path, body, key).body == first.body, "the limit of then included"
            assert caller.send(path, body).status == 429
        finally:
            cluster.query(stack.database_url, change, (limit, setting))


def test_a_claimed_bonus_does_not_burn_the_key(caller, cluster, stack):
    first_key, key = new_key(), new_key()
    first = caller.send("/api/tokens", None, first_key)
    assert caller.send("/api/tokens", None, key).code == "bonus_already_claimed"
    cluster.query(stack.database_url, "UPDATE user_tokens SET last_bonus_date = last_bonus_date - 1"
                  " WHERE user_id = %s", (caller.user,))
    assert caller.send("/api/tokens", None, first_key).body == first.body, "of yesterday"
    answer = caller.send("/api/tokens", None, key)
    assert answer.status == 200 and not replayed(answer)


def test_a_removed_generation_is_still_answered(caller):
    key = new_key()
    first = caller.send("/api/generations", PICTURE, key)
    ident = first.data["generation"]["id"]
    assert caller.client.delete(f"/api/generations/{ident}").status == 204
    assert caller.send("/api/generations", PICTURE, key).body == first.body
    assert caller.client.get("/api/generations").data["generations"] == []


# --- one winner ---

@pytest.mark.quick
@pytest.mark.parametrize("name", EVERY)
def test_while_the_first_is_running(caller, cluster, stack, name):
    path, body, _ = caller.prepare(name)
    _, table, column = STATEMENTS[name]
    key = new_key()
    url = stack.database_url
    with concurrent.futures.ThreadPoolExecutor(1) as pool, \
            cluster.connect(url, autocommit=False) as lock:
        lock.cursor().execute(f"SELECT 1 FROM {table} WHERE {column} = %s FOR UPDATE",
                              (caller.user,))
        own = stack.client(caller.client.device)
        first = pool.submit(caller.send, path, body, key, client=own)
        try:
            wait_until(lambda: cluster.value(
                url, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND wait_event_type = 'Lock'") == 1, 4, "the first one waits")
            answer = caller.send(path, body, key)
            assert (answer.status, answer.code) == (409, "idempotency_in_progress")
        finally:
            lock.rollback()
        first = first.result()
        own.close()
    assert first.status in (200, 201)
    again = caller.send(path, body, key)
    assert again.body == first.body and replayed(again)


@pytest.mark.parametrize("name", EVERY)
def test_one_winner(caller, cluster, stack, name):
    path, body, _ = caller.prepare(name)
    key = new_key()
    clients = [stack.client(caller.client.device) for _ in range(24)]
    with concurrent.futures.ThreadPoolExecutor(len(clients)) as pool:
        answers = list(pool.map(lambda own: caller.send(path, body, key, client=own), clients))
    for client in clients:
        client.close()
    state = caller.state(cluster)
    good = [answer for answer in answers if answer.status in (200, 201)]
    assert len({answer.body for answer in good}) == 1
    assert sum(not replayed(answer) for answer in good) == 1
    for answer in answers:
        assert answer in good or answer.code == "idempotency_in_progress"
    assert caller.send(path, body, key).body == good[0].body
    assert caller.state(cluster) == state


# --- whose key it is ---

@pytest.mark.parametrize("name", EVERY)
def test_keys_of_two_persons_do_not_meet(stack, service_key, name):
    key = new_key()
    for _ in range(2):
        caller = Caller(stack, service_key)
        path, body, _ = caller.prepare(name)
        answer = caller.send(path, body, key)
        assert answer.status in (200, 201) and not replayed(answer)


def test_keys_of_two_services_do_not_meet(caller, stack):
    second = stack.run("service-key", "create", "second", check=True).stdout.splitlines()[-1]
    for name in ("spend", "grant", "holds"):
        path, body, other = caller.prepare(name)
        key = new_key()
        first = caller.send(path, body, key)
        answer = caller.send(path, other, key, service_key=second)
        assert answer.status == 201 and not replayed(answer), "nor is it another body"
        assert caller.send(path, body, key).body == first.body


def test_keys_of_persons_and_services_do_not_meet(caller):
    key = new_key()
    assert caller.send("/api/tokens", None, key).status == 200
    path, body, _ = caller.prepare("grant")
    answer = caller.send(path, body, key)
    assert answer.status == 201 and not replayed(answer)


@pytest.mark.parametrize("first, second", [
    ("spend", "grant"), ("grant", "spend"), ("spend", "holds"), ("holds", "spend"),
    ("grant", "holds"), ("holds", "grant"), ("usage", "generations"), ("generations", "usage")])
def test_another_path_of_the_same_kind(caller, cluster, first, second):
    key = new_key()
    path, body, _ = caller.prepare(first)
    made = caller.send(path, body, key)
    state = caller.state(cluster)
    answer = caller.send(*caller.prepare(second)[:2], key)
    assert (answer.status, answer.code) == (422, "idempotency_key_reused")
    assert caller.state(cluster) == state
    if first == "holds":
        captured = caller.send(f"{path}/{made.data['holdId']}/capture", None, key)
        assert captured.status == 200 and not replayed(captured), "a path of its own"
        answer = caller.send(*caller.prepare(second)[:2], key)
        assert (answer.status, answer.code) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("first, second", [
    ("tokens", "usage"), ("usage", "tokens"), ("capture", "reverse"), ("reverse", "capture"),
    ("capture", "capture"), ("reverse", "reverse"), ("capture", "spend"), ("spend", "reverse")])
def test_another_path_of_another_kind(caller, first, second):
    key = new_key()
    assert caller.send(*caller.prepare(first)[:2], key).status in (200, 201)
    answer = caller.send(*caller.prepare(second)[:2], key)
    assert answer.status in (200, 201) and not replayed(answer)


# --- what needs no key ---

def test_release_repeats_by_itself(caller):
    path, _, _ = caller.prepare("capture")
    path = path.replace("/capture", "/release")
    first = caller.send(path, None, new_key())
    for key in (new_key(), None):
        again = caller.send(path, {"any": 1}, key)
        assert (again.status, again.body) == (200, first.body)
    assert caller.send(path, None, "a b").status == 400


def test_operation_ids_of_a_batch(caller):
    sent = {"operationId": new_key(), "kind": "spend", "userId": caller.user, "amount": 1}

    def results(*operations):
        return caller.send("/api/ledger/batch", {"operations": operations}).data["results"]
    [first] = results(sent)
    other = {"operationId": new_key(), "kind": "spend", "userId": caller.user, "amount": 9}
    assert [r["status"] for r in results(other, sent)] == [402, 201]
    assert results(dict(reversed(sent.items())))[0]["code"] == "idempotency_key_reused"
    spaced = str({"operations": [sent]}).replace("'", '"').replace(",", " ,\n").encode()
    answer = caller.send("/api/ledger/batch", spaced)
    assert answer.data["results"] == [first], "spacing does not count"
    caller.send("/api/ledger/grant", {"userId": caller.user, "amount": 9, "type": "bonus"})
    again = results(other, sent)
    assert again[0]["status"] == 201 and again[1] == first, "what failed did not use up its id"
    assert caller.send("/api/ledger/spend", {"userId": caller.user, "amount": 1},
                       sent["operationId"]).code == "idempotency_key_reused"


def test_operation_ids_have_1_to_255_bytes(caller):
    for ident, status in (("x" * 255, 201), ("x" * 256, 400), ("", 400), ("ключ №1 ☂", 201)):
        operation = {"operationId": ident, "kind": "spend", "userId": caller.user, "amount": 1}
        answer = caller.send("/api/ledger/batch", {"operations": [operation]})
        assert answer.data["results"][0]["status"] == status


# --- an answer that is lost ---

@pytest.fixture(scope="module")
def cut_caller(cluster, template, binaries):
    """(proxy, a Caller) of an instance whose database is behind a proxy."""
    from tests.support.stack import Stack  # pylint: disable=import-outside-toplevel
    url = cluster.create_database(template)
    with PostgresProxy(cluster) as proxy, Stack(proxy.url(url), binaries) as made:
        yield proxy, made, prepare_instance(made, cluster, url)
    cluster.drop(url)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("times", [1, 3])
def test_the_connection_is_cut_after_commit(cut_caller, cluster, name, times):
    proxy, stack, service_key = cut_caller
    caller = Caller(stack, service_key)
    path, body, _ = caller.prepare(name)
    key = new_key()
    before = proxy.cuts
    proxy.cut_answer_to(bind_of(STATEMENTS[name][0]), times)
    lost = caller.send(path, body, key)
    assert proxy.cuts == before + times
    state = caller.state(cluster)
    if times == 1:
        assert lost.status in (200, 201), "the handler asked again by itself"
    else:
        assert (lost.status, lost.code) == (503, "database_unavailable")
    again = caller.send(path, body, key)
    assert again.status in (200, 201) and replayed(again)
    assert caller.state(cluster) == state, "nothing happened a second time"
    if times == 1:
        assert again.body == lost.body
    other = caller.send(path, b'{"userId":"%s","amount":1,"ttlSeconds":9,"type":"purchase",'
                        b'"action":"download","imageUrl":"x"}' % caller.user.encode(), key)
    assert (other.status, other.code) == (422, "idempotency_key_reused")


def test_the_connection_is_cut_after_a_batch(cut_caller, cluster):
    proxy, stack, service_key = cut_caller
    caller = Caller(stack, service_key)
    sent = {"operations": [{"operationId": f"{caller.user}-{n}", "kind": "grant", "amount": 1,
                            "type": "bonus", "userId": caller.user} for n in range(50)]}
    proxy.cut_answer_to(bind_of("ledger_post_flight"), 3)
    assert caller.send("/api/ledger/batch", sent).status == 503
    state = caller.state(cluster)
    results = caller.send("/api/ledger/batch", sent).data["results"]
    assert [r["balance"] for r in results] == list(range(6, 56))
    assert caller.state(cluster) == state


@pytest.mark.parametrize("name", PERSONS + ["spend", "grant", "holds"])
def test_without_a_key_a_lost_answer_is_found_as_well(cut_caller, cluster, name):
    proxy, stack, service_key = cut_caller
    caller = Caller(stack, service_key)
    path, body, _ = caller.prepare(name)
    proxy.cut_answer_to(bind_of(STATEMENTS[name][0]))
    answer = caller.send(path, body)
    assert answer.status in (200, 201)
    entries = {"tokens": 2, "spend": 2, "grant": 2}.get(name, 1)
    state = caller.state(cluster)[0]
    assert state[1] == entries and state[2] == (name == "holds")
    assert state[3] == (name in ("usage", "generations"))


@pytest.mark.parametrize("keys", [("a", "b"), ("a", "a")])
def test_two_keys(client, keys):
    """Whatever nginx makes of a header that comes twice: 1.22 sends both, later ones join them."""
    client.get("/api/tokens")
    connection = client.connection
    for path, body in (("/api/usage", b'{"action":"download"}'), ("/api/tokens", b"")):
        connection.putrequest("POST", path)
        connection.putheader("Authorization", f"Device {client.device}")
        connection.putheader("Content-Length", str(len(body)))
        for key in keys:
            connection.putheader("Idempotency-Key", key)
        connection.endheaders(body)
        response = connection.getresponse()
        answer = json.loads(response.read())
        assert (response.status, answer["code"]) == (400, "invalid_parameter")
        assert answer["field"] == "Idempotency-Key"
    assert client.get("/api/usage").data["today"]["download"] == 0
    assert client.get("/api/tokens").data["canClaimBonus"]
