"""What the functions of the schema do, called as the handlers call them."""

import psycopg2
import pytest

from tests.support.sessions import ERASE, at_once, new_id, open_account, query_text

CALLERS = 50


@pytest.fixture
def run(cluster, database):
    """Runs one statement in the test's database and returns its rows."""
    with cluster.connect(database) as connection:
        cursor = connection.cursor()

        def execute(text, *values):
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else None
        yield execute


@pytest.fixture
def user(run):
    """A new anonymous account."""
    return open_account(run, device_id="device_of_the_function_test")


def ledger(run, user):
    """The user's balance and entries, oldest first."""
    balance = run("SELECT balance FROM user_tokens WHERE user_id = %s", user)
    entries = run("SELECT amount, type, balance_after FROM token_transactions WHERE user_id = %s"
                  " ORDER BY created_at, id", user)
    return balance[0][0] if balance else None, entries


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
    run("INSERT INTO users (id, device_id) VALUES (%s, 'device_of_the_function_test')", user)
    assert ledger(run, user) == (5, [(5, "bonus", 5)])


def test_a_failed_sign_up_leaves_nothing(cluster, database, run):
    with cluster.connect(database, autocommit=False) as connection:
        connection.cursor().execute("INSERT INTO users (device_id) VALUES ('device_1')")
        connection.rollback()
    for table in ("users", "user_tokens", "token_transactions"):
        assert run(f"SELECT * FROM {table}") == []


# --- token_claim_bonus ---

CLAIM = "SELECT outcome, tokens_awarded, balance FROM token_claim_bonus(%s, %s, NULL)"
CLAIM_KEYED = "SELECT outcome, tokens_awarded, balance FROM token_claim_bonus(%s, %s, %s)"


def test_bonus_is_claimed_once_a_day(run, user):
    outcome, awarded, balance = run(CLAIM, user, new_id())[0]
    assert outcome == "done" and 1 <= awarded <= 10 and balance == 5 + awarded
    assert run(CLAIM, user, new_id()) == [("claimed", 0, balance)]
    assert ledger(run, user) == (balance, [(5, "bonus", 5), (awarded, "bonus", balance)])
    assert run("SELECT last_bonus_date = (now() AT TIME ZONE 'utc')::date FROM user_tokens")[0][0]


def test_bonus_comes_again_the_next_day(run, user):
    run("UPDATE user_tokens SET last_bonus_date = (now() AT TIME ZONE 'utc')::date - 1")
    assert run(CLAIM, user, new_id())[0][0] == "done"


def test_repeated_claim_gets_the_same_answer(run, user):
    operation = new_id()
    _, awarded, balance = run(CLAIM, user, operation)[0]
    for _ in range(2):
        assert run(CLAIM, user, operation) == [("replayed", awarded, balance)]
        assert run(CLAIM, user, new_id())[0][0] == "claimed"
    run("SELECT ledger_post(%s, %s, 7, 'purchase', NULL, NULL)", user, new_id())
    assert run(CLAIM, user, operation) == [("replayed", awarded, balance)], "as it was then"


def test_claim_with_a_key(run, user):
    operation = new_id()
    _, awarded, balance = run(CLAIM_KEYED, user, operation, 7)[0]
    assert run(CLAIM_KEYED, user, operation, 7) == [("replayed", awarded, balance)]
    assert run(CLAIM_KEYED, user, operation, 8)[0][0] == "reused"
    assert run(CLAIM, user, operation)[0][0] == "reused"
    assert len(ledger(run, user)[1]) == 2


def test_claim_repeated_after_midnight_is_still_the_first(run, user):
    operation = new_id()
    _, awarded, balance = run(CLAIM, user, operation)[0]
    run("UPDATE user_tokens SET last_bonus_date = last_bonus_date - 1")
    assert run(CLAIM, user, operation) == [("replayed", awarded, balance)]
    assert len(ledger(run, user)[1]) == 2
    assert run(CLAIM, user, new_id())[0][0] == "done"


def test_bonus_amount_is_a_setting(run, user):
    run("UPDATE app_settings SET value = 42 WHERE name LIKE 'daily_bonus%%'")
    assert run(CLAIM, user, new_id()) == [("done", 42, 47)]


def test_bonus_covers_its_range(run):
    seen = set()
    for number in range(200):
        user = open_account(run, device_id=f"device_{number}")
        seen.add(run(CLAIM, user, new_id())[0][1])
    assert seen == set(range(1, 11)), "of 200 draws; one of 10 misses once in 10^8"


