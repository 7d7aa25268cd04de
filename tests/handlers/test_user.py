"""/api/user, /api/stats: profile, statistics, export, erasure."""

import glob
import hashlib
import hmac
import json
import os
import threading

import pytest

from tests.handlers.test_generations import IMAGE, fill_history
from tests.support.fastcgi import (PARAMS, STDIN, Handler, begin, name_values, parameters,
                                   stream)
from tests.support.process import resident_kib
from tests.support.stack import new_device


def export(client):
    """The lines of the caller's export as objects."""
    answer = client.get("/api/user/export")
    assert answer.status == 200, answer
    assert answer.body.endswith(b"\n")
    return answer, [json.loads(line) for line in answer.body.decode().splitlines()]


def user_id(client):
    """The caller's own id."""
    return client.get("/api/user").data["user"]["id"]


@pytest.mark.quick
def test_profile_of_a_new_device(client):
    data = client.get("/api/user").data
    assert data == {
        "user": {"id": data["user"]["id"], "email": None, "createdAt": data["user"]["createdAt"]},
        "subscription": None, "plan": "free", "status": "active",
        "limits": {"dailyGenerations": 0, "maxHistory": 10, "quality": "1K"},
        "usage": {"usedToday": 0, "remaining": 0, "maxHistory": 10}, "periodEnd": None}


@pytest.mark.parametrize("plan,generations,history,quality", [
    ("pro", 50, 100, "2K"), ("premium", None, None, "4K")])
def test_profile_of_a_subscriber(client, stack, cluster, plan, generations, history, quality):
    """Unlimited is null."""
    me = user_id(client)
    cluster.query(stack.database_url, """
        INSERT INTO subscriptions (user_id, plan, status, current_period_end)
        VALUES (%s, %s, 'active', (now() AT TIME ZONE 'utc') + interval '1 day')""", (me, plan))
    client.post("/api/generations", {"imageUrl": IMAGE})
    data = client.get("/api/user").data
    assert (data["plan"], data["status"]) == (plan, "active")
    assert data["subscription"]["plan"] == plan and data["subscription"]["periodEnd"]
    assert data["periodEnd"] == data["subscription"]["periodEnd"]
    assert data["limits"] == {
        "dailyGenerations": generations, "maxHistory": history, "quality": quality}
    left = None if generations is None else generations - 1
    assert data["usage"] == {"usedToday": 1, "remaining": left, "maxHistory": history}


def test_a_subscription_that_ran_out_counts_as_free(client, stack, cluster):
    me = user_id(client)
    cluster.query(stack.database_url, """
        INSERT INTO subscriptions (user_id, plan, status, current_period_end)
        VALUES (%s, 'pro', 'active', (now() AT TIME ZONE 'utc') - interval '1 second')""", (me,))
    data = client.get("/api/user").data
    assert data["plan"] == "free" and data["subscription"] is None


@pytest.mark.parametrize("path", ["/api/user/stats", "/api/stats"])
def test_stats(client, stack, cluster, path):
    assert client.get(path).data == {"user": {
        "total_generations": 0, "today_generations": 0, "week_generations": 0}}
    fill_history(cluster, stack, client, 3)  # of 2024
    client.post("/api/generations", {"imageUrl": IMAGE})
    cluster.query(stack.database_url, """
        INSERT INTO generations (user_id, id, image_url, created_at)
        VALUES (%s, gen_random_uuid(), 'x', date_trunc('day', now() AT TIME ZONE 'utc')
                                            - interval '1 second')""", (user_id(client),))
    assert client.get(path).data == {"user": {
        "total_generations": 5, "today_generations": 1, "week_generations": 2}}


# --- export ---

