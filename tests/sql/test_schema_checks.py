"""What the schema refuses, whatever a statement does."""

import psycopg2
import pytest

from tests.support.sessions import DEVICE


@pytest.mark.parametrize("text, error", [
    ("UPDATE user_tokens SET balance = -1", psycopg2.errors.CheckViolation),
    ("UPDATE user_tokens SET held = balance + 1", psycopg2.errors.CheckViolation),
    ("UPDATE user_tokens SET held = -1", psycopg2.errors.CheckViolation),
    ("UPDATE users SET device_id = NULL", psycopg2.errors.CheckViolation),
    ("DELETE FROM users", psycopg2.errors.ForeignKeyViolation),
    ("INSERT INTO token_transactions (user_id, amount, type, balance_after)"
     " SELECT id, 1, 'gift', 6 FROM users", psycopg2.errors.CheckViolation),
    ("INSERT INTO token_transactions (user_id, amount, type) SELECT id, 1, 'bonus' FROM users",
     psycopg2.errors.NotNullViolation),
    ("INSERT INTO token_holds (user_id, id, amount, expires_at, answer_balance, answer_held)"
     " SELECT id, id, 0, now(), 0, 0 FROM users", psycopg2.errors.CheckViolation),
    ("INSERT INTO token_holds (user_id, id, amount, status, expires_at, answer_balance,"
     " answer_held) SELECT id, id, 1, 'captured', now(), 0, 0 FROM users",
     psycopg2.errors.CheckViolation),
    (f"INSERT INTO users (device_id) VALUES ('{DEVICE}')",
     psycopg2.errors.UniqueViolation),
])
@pytest.mark.usefixtures("user")
def test_the_schema_refuses(run, text, error):
    with pytest.raises(error):
        run(text)


def test_one_active_subscription(run, user):
    insert = "INSERT INTO subscriptions (user_id, plan, status) VALUES (%s, 'pro', %s)"
    run(insert, user, "active")
    run(insert, user, "expired")
    with pytest.raises(psycopg2.errors.UniqueViolation):
        run(insert, user, "active")