def test_claim_tells_what_can_be_spent(run, user):
    run("SELECT hold_create(%s, %s, 3, 600, NULL, NULL)", user, new_id())
    operation = new_id()
    outcome, awarded, balance = run(CLAIM, user, operation)[0]
    assert outcome == "done" and balance == 5 + awarded - 3
    assert run(CLAIM, user, new_id()) == [("claimed", 0, balance)]
    assert run(CLAIM, user, operation) == [("replayed", awarded, balance)]


def test_bonus_stops_at_the_largest_balance(run, user):
    run("SELECT ledger_post(%s, %s, 2147483640, 'purchase', NULL, NULL)", user, new_id())
    run("UPDATE app_settings SET value = 42 WHERE name LIKE 'daily_bonus%%'")
    assert run(CLAIM, user, new_id()) == [("done", 2, 2147483647)]


def test_claim_of_nobody_and_of_an_erased_account(run, user):
    assert run(CLAIM, new_id(), new_id()) == []
    run(ERASE, user)
    assert run(CLAIM, user, new_id()) == []


def test_claims_at_once(cluster, database, run, user):
    answers = at_once(cluster, database, CLAIM, [(user, new_id()) for _ in range(CALLERS)])
    assert sorted(answer[0][0] for answer in answers) == ["claimed"] * (CALLERS - 1) + ["done"]
    assert len({answer[0][2] for answer in answers}) == 1, "every answer has the new balance"
    assert len(ledger(run, user)[1]) == 2


def test_one_claim_sent_many_times_at_once(cluster, database, run, user):
    answers = at_once(cluster, database, CLAIM, [(user, new_id())] * CALLERS)
    assert len({answer[0][1:] for answer in answers}) == 1
    assert sorted(answer[0][0] for answer in answers) == ["done"] + ["replayed"] * (CALLERS - 1)
    assert len(ledger(run, user)[1]) == 2


# --- usage_record ---

USAGE = ("SELECT outcome, used, usage_limit, reset_at"
         " FROM usage_record(%s, %s, %s, %s, false, NULL)")
USAGE_BY_ADDRESS = USAGE.replace("false", "true")
USAGE_KEYED = USAGE.replace("NULL", "%s")


def test_usage_up_to_the_limit(run, user):
    for used in range(1, 11):
        assert run(USAGE, user, new_id(), "generation", "203.0.113.1")[0][:3] == ("done", used, 10)
    outcome, used, limit, reset_at = run(USAGE, user, new_id(), "generation", None)[0]
    assert (outcome, used, limit) == ("limited", 10, 10)
    assert run("SELECT min(created_at) + interval '60 seconds' FROM usage_logs")[0][0] == reset_at
    assert run("SELECT count(*) FROM usage_logs") == [(10,)], "what is refused is not counted"
    assert run(USAGE, user, new_id(), "download", None)[0][:3] == ("done", 1, 60)


def test_usage_leaves_the_window(run, user):
    for _ in range(10):
        run(USAGE, user, new_id(), "generation", None)
    run("UPDATE usage_logs SET created_at = created_at - interval '61 seconds'"
        " WHERE id IN (SELECT id FROM usage_logs LIMIT 4)")
    assert run(USAGE, user, new_id(), "generation", None)[0][:2] == ("done", 7)


def test_repeated_usage_is_recorded_once(run, user):
    usage = new_id()
    first = run(USAGE, user, usage, "download", None)[0]
    run(USAGE, user, new_id(), "download", None)
    run("UPDATE app_settings SET value = 1 WHERE name = 'downloads_per_minute'")
    assert run(USAGE, user, usage, "download", None) == [("replayed", *first[1:])]
    assert run("SELECT count(*) FROM usage_logs") == [(2,)]


def test_repeated_usage_is_allowed_at_the_limit(run, user):
    usage = new_id()
    for number in range(10):
        run(USAGE, user, usage if number == 9 else new_id(), "generation", None)
    assert run(USAGE, user, usage, "generation", None)[0][:2] == ("replayed", 10)


def test_usage_with_a_key(run, user):
    usage = new_id()
    first = run(USAGE_KEYED, user, usage, "download", None, 7)[0]
    assert run(USAGE_KEYED, user, usage, "download", None, 7) == [("replayed", *first[1:])]
    assert run(USAGE_KEYED, user, usage, "download", None, 8)[0][0] == "reused"
    assert run(USAGE, user, usage, "download", None)[0][0] == "reused"
    assert run("SELECT count(*) FROM usage_logs") == [(1,)]


