"""The books: who may change them, and what verifying them finds."""

import glob
import os
import subprocess
import time

import psycopg2
import pytest

from tests.support.movements import (
    CAPTURE, LINK, REVERSE, entries, hold, post, post_many, status)
from tests.support.payment_rows import Payments, call
from tests.support.postgres import database_name
from tests.support.sessions import ERASE, Session, new_id, numbered, open_account, query_text

VERIFY_ENTRIES = 1_000_000
VERIFY_ACCOUNTS = 10_000
VERIFY_SECONDS_MAX = 60


# --- who may change the books ---

CHANGES = ("UPDATE token_transactions SET amount = 1000",
           "UPDATE token_transactions SET description = 'x' WHERE amount > 0",
           "DELETE FROM token_transactions", "TRUNCATE token_transactions",
           "TRUNCATE token_transactions, users CASCADE")


@pytest.fixture
def application(cluster, database):
    """A session of a role that is not the owner, with the rights the bootstrap gives."""
    role = "application_" + database_name(database)
    with cluster.admin() as admin:
        admin.cursor().execute(f"CREATE ROLE {role} LOGIN")
    cluster.query(database, "SELECT application_grant(%s)", (role,))
    made = Session(cluster, cluster.url(database_name(database), role))
    made.role = role
    yield made
    made.close()
    with cluster.admin(database_name(database)) as admin:
        admin.cursor().execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.parametrize("change", CHANGES)
def test_the_owner_cannot_change_entries(run, user, change):
    with pytest.raises(psycopg2.errors.RestrictViolation):
        run(change)
    assert entries(run, user) == [] and status(run, user) == (5, 0)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("triggers", ["ENABLE", "DISABLE"])
