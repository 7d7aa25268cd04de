"""Usage and images in the database: recorded up to the limits of account and address."""

import psycopg2
import pytest

from tests.support.account_rows import CALLERS, GENERATION, USAGE
from tests.support.sessions import ERASE, at_once, new_id, open_account


# --- usage_record ---

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
    assert run(by_address, user, new_id(), "generation", "203.0.113.1") == [
        ("limited", 10, 10, False)]


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