def test_a_refused_key_is_not_burnt(run, user):
    usage = new_id()
    for _ in range(10):
        run(USAGE, user, new_id(), "generation", None)
    assert run(USAGE_KEYED, user, usage, "generation", None, 7)[0][0] == "limited"
    run("UPDATE usage_logs SET created_at = created_at - interval '61 seconds'")
    assert run(USAGE_KEYED, user, usage, "generation", None, 7)[0][:2] == ("done", 1)


def test_usage_limits_are_settings(run, user):
    run("UPDATE app_settings SET value = 1 WHERE name = 'downloads_per_minute'")
    assert run(USAGE, user, new_id(), "download", None)[0][:3] == ("done", 1, 1)
    assert run(USAGE, user, new_id(), "download", None)[0][:3] == ("limited", 1, 1)
    run("DELETE FROM app_settings")
    assert run(USAGE, user, new_id(), "generation", None)[0][:3] == ("done", 1, 10)
    assert run(USAGE, user, new_id(), "download", None)[0][:3] == ("done", 2, 60)


def test_usage_of_an_address(run, user):
    """A device is told its own count; the others of its network count for a limit of their own."""
    run("UPDATE app_settings SET value = 6 WHERE name = 'generations_per_minute_address'")
    answer = "SELECT outcome, used, usage_limit, reset_at < retry_at FROM usage_record("
    by_address = answer + "%s, %s, %s, %s, true, NULL)"
    for number in range(5):
        other = open_account(run, device_id=f"device_of_somebody_else_{number}")
        assert run(by_address, other, new_id(), "generation", "203.0.113.1")[0][:2] == ("done", 1)
    assert run(by_address, user, new_id(), "generation", "203.0.113.1")[0][:2] == ("done", 1)
    assert run(by_address, user, new_id(), "generation", "203.0.113.1")[0][:3] == ("limited", 1, 10)
    # Others of the same line, none of another; an account of its own is not concerned.
    assert run(by_address, user, new_id(), "generation", "::ffff:203.0.113.1")[0][0] == "limited"
    assert run(by_address, user, new_id(), "generation", "203.0.113.2")[0][:2] == ("done", 2)
    assert run(by_address, user, new_id(), "generation", "")[0][:2] == ("done", 3)
    assert run(by_address, user, new_id(), "download", "203.0.113.1")[0][:2] == ("done", 1)
    assert run(USAGE, user, new_id(), "generation", "203.0.113.1")[0][:2] == ("done", 4)
    # The own limit is the first to be told.
    for _ in range(6):
        run(USAGE, user, new_id(), "generation", "203.0.113.1")
    assert run(by_address, user, new_id(), "generation", "203.0.113.1") == [("limited", 10, 10, False)]


def test_usage_of_an_address_moves_on(run, user):
    run("UPDATE app_settings SET value = 1 WHERE name = 'generations_per_minute_address'")
    other = open_account(run, device_id="device_of_somebody_else_1")
    call = "SELECT outcome, extract(epoch FROM retry_at - (now() AT TIME ZONE 'utc'))::int FROM" \
           " usage_record(%s, %s, 'generation', '2001:db8:1:2::3', true, NULL)"
    run(call, other, new_id())
    run("UPDATE address_uses SET used_at = used_at - interval '40 seconds'")
    outcome, wait = run(call, user, new_id())[0]
    assert outcome == "limited" and 15 <= wait <= 20
    run("UPDATE address_uses SET used_at = used_at - interval '20 seconds'")
    assert run(call, user, new_id())[0][0] == "done"


def test_usage_of_an_address_at_once(cluster, database, run):
    run("UPDATE app_settings SET value = 10 WHERE name = 'generations_per_minute_address'")
    users = [open_account(run, device_id=f"device_{number}") for number in range(CALLERS)]
    answers = at_once(cluster, database, USAGE_BY_ADDRESS,
                      [(user, new_id(), "generation", "203.0.113.1") for user in users])
    assert sorted(answer[0][:2] for answer in answers) == (
        [("done", 1)] * 10 + [("limited", 0)] * (CALLERS - 10))


@pytest.mark.parametrize("address, network", [
    ("203.0.113.1", "203.0.113.1"), ("::ffff:203.0.113.1", "203.0.113.1"),
    ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("2001:db8:1:2::", "2001:db8:1:2::/64"),
    ("2001:db8:1:3::", "2001:db8:1:3::/64"), ("::1", "::/64"), ("", None), (None, None),
    ("unix:", None), ("203.0.113", None), ("203.0.113.1/24", "203.0.113.1")])
def test_address_network(run, address, network):
    assert run("SELECT address_network(%s)", address) == [(network,)]


# --- account_open ---

