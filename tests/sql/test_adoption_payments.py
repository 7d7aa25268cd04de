"""Payments and subscriptions of an adopted database: none is credited twice, none is lost."""

from tests.support.movements import books
from tests.support.payment_rows import Payments, call
from tests.support.postgres import bootstrap
from tests.support.schema_adoption import make_original


def test_payments_of_the_original(cluster, empty_database, init_db):
    """What it credited is not credited again; what was pending is looked at and credited once."""
    make_original(cluster, empty_database, "older")
    user = cluster.value(empty_database, "SELECT id FROM users ORDER BY created_at LIMIT 1")
    cluster.query(empty_database, """
        INSERT INTO payments (user_id, yookassa_payment_id, amount, status, token_package,
                              tokens_amount)
        VALUES (%(user)s, 'paid', 99, 'succeeded', 'small', 10),
               (%(user)s, 'pending', 99, 'pending', 'small', 10),
               (%(user)s, 'plan', 999, 'pending', 'pro', NULL),
               (%(user)s, NULL, 99, 'pending', 'small', 10),
               (%(user)s, 'failed', 99, 'failed', 'small', 10)""", {"user": user})
    bootstrap(empty_database, init_db)
    rows = cluster.query(empty_database, """
        SELECT coalesce(p.yookassa_payment_id, 'none'), p.purpose, p.plan,
               p.next_check_at IS NOT NULL, r.payment_id = p.id AND r.user_id = p.user_id
        FROM payments p LEFT JOIN payment_references r ON r.provider_id = p.yookassa_payment_id
        WHERE p.user_id = %s AND p.yookassa_payment_id NOT LIKE 'pay-%%'
           OR p.yookassa_payment_id IS NULL ORDER BY 1""", (user,))
    assert rows == [("failed", "tokens", None, False, True), ("none", "tokens", None, False, None),
                    ("paid", "tokens", None, False, True), ("pending", "tokens", None, True, True),
                    ("plan", "subscription", "pro", True, True)]
    with books(cluster, empty_database) as session:
        payments = Payments(session.run)
        assert len(call(session.run, "payment_claim_due", 10, 60)) == 2
        expected = {"paid": ("unchanged", None), "pending": ("applied", None),
                    "plan": ("applied", None), "failed": ("conflict", "way_back")}
        for name, answer in expected.items():
            found = session.run("SELECT id, amount::text FROM payments"
                                " WHERE yookassa_payment_id = %s", name)[0]
            assert payments.apply(user, found[0], "succeeded", name, amount=found[1]) == answer
        assert payments.credits(user) == [10]
        assert call(session.run, "user_profile", user)[0][6] == "pro"
        assert payments.verify() == []


def test_stars_of_the_original_are_left_alone(cluster, empty_database, init_db):
    """Payments in Telegram's stars are unknown to the provider, which is not asked for them."""
    make_original(cluster, empty_database, "older")
    cluster.query(empty_database, """
        INSERT INTO payments (user_id, yookassa_payment_id, amount, currency, status, token_package,
                              tokens_amount)
        SELECT (SELECT id FROM users ORDER BY created_at LIMIT 1), p.* FROM (VALUES
            ('telegram_stars_1', 75, 'XTR', 'pending', 'small', 10),
            ('a-charge', 75, 'XTR', 'pending', 'small', 10),
            ('telegram_stars_2', 75, 'RUB', 'pending', 'small', 10)) p""")
    stars = ("SELECT * FROM payments WHERE currency = 'XTR' OR yookassa_payment_id LIKE"
             " 'telegram%' ORDER BY yookassa_payment_id")
    bootstrap(empty_database, init_db)
    rows = cluster.query(empty_database, stars)
    assert len(rows) == 3
    assert cluster.query(empty_database, "SELECT provider_id FROM payment_references"
                                         " WHERE provider_id NOT LIKE 'pay-%'") == []
    assert cluster.query(empty_database, "SELECT id FROM payments"
                                         " WHERE next_check_at IS NOT NULL") == []
    with books(cluster, empty_database) as session:
        assert call(session.run, "payment_claim_due", 10, 60) == []
        assert Payments(session.run).verify() == []

    # As the version before had adopted them.
    cluster.query(empty_database, "UPDATE payments SET next_check_at = now()"
                                  " WHERE yookassa_payment_id LIKE 'telegram%'")
    cluster.query(empty_database, "INSERT INTO payment_references SELECT yookassa_payment_id,"
                                  " user_id, id FROM payments WHERE yookassa_payment_id"
                                  " LIKE 'telegram%'")
    cluster.query(empty_database, "DELETE FROM schema_migrations")
    bootstrap(empty_database, init_db)
    assert cluster.query(empty_database, stars) == rows
    assert cluster.query(empty_database, "SELECT provider_id FROM payment_references"
                                         " WHERE provider_id NOT LIKE 'pay-%'") == []


def test_subscriptions_of_the_original(cluster, empty_database, init_db):
    """They end with their period, whatever their plan is called; one without an end goes on."""
    make_original(cluster, empty_database, "newer", mess=True)
    cluster.query(empty_database, "UPDATE subscriptions SET current_period_end = '2025-01-01'"
                                  " WHERE plan = 'beta'")
    bootstrap(empty_database, init_db)
    before = cluster.query(empty_database, "SELECT id, plan FROM subscriptions"
                                           " WHERE status = 'active' ORDER BY id")
    with books(cluster, empty_database) as session:
        assert call(session.run, "subscription_claim_due", 10, 60) == []
        after = session.run("SELECT id, plan FROM subscriptions WHERE status = 'active'"
                            " ORDER BY id")
    assert after == [row for row in before if row[1] != "beta"] and len(after) < len(before)
