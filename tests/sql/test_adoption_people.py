"""People of an adopted database: their identities, accounts that become one, export, erasure."""

import json

import psycopg2
import pytest

from tests.support import schema_original
from tests.support.postgres import bootstrap
from tests.support.schema_adoption import (
    assert_ledger_is_whole, differences, make_original, rows_by_id)
from tests.support.schema_catalog import assert_same_catalog, catalog


def test_people_of_other_identities(cluster, empty_database, init_db):
    """Who came from Telegram, VK or Yandex alone keeps the account, and the id leads to it."""
    make_original(cluster, empty_database, "newer")
    with cluster.connect(empty_database) as connection:
        schema_original.social(connection.cursor())
    before = rows_by_id(cluster, empty_database)
    bootstrap(empty_database, init_db)
    after = rows_by_id(cluster, empty_database)
    assert list(differences(before, after)) == []
    assert_ledger_is_whole(cluster, empty_database)
    identities = dict(cluster.query(empty_database, "SELECT * FROM user_identities"))
    people = {row["id"]: row for row in before["users"].values()}
    expected = {}
    for kind in ("clerk", "device", "telegram", "vk", "yandex"):
        expected.update({f"{kind}:{row[kind + '_id']}": row["id"] for row in people.values()
                         if row[kind + "_id"]})
    assert identities == expected
    assert {"telegram:42", "vk:43", "yandex:44", "telegram:45", "vk:46", "yandex:47",
            "device:device_of_every_identity_1"} <= set(identities)
    assert cluster.query(empty_database, "SELECT url, created_at::text FROM user_uploads") == [
        ("https://example.org/mark-upload", "2025-04-01 09:00:00")]
    with pytest.raises(psycopg2.errors.UniqueViolation):
        cluster.query(empty_database, "INSERT INTO users (telegram_id) VALUES ('42')")


def test_several_accounts_of_a_telegram_id_become_one(cluster, empty_database, init_db):
    """Nothing of theirs is lost: tokens, entries, images, payments, uploads, identities."""
    make_original(cluster, empty_database, "newer")
    with cluster.connect(empty_database) as connection:
        cursor = connection.cursor()
        schema_original.social(cursor)
        cursor.execute("""
            INSERT INTO users (telegram_id, device_id, username, created_at) VALUES
                ('77', NULL, NULL, '2025-02-01'), ('77', 'device_of_the_second_1', 'named',
                '2025-02-02'), ('77', NULL, 'late', '2025-02-03') RETURNING id""")
        main, second, third = (row[0] for row in cursor.fetchall())
        for user, tokens in ((main, 1), (second, 20), (third, 300)):
            cursor.execute("""
                INSERT INTO token_transactions (user_id, amount, type) VALUES (%s, %s, 'purchase');
                UPDATE user_tokens SET balance = balance + %s, last_bonus_date = '2025-03-02'
                WHERE user_id = %s;
                INSERT INTO generations (user_id, image_url, prompt_used) VALUES (%s, 'u', 'p');
                INSERT INTO usage_logs (user_id, action) VALUES (%s, 'download');
                INSERT INTO payments (user_id, yookassa_payment_id, amount, status)
                VALUES (%s, %s, 99, 'succeeded');
                INSERT INTO subscriptions (user_id, plan, status) VALUES (%s, 'pro', 'active');
                INSERT INTO user_uploads (user_id, url, file_path) VALUES (%s, 'u', 'f')""",
                           (user, tokens, tokens, user, user, user, user, "pay-dup-" + user, user,
                            user))
    before = rows_by_id(cluster, empty_database)
    bootstrap(empty_database, init_db)
    after = rows_by_id(cluster, empty_database)
    for table, rows in before.items():
        assert rows.keys() <= after[table].keys(), table
    assert_ledger_is_whole(cluster, empty_database)
    assert_balances(cluster, empty_database, {main: 321 + 3 * 5, second: 0, third: 0})
    for table in ("generations", "usage_logs", "payments", "subscriptions", "user_uploads"):
        assert dict(cluster.query(empty_database, f"""
            SELECT user_id, count(*) FROM {table} WHERE user_id IN (%s, %s, %s) GROUP BY 1""",
                                  (main, second, third))) == {main: 3}, table
    assert cluster.query(empty_database, """
        SELECT id, telegram_id, username, merged_into FROM users WHERE id IN (%s, %s, %s)
        ORDER BY created_at""", (main, second, third)) == [
        (main, "77", "named", None), (second, None, None, main), (third, None, None, main)]
    assert dict(cluster.query(empty_database, "SELECT * FROM user_identities WHERE user_id"
                                              " IN (%s, %s, %s)", (main, second, third))) == {
        "telegram:77": main, "device:device_of_the_second_1": main}
    assert cluster.query(empty_database, "SELECT status, count(*) FROM subscriptions"
                                         " WHERE user_id = %s GROUP BY 1 ORDER BY 1", (main,)) == [
        ("active", 1), ("expired", 2)]
    schema, rows = catalog(cluster, empty_database), rows_by_id(cluster, empty_database)
    cluster.query(empty_database, "DELETE FROM schema_migrations")
    bootstrap(empty_database, init_db)
    assert_same_catalog(schema, catalog(cluster, empty_database), ("once", "twice"))
    assert rows_by_id(cluster, empty_database) == rows