OPEN = "SELECT user_id FROM account_open(%s, %s, %s, %s, NULL, %s, %s)"


def opened(run, device, digest=None, address="203.0.113.1"):
    """Opens an account for a device; returns its balance."""
    user = run(OPEN, new_id(), "device:" + device, None, device, digest, address)[0][0]
    return ledger(run, user)[0]


def test_welcome_bonuses_of_an_address(run):
    """Beyond the setting an account opens without the bonus; nobody is refused, others are not hit."""
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
    """Adoption and linking do not count, and what was withheld is withheld from the device alone."""
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
    assert run(*call, ["device:device_of_the_function_test"], ["a"]) == [("changed",)]
    assert run("SELECT count(*) FROM users WHERE erased_at IS NOT NULL") == [(0,)]
    assert run(*call, ["device:device_of_the_function_test", "device:late", "device:foreign"],
               ["a", "b", "c"]) == [("erased",)]
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


def test_usage_of_nobody_and_of_an_erased_account(run, user):
    assert run(USAGE, new_id(), new_id(), "download", None) == []
    run(ERASE, user)
    assert run(USAGE, user, new_id(), "download", None) == []


def test_usage_of_an_unknown_action(run, user):
    with pytest.raises(psycopg2.errors.CheckViolation):
        run(USAGE, user, new_id(), "upload", None)


def test_usage_at_once(cluster, database, run, user):
    answers = at_once(cluster, database, USAGE,
                      [(user, new_id(), "generation", None) for _ in range(CALLERS)])
    done = sorted(answer[0][1] for answer in answers if answer[0][0] == "done")
    assert done == list(range(1, 11))
    assert run("SELECT count(*) FROM usage_logs") == [(10,)]


# --- generation_record ---

GENERATION = ("SELECT outcome, used, usage_limit, created_at FROM"
              " generation_record(%s, %s, %s, %s, %s, %s, %s, false, NULL)")
GENERATION_KEYED = GENERATION.replace("NULL", "%s")


def test_generation_is_stored_and_counted(run, user):
    generation = new_id()
    answer = run(GENERATION, user, generation, "url", "prompt", "anime", "2K", "203.0.113.1")[0]
    assert answer[:3] == ("done", 1, 10)
    assert run("SELECT id, user_id, image_url, prompt_used, trend, quality, status, created_at,"
               " updated_at FROM generations") == [
        (generation, user, "url", "prompt", "anime", "2K", "completed", answer[3], answer[3])]
    assert run("SELECT id, action, ip_address, created_at FROM usage_logs") == [
        (generation, "generation", "203.0.113.1", answer[3])]


def test_repeated_generation_is_stored_once(run, user):
    call = (user, new_id(), "url", None, None, None, None)
    first = run(GENERATION, *call)[0]
    assert run(GENERATION, *call) == [("replayed", *first[1:])]
    assert run("SELECT count(*) FROM generations") == [(1,)]
    run("DELETE FROM generations")
    assert run(GENERATION, *call) == [("replayed", *first[1:])], "it does not come back"
    assert run("SELECT count(*) FROM generations") == [(0,)]


def test_generation_with_a_key(run, user):
    generation = new_id()
    first = run(GENERATION_KEYED, user, generation, "url", None, None, None, None, 7)[0]
    assert run(GENERATION_KEYED, user, generation, "url", None, None, None, None, 7) == [
        ("replayed", *first[1:])]
    assert run(GENERATION_KEYED, user, generation, "other", None, None, None, None,
               8)[0][0] == "reused"
    assert run("SELECT image_url FROM generations") == [("url",)]


def test_refused_generation_is_not_stored(run, user):
    for _ in range(10):
        run(USAGE, user, new_id(), "generation", None)
    assert run(GENERATION, user, new_id(), "url", None, None, None, None) == [
        ("limited", 10, 10, None)]
    assert run("SELECT count(*) FROM generations") == [(0,)]


def test_generation_of_nobody(run):
    assert run(GENERATION, new_id(), new_id(), "url", None, None, None, None) == []


def test_generations_at_once(cluster, database, run, user):
    answers = at_once(cluster, database, GENERATION,
                      [(user, new_id(), "url", None, None, None, None) for _ in range(CALLERS)])
    assert sum(answer[0][0] == "done" for answer in answers) == 10
    assert run("SELECT count(*) FROM generations") == [(10,)]


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
    again = open_account(run, device_id="device_of_the_function_test")
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


# --- the checks that hold whatever a statement does ---

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
    ("INSERT INTO users (device_id) VALUES ('device_of_the_function_test')",
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