def test_export_holds_everything(client, stack, cluster):
    me = user_id(client)
    client.post("/api/tokens")
    generation = client.post("/api/generations", {"imageUrl": IMAGE, "promptUsed": "п"}).data
    client.post("/api/usage", {"action": "download"})
    cluster.query(stack.database_url, """
        INSERT INTO subscriptions (user_id, plan, status) VALUES (%s, 'pro', 'active');
        WITH paid AS (
            INSERT INTO payments (user_id, amount, status, token_package, tokens_amount,
                                  yookassa_payment_id)
            VALUES (%s, 99.10, 'succeeded', 'small', 10, 'provider-1') RETURNING *)
        INSERT INTO payment_refunds (user_id, id, payment_id, provider_payment_id, amount, currency)
        SELECT user_id, gen_random_uuid(), id, yookassa_payment_id, 9.5, 'RUB' FROM paid""",
                  (me, me))
    hold = "SELECT outcome FROM hold_create(%s, gen_random_uuid(), 1, 60, 'reserved', NULL)"
    assert cluster.value(stack.database_url, hold, (me,)) == "done"
    cluster.query(stack.database_url,
                  "INSERT INTO user_uploads (user_id, url) VALUES (%s, repeat('п', 10000))", (me,))
    answer, lines = export(client)
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert "attachment" in answer.headers["Content-Disposition"]
    assert answer.headers["Cache-Control"] == "no-store"
    by_type = {}
    for line in lines:
        by_type.setdefault(line["type"], []).append(line)
    assert {name: len(found) for name, found in by_type.items()} == {
        "user": 1, "identity": 1, "subscription": 1, "payment": 1, "refund": 1, "transaction": 2,
        "hold": 1, "generation": 1, "upload": 1, "usage": 2, "kept_after_erasure": 1, "end": 1}
    assert lines[-1] == {"type": "end", "lines": len(lines) - 1}
    assert by_type["user"][0]["id"] == me
    assert by_type["user"][0]["deviceId"] == client.device
    assert by_type["identity"][0]["identity"] == f"device:{client.device}"
    assert by_type["payment"][0]["amount"] == "99.10"
    assert by_type["payment"][0]["providerId"] == "provider-1"
    assert by_type["refund"][0]["amount"] == "9.50"
    assert by_type["refund"][0]["paymentId"] == by_type["payment"][0]["id"]
    assert by_type["generation"][0]["id"] == generation["generation"]["id"]
    assert by_type["generation"][0]["promptUsed"] == "п"
    assert (by_type["hold"][0]["description"], by_type["hold"][0]["amount"],
            by_type["hold"][0]["status"]) == ("reserved", 1, "pending")
    assert by_type["kept_after_erasure"][0]["identityDigestDays"] == 365
    assert by_type["upload"][0]["url"] == "п" * 8192


def test_export_is_ones_own(client, stack):
    other = stack.client()
    other.post("/api/generations", {"imageUrl": "https://images.example/secret.png"})
    client.get("/api/tokens")
    body = client.get("/api/user/export").body.decode()
    assert other.device not in body and "secret.png" not in body
    assert user_id(other) not in body


@pytest.mark.seconds(180)
def test_a_large_export_streams(cluster, database, binaries):
    """200,000 rows, and the handler's memory does not grow with them."""
    rows = 100_000
    with Handler(binaries, "user", POSTGRES_URL=database) as handler:
        device = "device_large_export_000001"
        assert handler.request("GET", "/api/user", device=device).status == 200
        cluster.query(database, """
            INSERT INTO generations (user_id, id, image_url, prompt_used, created_at)
            SELECT u.id, gen_random_uuid(), repeat('u', 100), repeat('p', 300),
                   timestamp '2024-01-01' + n / 10 * interval '1 second'
            FROM users u, generate_series(1, %s) n;
            INSERT INTO token_transactions (user_id, id, amount, type, balance_after, created_at)
            SELECT u.id, gen_random_uuid(), 1, 'purchase', n,
                   timestamp '2024-01-01' + n / 10 * interval '1 second'
            FROM users u, generate_series(1, %s) n;
            ANALYZE""", (rows, rows))
        before = resident_kib(handler.process.pid)
        answer = handler.request("GET", "/api/user/export", device=device)
        grown = resident_kib(handler.process.pid, "VmHWM") - before
        lines = answer.body.decode().splitlines()
        assert json.loads(lines[-1]) == {"type": "end", "lines": len(lines) - 1}
        # user, what is kept, identity, rows, welcome bonus, end
        assert len(lines) == 2 + 1 + 2 * rows + 1 + 1
        kinds = {"generation": set(), "transaction": set()}
        for line in lines[3:-1]:
            entry = json.loads(line)
            kinds[entry["type"]].add(entry["id"])
        assert {name: len(ids) for name, ids in kinds.items()} == {
            "generation": rows, "transaction": rows + 1}
    # The body has about 80 MB. AddressSanitizer keeps freed memory aside: 256 MB of it at most.
    limit = 64 * 1024 if "/asan/" not in binaries else 400 * 1024
    assert grown < limit, f"{grown} KiB more for {len(answer.body)} bytes"