def assert_balances(cluster, url, expected):
    """The balances of these users, of which those at 0 are closed."""
    found = cluster.query(url, "SELECT user_id, balance, closed_at IS NULL FROM user_tokens"
                               " WHERE user_id = ANY (%s::uuid[])", (list(expected),))
    assert {user: balance for user, balance, _ in found} == expected
    assert {user: is_open for user, _, is_open in found} == {
        user: balance > 0 for user, balance in expected.items()}


def test_an_adopted_person_is_exported_and_erased(cluster, empty_database, init_db, make_handler):
    """All that the original had of a person is in the export, and gone after the erasure."""
    make_original(cluster, empty_database, "newer")
    with cluster.connect(empty_database) as connection:
        schema_original.social(connection.cursor())
    bootstrap(empty_database, init_db)
    handler = make_handler("user", POSTGRES_URL=empty_database)
    device = "device_of_every_identity_1"
    body = handler.request("GET", "/api/user/export", device=device).body.decode()
    lines = [json.loads(line) for line in body.splitlines()]
    user = next(line for line in lines if line["type"] == "user")
    assert {name: user[name] for name in ("telegramId", "firstName", "lastName", "username",
                                          "photoUrl", "languageCode", "vkId", "yandexId")} == {
        "telegramId": "45", "firstName": "mark-first", "lastName": "mark-last",
        "username": "mark-user", "photoUrl": "https://example.org/mark-photo",
        "languageCode": "mark-lang", "vkId": "46", "yandexId": "47"}
    upload = next(line for line in lines if line["type"] == "upload")
    assert {name: value for name, value in upload.items() if name != "id"} == {
        "type": "upload", "url": "https://example.org/mark-upload", "filePath": "uploads/mark-path",
        "qualityScore": 80, "mimeType": "image/jpeg", "createdAt": "2025-04-01T09:00:00.000Z"}
    assert {line["identity"] for line in lines if line["type"] == "identity"} == {
        f"device:{device}", "telegram:45", "vk:46", "yandex:47"}
    assert "mark-hash" not in body, "a password's digest is nobody's to read"

    assert handler.request("DELETE", "/api/user", device=device).status == 204
    left = cluster.query(empty_database, """
        SELECT u::text FROM users u WHERE u.erased_at IS NOT NULL
        UNION ALL SELECT f::text FROM user_uploads f
        UNION ALL SELECT i::text FROM user_identities i WHERE i.identity ~ '4[567]|every'""")
    assert len(left) == 1 and "mark" not in left[0][0]
    assert not any(f",{number}," in left[0][0] for number in (45, 46, 47))
