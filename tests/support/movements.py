"""The ledger's functions as tests call them: short ways to post, hold and look.

run is Session.run of tests/support/sessions.py.
"""

import contextlib

from tests.support.sessions import Session, new_id, numbered, query_text

POST = "SELECT outcome, balance FROM ledger_post(%s, %s, %s, %s, %s, %s)"
HOLD = "SELECT outcome, balance, held FROM hold_create(%s, %s, %s, %s, %s, %s)"
CAPTURE = "SELECT outcome, balance FROM hold_capture(%s, %s, %s, %s, %s)"
RELEASE = "SELECT outcome, balance FROM hold_release(%s, %s)"
REVERSE = "SELECT outcome, balance, reversal_id FROM ledger_reverse(%s, %s, %s, %s, %s)"
LINK = "SELECT outcome, moved_tokens FROM device_link(%s, %s, %s, %s)"

# Accounts whose held tokens or next expiry are not what the rows of their holds say.
WRONG_HOLDS = """
    SELECT t.user_id, t.held, t.next_hold_expiry, h.amount, h.due
    FROM user_tokens t
    LEFT JOIN (SELECT user_id, sum(amount) AS amount, min(expires_at) AS due FROM token_holds
               WHERE status = 'pending' GROUP BY user_id) h ON h.user_id = t.user_id
    WHERE t.held <> coalesce(h.amount, 0) OR t.next_hold_expiry IS DISTINCT FROM h.due"""


def post(run, user, amount, entry=None, request_hash=None, kind=None, description=None):
    """One movement; returns (outcome, balance), or None where there is no account."""
    rows = run(POST, user, entry or new_id(), amount, kind or (
        "purchase" if amount > 0 else "generation"), description, request_hash)
    return rows[0] if rows else None


def hold(run, user, amount, hold_id=None, seconds=600, request_hash=None):
    """Sets aside; returns the hold's id."""
    hold_id = hold_id or new_id()
    assert run(HOLD, user, hold_id, amount, seconds, None, request_hash)[0][0] == "done"
    return hold_id


def expire(run, *holds):
    """Lets holds have expired a second ago, as time does."""
    run("UPDATE token_holds SET created_at = created_at - interval '1 hour',"
        " expires_at = (now() AT TIME ZONE 'utc') - interval '1 second' WHERE id::text = ANY(%s)",
        list(holds))
    run("UPDATE user_tokens t SET next_hold_expiry = (SELECT min(expires_at) FROM token_holds h"
        " WHERE h.user_id = t.user_id AND h.status = 'pending')")


def entries(run, user):
    """(amount, type, balance_after, held_after) of the user's entries after the welcome."""
    return run("SELECT amount, type, balance_after, held_after FROM token_transactions"
               " WHERE user_id = %s AND id <> user_id ORDER BY created_at, id", user)


def status(run, user):
    """(balance, held) as both readers tell them."""
    told = run(query_text("token_status"), numbered(user))[0][:2]
    assert run(query_text("ledger_account"), numbered(user)) == [told]
    return told


def post_many(run, *movements):
    """Movements (user, entry, amount, request_hash or 0); answers sorted as they were sent."""
    users, ids, amounts, hashes = (list(column) for column in zip(*movements))
    rows = run("SELECT place, outcome, balance FROM ledger_post_flight("
               "%s::uuid[], %s::uuid[], %s, %s, %s, %s::bigint[])", users, ids, amounts,
               ["purchase" if amount > 0 else "generation" for amount in amounts],
               ["text"] * len(users), hashes)
    assert sorted(row[0] for row in rows) == list(range(1, len(users) + 1))
    return [row[1:] for row in sorted(rows)]


@contextlib.contextmanager
def books(cluster, url):
    """A session of a database whose books have to agree at the end, unless books_agree is false."""
    made = Session(cluster, url)
    made.books_agree = True
    try:
        yield made
        if made.books_agree:
            assert made.run(query_text("ledger_verify"), {}) == []
            assert made.run(WRONG_HOLDS) == []
    finally:
        made.close()