def test_a_client_that_leaves_during_an_export(cluster, database, binaries):
    with Handler(binaries, "user", POSTGRES_URL=database, THREADS="2") as handler:
        device = "device_leaving_export_0001"
        handler.request("GET", "/api/user", device=device)
        cluster.query(database, """
            INSERT INTO generations (user_id, id, image_url)
            SELECT u.id, gen_random_uuid(), repeat('u', 1000) FROM users u,
            generate_series(1, 20000)""")
        for _ in range(6):
            with handler.connect() as connection:
                params = parameters("GET", "/api/user/export", device)
                connection.send(begin() + stream(PARAMS, name_values(params)) + stream(STDIN, b""))
                connection.socket.recv(4096)
        assert handler.request("GET", "/api/user", device=device).status == 200


# --- erasure ---

@pytest.mark.quick
def test_erasing_keeps_the_books_and_forgets_the_person(client, stack, cluster):
    me = user_id(client)
    bonus = client.post("/api/tokens").data
    client.post("/api/generations", {"imageUrl": IMAGE, "promptUsed": "private"})
    client.post("/api/usage", {"action": "download"})
    cluster.query(stack.database_url, """
        UPDATE users SET email = 'p@example.org' WHERE id = %s;
        INSERT INTO subscriptions (user_id, plan, status) VALUES (%s, 'pro', 'active');
        INSERT INTO payments (user_id, amount, status) VALUES (%s, 99, 'succeeded')""",
                  (me, me, me))
    answer = client.delete("/api/user")
    assert answer.status in (200, 204)

    def value(text):
        return cluster.value(stack.database_url, text, (me,))
    assert value("SELECT count(*) FROM users WHERE id = %s AND clerk_id IS NULL AND device_id IS"
                 " NULL AND email IS NULL AND erased_at IS NOT NULL") == 1
    assert value("SELECT count(*) FROM user_identities WHERE user_id = %s") == 0
    assert value("SELECT count(*) FROM generations WHERE user_id = %s") == 0
    assert value("SELECT count(*) FROM usage_logs WHERE user_id = %s") == 0
    assert value("SELECT balance FROM user_tokens WHERE user_id = %s") == bonus["balance"]
    assert value("SELECT sum(amount) FROM token_transactions WHERE user_id = %s") == (
        bonus["balance"])
    assert value("SELECT count(*) FROM payments WHERE user_id = %s") == 1
    assert value("SELECT status FROM subscriptions WHERE user_id = %s") == "cancelled"
    dump = "".join(cluster.value(stack.database_url, f"SELECT coalesce(string_agg(t::text, ''), '')"
                                 f" FROM {table} t")
                   for table in ("users", "user_identities", "generations", "usage_logs",
                                 "token_transactions", "payments", "subscriptions"))
    assert client.device not in dump and "private" not in dump and "p@example.org" not in dump


@pytest.mark.quick
def test_the_same_device_starts_anew(client, stack):
    """Every handler forgets the old account at once, cached or not."""
    me = user_id(client)
    for path in ("/api/tokens", "/api/generations", "/api/usage", "/api/stats", "/api/tokens"):
        client.get(path)
    client.post("/api/tokens")
    client.post("/api/generations", {"imageUrl": IMAGE})
    client.delete("/api/user")
    data = client.get("/api/tokens").data
    assert (data["balance"], data["canClaimBonus"]) == (0, False), "both bonuses are once a person"
    assert user_id(client) != me
    assert client.get("/api/generations").data["total"] == 0
    assert client.get("/api/tokens/transactions").data["transactions"] == []
    assert client.get("/api/usage").data["today"] == {"generation": 0, "download": 0}


def test_erasing_twice(client):
    client.get("/api/tokens")
    assert client.delete("/api/user").status == 204
    assert client.delete("/api/user").status == 204
    data = client.get("/api/tokens").data
    assert (data["balance"], data["canClaimBonus"]) == (0, True)


