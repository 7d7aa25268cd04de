"""Accounts in the database: opened with a bonus, linked, erased, opened again."""

import pytest

from tests.support.account_rows import CALLERS, GENERATION, USAGE, ledger
from tests.support.sessions import DEVICE, ERASE, at_once, new_id, open_account, query_text


# --- initialize_new_user ---

@pytest.mark.parametrize("identity, bonus", [
    ({"clerk_id": "user_1"}, 10), ({"device_id": "device_1"}, 5),
    ({"clerk_id": "user_1", "device_id": "device_1"}, 10)])
def test_welcome_bonus(run, identity, bonus):
    user = open_account(run, **identity)
    assert ledger(run, user) == (bonus, [(bonus, "bonus", bonus)])
    assert run("SELECT id FROM token_transactions") == [(user,)], "so that there is only one"


@pytest.mark.parametrize("value, expected", [
    (7, (7, [(7, "bonus", 7)])), (0, (0, [])), (-3, (0, []))])
def test_welcome_bonus_is_a_setting(run, value, expected):
    run("UPDATE app_settings SET value = %s WHERE name = 'welcome_bonus_device'", value)
    assert ledger(run, open_account(run, device_id="device_1")) == expected


def test_no_welcome_bonus_without_its_setting(run):
    run("DELETE FROM app_settings")
    assert ledger(run, open_account(run, device_id="device_1")) == (0, [])


def test_an_account_made_again_gets_no_second_bonus(run, user):
    run("DELETE FROM user_identities")
    run("ALTER TABLE user_tokens DROP CONSTRAINT user_tokens_user_id_fkey")
    run("DELETE FROM users")
    run("INSERT INTO users (id, device_id) VALUES (%s, %s)", user, DEVICE)
    assert ledger(run, user) == (5, [(5, "bonus", 5)])


def test_a_failed_sign_up_leaves_nothing(cluster, database, run):
    with cluster.connect(database, autocommit=False) as connection:
        connection.cursor().execute("INSERT INTO users (device_id) VALUES ('device_1')")
        connection.rollback()
    for table in ("users", "user_tokens", "token_transactions"):
        assert run(f"SELECT * FROM {table}") == []


# --- account_open ---

OPEN = "SELECT user_id FROM account_open(%s, %s, %s, %s, NULL, %s, %s)"


def opened(run, device, digest=None, address="203.0.113.1"):
    """Opens an account for a device; returns its balance."""
    user = run(OPEN, new_id(), "device:" + device, None, device, digest, address)[0][0]
    return ledger(run, user)[0]


def test_welcome_bonuses_of_an_address(run):
    """Beyond the setting an account opens without the bonus; nobody is refused, no other hit."""
    run("UPDATE app_settings SET value = 3 WHERE name = 'anonymous_bonuses_per_hour'")
    assert [opened(run, f"device_{number}") for number in range(5)] == [5, 5, 5, 0, 0]
    assert run("SELECT count(*) FROM address_uses") == [(3,)], "nothing is written beyond"
    assert opened(run, "device_elsewhere", address="203.0.113.2") == 5
    assert opened(run, "device_nowhere", address="") == 5
    user = run(OPEN, new_id(), "clerk:user_1", "user_1", None, None, "203.0.113.1")[0][0]
    assert ledger(run, user)[0] == 10
    assert opened(run, "device_0") == 5, "it has its account, and its bonus"
    run("UPDATE address_uses SET used_at = used_at - interval '59 minutes'")
    assert opened(run, "device_late") == 0
    run("UPDATE address_uses SET used_at = used_at - interval '1 minute'")
    assert opened(run, "device_later") == 5


def test_welcome_bonuses_of_an_ipv6_network(run):
    run("UPDATE app_settings SET value = 2 WHERE name = 'anonymous_bonuses_per_hour'")
    assert [opened(run, f"device_{number}", address=f"2001:db8:1:2::{number}")
            for number in range(4)] == [5, 5, 0, 0]
    assert opened(run, "device_of_a_neighbour", address="2001:db8:1:3::1") == 5


def test_welcome_bonuses_at_once(cluster, database, run):
    run("UPDATE app_settings SET value = 7 WHERE name = 'anonymous_bonuses_per_hour'")
    at_once(cluster, database, OPEN, [
        (new_id(), f"device:device_{number}", None, f"device_{number}", None, "203.0.113.1")
        for number in range(CALLERS)])
    assert run("SELECT balance, count(*)::int FROM user_tokens GROUP BY 1 ORDER BY 1") == [
        (0, CALLERS - 7), (5, 7)]