@pytest.mark.usefixtures("user")
def test_the_application_cannot_change_entries(run, application, change, triggers):
    run(f"ALTER TABLE token_transactions {triggers} TRIGGER USER")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        application.run(change)
    for more in ("ALTER TABLE token_transactions DISABLE TRIGGER USER",
                 "DROP TABLE token_transactions", "CREATE TRIGGER t BEFORE INSERT ON"
                 " token_transactions FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            application.run(more)


def test_rights_of_before_are_taken_back(run, application):
    """Of an adopted database whose operator was generous."""
    run("GRANT ALL ON token_transactions TO PUBLIC")
    run(f"GRANT ALL ON token_transactions TO {application.role}")
    run(f"GRANT UPDATE (description) ON token_transactions TO {application.role}")
    run("SELECT application_grant(%s)", application.role)
    for change in CHANGES:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            application.run(change)


def test_the_application_can_do_its_work(application):
    run = application.run
    user, account = (open_account(run, device_id="device_of_the_application"),
                     open_account(run, clerk_id="user_1"))
    entry = new_id()
    assert post(run, user, 9, entry, 7) == ("done", 14)
    assert run(REVERSE, user, user, entry, new_id(), None)[0][0] == "done"
    assert run(CAPTURE, user, hold(run, user, 2), 1, new_id(), None) == [("done", 4)]
    assert post_many(run, (user, new_id(), 1, 0)) == [("done", 5)]
    assert run("SELECT outcome FROM token_claim_bonus(%s, %s, NULL)", user, new_id()) == [
        ("done",)]
    assert run("SELECT outcome FROM generation_record(%s, %s, 'u', NULL, NULL, NULL, '1', true,"
               " NULL)", user, new_id()) == [("done",)]
    payments = Payments(run)
    paid, provider = payments.paid(user)
    payments.opened(user, purpose="subscription", plan="pro")
    assert payments.refund(user, paid, "9.90", refund := new_id()) == "done"
    assert payments.refunded(user, paid, provider, "9.90", refund) == ("applied", None)
    assert payments.apply(user, paid, "canceled", provider) == ("conflict", "way_back")
    for table in ("payments", "payment_refunds", "subscriptions"):
        payments.due(table)
    for name in ("payment_claim_due", "refund_claim_due", "subscription_claim_due"):
        call(run, name, 10, 60)
    assert len(call(run, "reconcile_claim_window", "payments", 60, 60)) == 1
    assert run(LINK, account, user, new_id(), new_id())[0][0] == "linked"
    assert run(query_text("ledger_verify"), {}) == [] and payments.verify() == []
    assert run(ERASE, account) == [("erased",)]
    run(query_text("service_key_create"), numbered("name", "digest", "spend"))


def test_bootstrap_with_tables_of_somebody_else(cluster, empty_database, binaries):
    """The handlers' role gets its rights, and none of a table that is not ours."""
    role, name = "handlers_" + database_name(empty_database), database_name(empty_database)
    with cluster.admin(name) as admin:
        admin.cursor().execute(f"CREATE ROLE {role} LOGIN; CREATE TABLE operators (id int);"
                               " CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';"
                               " REVOKE ALL ON FUNCTION f FROM PUBLIC")
    done = subprocess.run([os.path.join(binaries, "init-db")], stdin=subprocess.DEVNULL, text=True,
                          capture_output=True, timeout=60, check=False, env={
        "POSTGRES_URL": cluster.url(name, role), "POSTGRES_URL_NON_POOLING": empty_database,
        "DB_INIT_SECRET": "a-secret-of-this-test", "REQUEST_METHOD": "POST", "CONTENT_LENGTH": "0",
        "HTTP_X_DB_INIT_SECRET": "a-secret-of-this-test", "DOCUMENT_URI": "/api/init-db",
        "SHARED_MEMORY": f"/dev/shm/dl-test-{os.getpid()}-rights"})
    for path in glob.glob(f"/dev/shm/dl-test-{os.getpid()}-rights.*"):
        os.unlink(path)
    assert "Status: 200" in done.stdout, done.stdout + done.stderr
    handlers = Session(cluster, cluster.url(name, role))
    assert post(handlers.run, open_account(handlers.run, device_id="device_1"), 1) == ("done", 6)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        handlers.run("SELECT * FROM operators")
    handlers.close()
    with cluster.admin(name) as admin:
        admin.cursor().execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


# --- ledger_verify ---

@pytest.mark.parametrize("tamper, found", [
    ("UPDATE user_tokens SET balance = balance + 1 WHERE user_id = %(user)s", (8, 7, 0, 2, 2)),
    ("UPDATE user_tokens SET held = held - 1 WHERE user_id = %(user)s", (7, 7, 0, 1, 2)),
    ("UPDATE token_holds SET amount = 3 WHERE user_id = %(user)s", (7, 7, 0, 2, 3)),
    ("DELETE FROM token_holds WHERE user_id = %(user)s", (7, 7, 0, 2, 0)),
    ("UPDATE token_transactions SET amount = amount + 1 WHERE user_id = %(user)s AND amount = -1",
     (7, 8, 1, 2, 2)),
    ("UPDATE token_transactions SET amount = CASE amount WHEN -1 THEN 3 ELSE -1 END"
     " WHERE user_id = %(user)s AND id <> user_id", (7, 7, 2, 2, 2)),
    ("DELETE FROM token_transactions WHERE user_id = %(user)s AND amount = -1", (7, 8, 1, 2, 2)),
    ("DELETE FROM token_transactions WHERE user_id = %(user)s AND amount = 3", (7, 4, 0, 2, 2)),
    ("INSERT INTO token_transactions (user_id, amount, type, balance_after)"
     " VALUES (%(user)s, 0, 'bonus', 6)", (7, 7, 1, 2, 2)),
    ("DELETE FROM user_tokens WHERE user_id = %(user)s", (0, 7, 0, 0, 2)),
], ids=["balance", "held", "hold", "lost hold", "amount", "amounts that add up", "lost entry",
        "lost last entry", "entry", "lost balance"])
def test_verify_finds(session, user, tamper, found):
    run = session.run
    other = open_account(run, device_id="device_of_somebody_else_1")
    post(run, other, 7)
    post(run, user, -1)
    post(run, user, 3)
    hold(run, user, 2)
    assert run(query_text("ledger_verify"), {}) == []
    run("ALTER TABLE token_transactions DISABLE TRIGGER USER")
    run(tamper, {"user": user})
    assert run(query_text("ledger_verify"), {}) == [(user, *found)]
    session.books_agree = False


@pytest.mark.seconds(300)
def test_verify_of_a_million_entries(session, capsys):
    run = session.run
    run("INSERT INTO users (id, device_id) SELECT md5('user' || n)::uuid, 'device_' || n"
        f" FROM generate_series(1, {VERIFY_ACCOUNTS}) n")
    each = VERIFY_ENTRIES // VERIFY_ACCOUNTS
    run(f"""INSERT INTO token_transactions (user_id, id, amount, type, balance_after, created_at)
            SELECT md5('user' || n)::uuid, md5(n || ' ' || e)::uuid, 1, 'bonus', 5 + e,
                   (now() AT TIME ZONE 'utc') + e * interval '1 second'
            FROM generate_series(1, {each}) e, generate_series(1, {VERIFY_ACCOUNTS}) n""")
    run(f"UPDATE user_tokens SET balance = balance + {each}")
    run("VACUUM ANALYZE")
    start = time.monotonic()
    assert run(query_text("ledger_verify"), {}) == []
    seconds = time.monotonic() - start
    with capsys.disabled():
        print(f"\nverified {VERIFY_ACCOUNTS} accounts and {VERIFY_ENTRIES} entries"
              f" in {seconds:.1f} s")
    assert seconds < VERIFY_SECONDS_MAX
    run("UPDATE user_tokens SET balance = balance + 1 WHERE user_id = md5('user7')::uuid")
    assert len(run(query_text("ledger_verify"), {})) == 1
    session.books_agree = False