def test_bonuses_and_limits_are_once_a_person(stack, cluster):
    """However often a person erases the account and comes back."""
    client, tokens, claimed, made = stack.client(), 0, 0, 0
    for first in (True, False, False):
        tokens += client.get("/api/tokens").data["balance"]
        bonus = client.post("/api/tokens")
        if bonus.status == 200:
            claimed, tokens = claimed + 1, tokens + bonus.data["tokensAwarded"]
        made += sum(client.post("/api/generations", {"imageUrl": IMAGE}).status == 201
                    for _ in range(11))
        download = client.post("/api/usage", {"action": "download"})
        assert download.status == (201 if first else 429), download
        assert client.delete("/api/user").status == 204
    assert (claimed, made) == (1, 10) and 6 <= tokens <= 15
    assert client.get("/api/tokens").data["balance"] == 0
    # What outlives it: the digest, and for a day what the limits need. Nothing of the identity.
    rows = cluster.query(stack.database_url, "SELECT t::text FROM erased_identities t")
    assert rows and not any(client.device in row[0] for row in rows)
    with open(f"{stack.run_dir}/handlers.env", encoding="utf-8") as file:
        settings = dict(item.split("=", 1) for item in file.read().split("\0") if item)
    digest = hmac.new(settings["IDENTITY_DIGEST_KEY"].encode(), f"device:{client.device}".encode(),
                      hashlib.sha256).hexdigest()
    assert cluster.value(stack.database_url, "SELECT count(*) FROM erased_identities"
                         " WHERE digest = %s", (digest,)) == 1
    client.close()


def test_erasing_needs_the_key(database, make_handler):
    """Without it every erasure would give all bonuses once more: refused, nothing is done."""
    handler = make_handler("user", POSTGRES_URL=database, IDENTITY_DIGEST_KEY="")
    device = new_device()
    me = handler.request("GET", "/api/user", device=device).data["user"]["id"]
    answer = handler.request("DELETE", "/api/user", device=device)
    assert (answer.status, answer.code) == (500, "not_configured")
    assert handler.request("GET", "/api/user", device=device).data["user"]["id"] == me


def test_erasing_touches_nobody_else(client, stack):
    other = stack.client()
    other.post("/api/generations", {"imageUrl": IMAGE})
    theirs = user_id(other)
    client.get("/api/tokens")
    client.delete("/api/user")
    assert user_id(other) == theirs
    assert other.get("/api/generations").data["total"] == 1


def test_erasing_during_use_leaves_one_account(stack, cluster):
    """Reads, writes and erasures of one device at once: no failure, and nothing is orphaned."""
    device = stack.client().device
    failures = []

    def work(method, path, body, count):
        client = stack.client(device)
        for _ in range(count):
            answer = client.request(method, path, body=body)
            if answer.status >= 500:
                failures.append((method, path, answer))
        client.close()
    jobs = [("GET", "/api/tokens", None, 40), ("POST", "/api/tokens", None, 20),
            ("GET", "/api/user", None, 40), ("POST", "/api/usage", b'{"action":"download"}', 20),
            ("POST", "/api/generations", json.dumps({"imageUrl": IMAGE}).encode(), 10),
            ("DELETE", "/api/user", None, 10), ("GET", "/api/user/export", None, 10)]
    threads = [threading.Thread(target=work, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, (failures[:3], [event for event in stack.all_events()
                                         if event.get("level") == "error"][-3:])
    assert stack.client(device).get("/api/tokens").status == 200
    orphans = cluster.value(stack.database_url, """
        SELECT count(*) FROM user_identities i
        WHERE NOT EXISTS (SELECT 1 FROM users u WHERE u.id = i.user_id AND u.erased_at IS NULL)""")
    assert orphans == 0
    kept = cluster.query(stack.database_url, """
        SELECT (SELECT count(*) FROM generations g WHERE g.user_id = u.id),
               (SELECT count(*) FROM usage_logs l WHERE l.user_id = u.id)
        FROM users u WHERE u.erased_at IS NOT NULL""")
    assert set(kept) == {(0, 0)}, "something was stored for a person already erased"
    wrong = cluster.value(stack.database_url, """
        SELECT count(*) FROM user_tokens t WHERE t.balance <>
        (SELECT coalesce(sum(amount), 0) FROM token_transactions e WHERE e.user_id = t.user_id)""")
    assert wrong == 0


def test_shared_memory_is_the_owners_alone(stack):
    for path in glob.glob(stack.instance["SHARED_MEMORY"] + ".*"):
        assert os.stat(path).st_mode & 0o777 == 0o600