def test_a_device_is_linked_whatever_its_address_got(run):
    """Adoption and linking do not count; what was withheld is withheld from the device alone."""
    run("UPDATE app_settings SET value = 0 WHERE name = 'anonymous_bonuses_per_hour'")
    assert opened(run, "device_0") == 0
    device = run("SELECT id FROM users")[0][0]
    account = run(OPEN, new_id(), "clerk:user_1", "user_1", None, None, "203.0.113.1")[0][0]
    assert run("SELECT outcome FROM device_link(%s, %s, %s, %s)", account, device, new_id(),
               new_id()) == [("linked",)]
    assert ledger(run, account)[0] == 10
    open_account(run, device_id="device_of_the_original")
    assert run("SELECT count(*) FROM address_uses") == [(0,)]


def test_an_erased_person_comes_back(run):
    """No welcome bonus, and the daily bonus and the limits as they were; then all is forgotten."""
    identity, device = "device:device_0", "device_0"
    digests = ["digest of device_0"]
    user = run(OPEN, new_id(), identity, None, device, *digests, "203.0.113.1")[0][0]
    assert ledger(run, user)[0] == 5
    run("SELECT outcome FROM token_claim_bonus(%s, %s, NULL)", user, new_id())
    assert run(USAGE, user, new_id(), "generation", "203.0.113.1")[0][0] == "done"
    assert run("SELECT outcome FROM user_erase(%s, %s, %s)", user, [identity], digests) == [
        ("erased",)]
    assert run("SELECT digest FROM erased_identities") == [tuple(digests)]
    user = run(OPEN, new_id(), identity, None, device, *digests, "203.0.113.1")[0][0]
    assert ledger(run, user) == (0, [])
    assert run("SELECT outcome FROM token_claim_bonus(%s, %s, NULL)", user, new_id()) == [
        ("claimed",)]
    for action in ("generation", "download"):
        assert run(USAGE, user, new_id(), action, "203.0.113.1")[0][0] == "limited"
    # Again, without having used anything: what came before is not forgotten by that.
    run("SELECT outcome FROM user_erase(%s, %s, %s)", user, [identity], digests)
    user = run(OPEN, new_id(), identity, None, device, *digests, "203.0.113.1")[0][0]
    assert run(USAGE, user, new_id(), "download", None)[0][0] == "limited"
    # A minute later, and a day later.
    run("UPDATE users SET used_before = used_before - interval '1 minute'")
    assert run(USAGE, user, new_id(), "download", None)[0][0] == "done"
    run("UPDATE user_tokens SET last_bonus_date = last_bonus_date - 1")
    assert run("SELECT outcome FROM token_claim_bonus(%s, %s, NULL)", user, new_id()) == [("done",)]


def test_free_generations_are_once_a_person(run):
    run("UPDATE plans SET daily_generations = 3 WHERE plan = 'free'")
    identity, digests = "device:device_0", ["digest of device_0"]
    status = query_text("token_status").replace("%(p1)s", "%s")
    user = run(OPEN, new_id(), identity, None, "device_0", *digests, "")[0][0]
    run(USAGE, user, new_id(), "generation", None)
    assert run(status, user)[0][-2:] == (3, 1)
    run("SELECT outcome FROM user_erase(%s, %s, %s)", user, [identity], digests)
    user = run(OPEN, new_id(), identity, None, "device_0", *digests, "")[0][0]
    assert run(status, user)[0][-2:] == (3, 3)
    flight = run(query_text("token_status_flight").replace("%(p1)s", "%s"), [user])
    assert flight[0][-2:] == (3, 3)
    run("UPDATE users SET used_before = used_before - interval '1 day'")
    assert run(status, user)[0][-2:] == (3, 0)


def test_erasing_with_identities_that_changed(run, user):
    """An identity that came after they were read would leave no digest: they are read again."""
    run("INSERT INTO user_identities VALUES ('device:late', %s)", user)
    call = ("SELECT outcome FROM user_erase(%s, %s, %s)", user)
    assert run(*call, ["device:" + DEVICE], ["a"]) == [("changed",)]
    assert run("SELECT count(*) FROM users WHERE erased_at IS NOT NULL") == [(0,)]
    assert run(*call, ["device:" + DEVICE, "device:late", "device:foreign"], ["a", "b", "c"]) == [
        ("erased",)]
    assert run("SELECT digest FROM erased_identities ORDER BY 1") == [("a",), ("b",)]


def test_what_counts_no_more_is_swept(run):
    """After an hour, a day and a year; in pieces."""
    run("INSERT INTO address_uses SELECT '203.0.113.1', 'welcome', (now() AT TIME ZONE 'utc')"
        " - n * interval '20 minutes' FROM generate_series(0, 8) n")
    run("INSERT INTO erased_identities SELECT 'digest ' || n, (now() AT TIME ZONE 'utc')"
        " - n * interval '10 hours', current_date, now() AT TIME ZONE 'utc'"
        " FROM generate_series(0, 3) n")
    run("INSERT INTO erased_identities VALUES ('old', (now() AT TIME ZONE 'utc')"
        " - interval '366 days', NULL, NULL)")
    assert run("SELECT person_sweep(4)") == [(4 + 1 + 1,)]
    assert run("SELECT person_sweep(4)") == [(2,)]
    assert run("SELECT person_sweep(4)") == [(0,)]
    assert run("SELECT count(*) FROM address_uses") == [(3,)]
    assert run("SELECT digest, last_bonus_date IS NULL, last_used_at IS NULL FROM erased_identities"
               " ORDER BY 1") == [("digest 0", False, False), ("digest 1", False, False),
                                  ("digest 2", False, False), ("digest 3", True, True)]
    run("UPDATE app_settings SET value = 0 WHERE name = 'erased_identity_days'")
    assert run("SELECT person_sweep(10)") == [(4,)]


# --- user_erase ---

def fill_account(run, user):
    """Gives the account a row of everything."""
    run("UPDATE users SET email = 'mark', telegram_id = 'mark', first_name = 'mark',"
        " last_name = 'mark', username = 'mark', photo_url = 'mark', language_code = 'mark',"
        " vk_id = 'mark', yandex_id = 'mark', password_hash = 'mark'")
    run("INSERT INTO user_uploads (user_id, url) VALUES (%s, 'url')", user)
    run(GENERATION, user, new_id(), "url", "prompt", None, None, "203.0.113.1")
    run("INSERT INTO payments (user_id, amount, status) VALUES (%s, 99, 'succeeded')", user)
    run("INSERT INTO subscriptions (user_id, plan, status) VALUES (%s, 'pro', 'active')", user)


def test_erasing_keeps_the_books(run, user):
    fill_account(run, user)
    before = ledger(run, user)
    assert run(ERASE, user) == [("erased",)]
    assert ledger(run, user) == before
    assert run("SELECT id, clerk_id, device_id, email, erased_at IS NOT NULL FROM users") == [
        (user, None, None, None, True)]
    assert run("SELECT count(*) FROM users u WHERE u::text LIKE '%%mark%%'") == [(0,)]
    assert run("SELECT user_id, status FROM subscriptions") == [(user, "cancelled")]
    assert run("SELECT user_id, amount::int FROM payments") == [(user, 99)]
    for table in ("user_identities", "generations", "usage_logs", "user_uploads"):
        assert run(f"SELECT count(*) FROM {table}") == [(0,)]


def test_erasing_again_changes_nothing(run, user):
    run(ERASE, user)
    erased_at = run("SELECT erased_at FROM users")
    assert run(ERASE, user) == [("erased",)]
    assert run("SELECT erased_at FROM users") == erased_at
    assert run(ERASE, new_id()) == [("gone",)]


def test_erasing_one_leaves_the_others(run, user):
    other = open_account(run, device_id="device_of_somebody_else_1")
    run(GENERATION, other, new_id(), "url", None, None, None, None)
    run(ERASE, user)
    assert run("SELECT id FROM users WHERE erased_at IS NULL") == [(other,)]
    assert run("SELECT user_id FROM generations") == [(other,)]


def test_the_same_device_opens_a_new_account(run, user):
    run(ERASE, user)
    again = open_account(run, device_id=DEVICE)
    assert again != user and ledger(run, again)[0] == 5


# --- device_link ---

def test_linking_moves_uploads(run, user):
    account = open_account(run, clerk_id="user_of_the_function_test")
    run("INSERT INTO user_uploads (user_id, url, file_path, quality_score, mime_type)"
        " VALUES (%s, 'url', 'path', 80, 'image/png')", user)
    upload = "SELECT id, url, file_path, quality_score, mime_type, created_at FROM user_uploads"
    before = run(upload)
    assert run("SELECT outcome FROM device_link(%s, %s, %s, %s)", account, user, new_id(),
               new_id()) == [("linked",)]
    assert run(upload) == before and run("SELECT user_id FROM user_uploads") == [(account,)]
