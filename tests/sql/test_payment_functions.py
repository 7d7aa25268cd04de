"""Payments in the database: what the provider says of one, and what becomes of it."""

import pytest

from tests.support.movements import books, post, status
from tests.support.payment_rows import Payments, call, provider_id
from tests.support.sessions import ERASE, at_once, new_id, numbered, open_account, query_text, sessions

LIMIT = 2**31 - 1
APPLY = ("SELECT outcome, kind FROM payment_apply(%s, %s, %s, %s, '99.00', 'RUB', false, false,"
         " NULL, NULL, NULL)")
STATUSES = ("pending", "waiting_for_capture", "succeeded", "canceled")


@pytest.fixture
def session(cluster, database):
    """A session of the test's database; the books agree at the end, of payments as well."""
    with books(cluster, database) as made:
        made.payments_agree = True
        yield made
        if made.payments_agree:
            assert Payments(made.run).verify() == []


@pytest.fixture
def run(session):
    """Runs one statement and returns its rows."""
    return session.run


@pytest.fixture
def payments(run):
    """Short ways to call the statements."""
    return Payments(run)


@pytest.fixture
def user(run):
    """A new anonymous account with its 5 tokens."""
    return open_account(run, device_id="device_of_the_payment_test")


# --- the state machine ---

def reach(payments, user, state):
    """A payment in a state, got there by what the provider said: (id, provider's id)."""
    payment, provider = payments.open(user), provider_id()
    said = {"pending": ["pending"], "waiting_for_capture": ["pending", "waiting_for_capture"],
            "succeeded": ["succeeded"], "refunded": ["succeeded"], "canceled": ["canceled"]}
    for word in said.get(state, ()):
        payments.apply(user, payment, word, provider)
    if state == "refunded":
        payments.refunded(user, payment, provider, "99.00")
    if state == "never_created":
        age(payments, payment, "49 hours")
        payments.listed("payments")
        assert call(payments.run, "payment_claim_due", 10, 60) == []
    return payment, provider


def age(payments, payment, interval):
    """Lets a payment have been opened that long ago, and be due."""
    payments.run("UPDATE payments SET created_at = (now() AT TIME ZONE 'utc') - %s::interval"
                 " WHERE id = %s", interval, payment)
    payments.due()


GOES_ON = {
    "opened": {"pending": "unchanged", "waiting_for_capture": "applied", "succeeded": "applied",
               "canceled": "applied"},
    "pending": {"pending": "unchanged", "waiting_for_capture": "applied", "succeeded": "applied",
                "canceled": "applied"},
    "waiting_for_capture": {"pending": "unchanged", "waiting_for_capture": "unchanged",
                            "succeeded": "applied", "canceled": "applied"},
    "succeeded": {"pending": "unchanged", "waiting_for_capture": "unchanged",
                  "succeeded": "unchanged", "canceled": "conflict"},
    "refunded": {"pending": "unchanged", "waiting_for_capture": "unchanged",
                 "succeeded": "unchanged", "canceled": "conflict"},
    "canceled": {"pending": "unchanged", "waiting_for_capture": "unchanged",
                 "succeeded": "conflict", "canceled": "unchanged"},
    # Given up, and then the provider shows it after all.
    "never_created": {"pending": "applied", "waiting_for_capture": "applied",
                      "succeeded": "applied", "canceled": "unchanged"},
}


@pytest.mark.parametrize("ours", GOES_ON)
@pytest.mark.parametrize("theirs", STATUSES)
def test_state_machine(payments, run, user, ours, theirs):
    payment, provider = reach(payments, user, ours)
    before, balance = payments.row(payment), status(run, user)[0]
    expected = GOES_ON[ours][theirs]
    kind = "way_back" if expected == "conflict" else None
    assert payments.apply(user, payment, theirs, provider) == (expected, kind)
    now = theirs if expected == "applied" else before
    assert payments.row(payment) == now
    credited = 10 if expected == "applied" and theirs == "succeeded" else 0
    assert status(run, user)[0] == balance + credited
    assert payments.differences() == ([kind] if kind else [])
    final = now in ("succeeded", "refunded", "canceled")
    assert payments.row(payment, "next_check_at IS NULL, request_body IS NULL") == (final, True)
    assert payments.row(payment, "succeeded_at IS NOT NULL") == (now in ("succeeded", "refunded"))
    if expected != "conflict":  # and again
        assert payments.apply(user, payment, theirs, provider)[0] == "unchanged"
        assert status(run, user)[0] == balance + credited


@pytest.mark.parametrize("theirs", STATUSES)
def test_a_status_of_the_original_is_final(payments, run, user, theirs):
    run("INSERT INTO payments (user_id, id, amount, status, yookassa_payment_id, tokens_amount)"
        " VALUES (%s, %s, 99, 'failed', 'old', 10)", user, payment := new_id())
    expected = ("conflict", "way_back") if theirs == "succeeded" else ("unchanged", None)
    assert payments.apply(user, payment, theirs, "old") == expected
    assert payments.row(payment) == "failed" and status(run, user)[0] == 5


# --- what the provider says has to be about this payment ---

WRONG = {
    "other_amount": {"amount": "98.99"}, "other_currency": {"currency": "USD"},
    "test_payment": {"test": True}, "other_provider_id": {"provider": "another"},
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("theirs", STATUSES)
def test_another_payment(payments, run, user, kind, theirs):
    """Nothing changes, and the operator learns of it; what is right afterwards settles it."""
    payment, provider = reach(payments, user, "pending")
    before = payments.row(payment, "payments.*")
    said = {"provider": provider, **WRONG[kind]}
    for _ in range(2):
        assert payments.apply(user, payment, theirs, **said) == ("conflict", kind)
    assert payments.row(payment, "payments.*") == before and status(run, user)[0] == 5
    assert payments.differences(said["provider"]) == [kind]
    payments.apply(user, payment, theirs, provider)
    assert payments.differences(provider) == []


@pytest.mark.parametrize("kind", ["other_amount", "other_currency", "test_payment"])
def test_another_payment_is_not_attached(payments, run, user, kind):
    payment = payments.open(user)
    assert payments.apply(user, payment, "succeeded", **{"provider": "p", **WRONG[kind]}) == (
        "conflict", kind)
    assert payments.row(payment, "yookassa_payment_id, request_body") == (None, "body")
    assert run("SELECT * FROM payment_references") == []


def test_the_amount_is_compared_as_a_number(payments, user):
    payment = payments.open(user, amount="100.00")
    assert payments.apply(user, payment, "succeeded", "p", amount="100") == ("applied", None)


def test_a_provider_id_of_another_payment(payments, run, user):
    _, provider = payments.paid(user)
    other = payments.open(user)
    assert payments.apply(user, other, "succeeded", provider) == ("conflict", "other_provider_id")
    assert payments.row(other) == "pending" and status(run, user)[0] == 15


def test_a_test_payment_where_those_count(payments, run, user):
    payment = payments.open(user)
    assert payments.apply(user, payment, "succeeded", "p", test=True, test_accepted=True) == (
        "applied", None)
    assert status(run, user)[0] == 15
    # What counted once is no difference when they do not count any more.
    assert payments.apply(user, payment, "succeeded", "p", test=True) == ("unchanged", None)


def test_whose_it_is(payments, run, user):
    payment, provider = payments.paid(user)
    assert call(run, "payment_locate_provider", provider) == [(user, payment)]
    assert call(run, "payment_locate_provider", "nobody's") == []
    assert call(run, "payment_locate", user, payment) == [(user,)]
    assert call(run, "payment_locate", new_id(), payment) == []
    assert payments.apply(new_id(), payment, "succeeded", provider) is None
    assert payments.apply(user, new_id(), "succeeded", provider) is None


# --- crediting ---

def test_50_at_once_credit_once(cluster, database, payments, run, user):
    payment = payments.open(user)
    answers = at_once(cluster, database, APPLY, [(user, payment, "p", "succeeded")] * 50)
    outcomes = [answer[0][0] for answer in answers]
    assert (outcomes.count("applied"), outcomes.count("unchanged")) == (1, 49)
    assert payments.credits(user) == [10] and status(run, user)[0] == 15


def test_two_provider_ids_at_once(cluster, database, payments, run, user):
    """Should two of the provider's payments claim one of ours, one is credited, one is shown."""
    payment = payments.open(user)
    answers = at_once(cluster, database, APPLY,
                      [(user, payment, f"p{n}", "succeeded") for n in range(10)])
    assert sorted(answer[0] for answer in answers) == sorted(
        [("applied", None)] + [("conflict", "other_provider_id")] * 9)
    assert payments.credits(user) == [10] and len(payments.differences()) == 9


def test_the_entry(payments, run, user):
    payment, _ = payments.paid(user)
    assert run("SELECT amount, type, balance_after FROM token_transactions"
               " WHERE operation_id = %s", payment) == [(10, "purchase", 15)]


def test_a_key_that_came_with_another_movement_as_well(payments, run, user):
    """Whatever has the payment's id in the ledger does not keep it from being credited."""
    payment = new_id()
    assert post(run, user, 3, payment, request_hash=7) == ("done", 8)
    payments.open(user, payment=payment, key=9)
    payments.apply(user, payment, "succeeded", "p")
    assert status(run, user)[0] == 18


def test_the_balance_limit(payments, run, user):
    """It is paid: it waits until there is room."""
    post(run, user, LIMIT - 5 - 9)
    payment = payments.open(user)
    for _ in range(2):
        assert payments.apply(user, payment, "succeeded", "p") == ("uncredited", "balance_limit")
    assert payments.row(payment, "status, next_check_at IS NULL") == ("pending", False)
    assert payments.differences() == ["balance_limit"]
    post(run, user, -1)
    assert payments.apply(user, payment, "succeeded", "p") == ("applied", None)
    assert payments.differences() == [] and status(run, user)[0] == LIMIT


def test_an_unknown_package(payments, run, user):
    """An adopted payment that does not say how much; then the operator does."""
    run("INSERT INTO payments (user_id, id, amount, status, token_package) VALUES"
        " (%s, %s, 99, 'pending', 'gone')", user, payment := new_id())
    assert payments.apply(user, payment, "succeeded", "p") == ("uncredited", "unknown_package")
    run("INSERT INTO token_packages VALUES ('gone', 12, 99)")
    assert payments.apply(user, payment, "succeeded", "p") == ("applied", None)
    assert status(run, user)[0] == 17 and payments.differences() == []
    assert payments.row(payment, "tokens_amount") == 12


def test_of_an_erased_account(payments, run, user):
    """The payment follows the provider, nothing is credited, and the operator learns of it."""
    payment = payments.open(user)
    payments.apply(user, payment, "pending", "p", url="https://pay.example/1")
    other = payments.open(user)
    assert run(ERASE, user) == [("erased",)]
    assert payments.row(payment, "confirmation_url, request_body") == (None, None)
    assert payments.row(other, "status, request_body") == ("pending", None)
    assert payments.opened(user) is None
    assert payments.apply(user, payment, "succeeded", "p") == ("uncredited", "account_closed")
    assert payments.apply(user, payment, "succeeded", "p") == ("unchanged", None)
    assert payments.row(payment) == "succeeded" and payments.differences() == ["account_closed"]
    assert run("SELECT balance FROM user_tokens") == [(5,)]


# --- opening ---

def test_opening_again(payments, run, user):
    """One at a time asks the provider, with the body of the first time, until it has answered."""
    payment = payments.open(user, key=7, body="first")
    again = {"payment": payment, "key": 7, "body": "second"}
    assert payments.opened(user, **again)[0] == "in_progress"
    payments.due()
    assert payments.opened(user, **again) == ("done", payment)
    assert payments.row(payment, "request_body") == "first"
    assert payments.opened(user, **again)[0] == "in_progress"
    payments.apply(user, payment, "pending", "p")
    assert payments.opened(user, **again) == ("replayed", payment)
    payments.apply(user, payment, "canceled", "p")
    assert payments.opened(user, **again) == ("replayed", payment)
    assert payments.opened(user, **{**again, "key": 8})[0] == "reused"
    assert run("SELECT count(*) FROM payments") == [(1,)]


def test_opening_without_a_key(payments, run, user):
    """The same id again is the same call, whose answer was lost; a renewal has many callers."""
    payment = payments.open(user)
    assert payments.opened(user, payment=payment) == ("done", payment)
    [(subscription,)] = run("INSERT INTO subscriptions (user_id, plan, status, current_period_end)"
                            " VALUES (%s, 'pro', 'active', now() AT TIME ZONE 'utc')"
                            " RETURNING id", user)
    renewal = payments.open(user, purpose="renewal", plan="pro", subscription=subscription)
    again = {"payment": renewal, "purpose": "renewal", "subscription": subscription}
    assert payments.opened(user, **again)[0] == "in_progress"
    payments.due()
    assert payments.opened(user, **again) == ("done", renewal)


def test_opening_at_once(cluster, database, payments, user):
    values = (user, new_id(), "tokens", "small", None, "99.00", "RUB", 10, None, True, "body", 7,
              60)
    answers = at_once(cluster, database, query_text("payment_open"), [numbered(*values)] * 30)
    outcomes = [answer[0][0] for answer in answers]
    assert (outcomes.count("done"), outcomes.count("in_progress")) == (1, 29)
    assert payments.row(values[1]) == "pending"


def test_opening_of_nobody(payments):
    assert payments.opened(new_id()) is None


@pytest.mark.parametrize("hours, outcome", [(22, "done"), (24, "in_progress")])
def test_opening_what_the_provider_has_forgotten(payments, user, hours, outcome):
    """It honours a key for a day; then asking again would be a second payment."""
    payment = payments.open(user, key=7)
    age(payments, payment, f"{hours} hours")
    assert payments.opened(user, payment=payment, key=7)[0] == outcome


# --- no answer, and a refusal ---

def test_a_refusal_frees_the_key(payments, run, user):
    payment = payments.open(user, key=7)
    for _ in range(2):
        assert call(run, "payment_refused", user, payment) == [(True,)]
    assert run("SELECT count(*) FROM payments") == [(0,)]
    assert payments.open(user, payment=payment, key=8) == payment


@pytest.mark.parametrize("attempt", ["opened again", "claimed"])
def test_a_refusal_after_an_attempt_that_may_have_happened(payments, run, user, attempt):
    payment = payments.open(user, key=7)
    call(run, "payment_uncertain", user, payment, 60)
    payments.due()
    if attempt == "claimed":
        assert len(call(run, "payment_claim_due", 10, 60)) == 1
    else:
        assert payments.opened(user, payment=payment, key=7)[0] == "done"
    assert call(run, "payment_refused", user, payment) == [(False,)]
    assert payments.row(payment, "status, request_body") == ("pending", "body")
    assert seconds_ahead(payments, payment) == pytest.approx(60, abs=5)


def test_a_refusal_that_comes_late(payments, run, user):
    payment, _ = payments.paid(user)
    assert call(run, "payment_refused", user, payment) == [(False,)]
    assert call(run, "payment_uncertain", user, payment, 60) == []
    assert payments.row(payment, "status, next_check_at") == ("succeeded", None)


@pytest.mark.parametrize("poll, wanted, seconds", [(15, 0, 60), (15, 90, 90), (1, 0, 4)])
def test_when_an_unknown_creation_is_repeated(payments, run, user, poll, wanted, seconds):
    run("UPDATE app_settings SET value = %s WHERE name = 'payments_poll_seconds'", poll)
    payment = payments.open(user)
    assert call(run, "payment_uncertain", user, payment, wanted)[0] == (payment,)
    assert seconds_ahead(payments, payment) == pytest.approx(seconds, abs=3)


# --- looking ---

def seconds_ahead(payments, payment):
    """In how many seconds the payment is looked at next."""
    return float(payments.row(
        payment, "extract(epoch from next_check_at - (now() AT TIME ZONE 'utc'))"))


@pytest.mark.parametrize("old, seconds", [
    ("1 second", 15), ("9 minutes", 15), ("11 minutes", 60), ("59 minutes", 60),
    ("61 minutes", 600), ("23 hours", 600), ("25 hours", 3600), ("90 days", 3600)])
def test_the_schedule(payments, run, user, old, seconds):
    payment, provider = reach(payments, user, "pending")
    age(payments, payment, old)
    assert len(call(run, "payment_claim_due", 10, 3)) == 1
    assert seconds_ahead(payments, payment) == pytest.approx(seconds, abs=3)
    payments.due()
    assert len(call(run, "payment_claim_due", 10, 5000)) == 1, "the lease, when that is longer"
    assert seconds_ahead(payments, payment) == pytest.approx(5000, abs=3)
    payments.apply(user, payment, "pending", provider)
    assert seconds_ahead(payments, payment) == pytest.approx(seconds, abs=3)


def test_what_is_due(payments, run, user):
    """The oldest first, each once, and nothing that is final."""
    ids = [payments.open(user) for _ in range(5)]
    payments.paid(user)
    assert call(run, "payment_claim_due", 10, 60) == []
    for number, payment in enumerate(ids):
        run("UPDATE payments SET next_check_at = (now() AT TIME ZONE 'utc')"
            " - make_interval(secs => %s) WHERE id = %s", 60 - number, payment)
    assert [row[1] for row in call(run, "payment_claim_due", 2, 60)] == ids[:2]
    assert [row[1] for row in call(run, "payment_claim_due", 10, 60)] == ids[2:]
    assert call(run, "payment_claim_due", 10, 60) == []


@pytest.mark.parametrize("hours, claimed, now, body", [
    (22, 1, "pending", "body"), (24, 0, "pending", None), (47, 0, "pending", None),
    (49, 0, "canceled", None)])
def test_a_creation_without_an_answer(payments, run, user, hours, claimed, now, body):
    """Repeated for a day, waited for another one, then given up."""
    payment = payments.open(user)
    age(payments, payment, f"{hours} hours")
    payments.listed("payments")
    assert len(call(run, "payment_claim_due", 10, 60)) == claimed
    assert payments.row(payment, "status, request_body") == (now, body)
    reason = "never_created" if now == "canceled" else None
    assert payments.row(payment, "cancellation_reason") == reason


def test_a_creation_is_not_given_up_before_the_list_was_read(payments, run, user):
    """After days without the provider: nobody knows yet whether it has it."""
    payment = payments.open(user)
    age(payments, payment, "100 hours")
    payments.listed("refunds")
    for ago in (None, "101 hours", "77 hours"):
        if ago:
            payments.listed("payments", ago)
        payments.due()
        assert call(run, "payment_claim_due", 10, 60) == []
        assert payments.row(payment) == "pending"
        assert seconds_ahead(payments, payment) == pytest.approx(600, abs=5)
    payments.listed("payments", "75 hours")
    payments.due()
    assert call(run, "payment_claim_due", 10, 60) == []
    assert payments.row(payment, "status, cancellation_reason") == ("canceled", "never_created")


@pytest.mark.parametrize("table", ["payments", "payment_refunds"])
def test_nobody_claims_what_another_has(cluster, database, payments, run, user, table):
    """Eight reconcilers at once: each row goes to one of them, and all of them go to somebody."""
    name = "payment_claim_due" if table == "payments" else "refund_claim_due"
    for _ in range(40):
        payment = payments.open(user) if table == "payments" else payments.paid(user)[0]
        if table == "payment_refunds":
            assert payments.refund(user, payment, "9.00") == "done"
    payments.due(table)
    answers = at_once(cluster, database, query_text(name), [numbered(3, 600)] * 64, connections=8)
    claimed = [row[1] for answer in answers for row in answer]
    assert len(claimed) == len(set(claimed)) == 40
    assert all(len(answer) <= 3 for answer in answers)


def test_claiming_passes_what_is_locked(cluster, database, payments, run, user):
    """One row that somebody works on holds up nobody."""
    first, second = payments.open(user), payments.open(user)
    payments.due()
    run("UPDATE payments SET next_check_at = next_check_at - interval '1 hour' WHERE id = %s",
        first)
    with sessions(cluster, database) as open_session:
        other = open_session()
        other.begin()
        other.run("SELECT 1 FROM payments WHERE id = %s FOR UPDATE", first)
        run("SET lock_timeout = '5s'")
        assert [row[1] for row in call(run, "payment_claim_due", 1, 60)] == [second]
        other.rollback()


# --- what the audit finds ---

@pytest.mark.parametrize("damage", [
    "UPDATE payments SET status = 'succeeded', succeeded_at = now() WHERE id = %(open)s",
    "UPDATE payments SET status = 'pending', succeeded_at = NULL WHERE id = %(paid)s",
    "UPDATE payments SET tokens_amount = 11 WHERE id = %(paid)s",
    "UPDATE payments SET user_id = %(other)s WHERE id = %(paid)s",
    "UPDATE payment_refunds SET tokens_taken = 2 WHERE payment_id = %(paid)s",
])
def test_the_audit(session, payments, run, user, damage):
    paid, provider = payments.paid(user)
    payments.refunded(user, paid, provider, "9.90")
    still_open = payments.open(user)
    other = open_account(run, device_id="device_of_somebody_else_1")
    assert payments.verify() == []
    session.payments_agree = False
    run(damage, {"open": still_open, "paid": paid, "other": other})
    assert len(payments.verify()) == 1


# --- the lists ---

def test_pages(payments, run, user):
    ids = [payments.open(user) for _ in range(5)]
    payments.open(open_account(run, device_id="device_of_somebody_else_1"))
    pages, position = [], ("infinity", "ffffffff-ffff-ffff-ffff-ffffffffffff")
    while rows := call(run, "payment_page", user, *position, 2):
        pages += [row[1] for row in rows]
        position = (rows[-1][-1], rows[-1][1])
    assert pages == ids[::-1]
    exported = [row[1] for row in call(run, "payment_export", user,
                                       "00000000-0000-0000-0000-000000000000", 10)]
    assert exported == sorted(ids)
    assert call(run, "payment_get", user, ids[0])[0][4:7] == ("99.00", "RUB", "pending")


def test_prices(run):
    assert call(run, "price_find_package", "small") == [("99.00", "RUB", 10)]
    assert call(run, "price_find_plan", "pro") == [("999.00", "RUB", 0)]
    assert call(run, "price_find_plan", "free") == call(run, "price_find_package", "none") == []


def test_windows(run):
    """One at a time reads a list, no more often than wanted, from where the last one came to."""
    def claim(every=60, lease=60):
        return call(run, "reconcile_claim_window", "payments", every, lease)

    assert len(claim()) == 1
    assert claim() == [] and len(call(run, "reconcile_claim_window", "refunds", 60, 60)) == 1
    run("UPDATE payment_windows SET claimed_until = claimed_until - interval '61 seconds'")
    assert len(claim()) == 1, "whoever held it is gone"
    call(run, "reconcile_finish_window", "payments", "2099-01-01")
    assert claim() == [] and str(claim(every=0)[0][0]) == "2099-01-01 00:00:00"
    call(run, "reconcile_finish_window", "payments", "2098-01-01")
    assert str(claim(every=0)[0][0]) == "2099-01-01 00:00:00", "it never goes back"


def test_the_first_window_reaches_back_to_what_has_no_answer(payments, run, user):
    """Else it would be given up as never made without anybody having looked."""
    paid, _ = payments.paid(user)
    payment, made = payments.open(user), reach(payments, user, "pending")[0]
    payments.refund(user, paid, "9.00")
    for one, days in ((paid, 300), (made, 200), (payment, 100)):
        age(payments, one, f"{days} days")
    assert call(run, "reconcile_claim_window", "refunds", 60, 60) == [
        (payments.row(payment, "created_at"),)]
    run("UPDATE payment_refunds SET created_at = created_at - interval '150 days'")
    oldest = run("SELECT created_at FROM payment_refunds")
    assert call(run, "reconcile_claim_window", "payments", 60, 60) == oldest
    payments.due()
    call(run, "payment_claim_due", 10, 60)
    assert payments.row(payment) == "pending"


def test_differences(payments, run, user):
    payment = payments.open(user)
    values = ("p", "unknown_payment", None, None, "99.00 RUB")
    assert call(run, "payment_difference", *values) == [(True,)]
    assert call(run, "payment_difference", *values) == [(False,)]
    assert call(run, "payment_difference", "p", "other_shop", user, payment, "") == [(True,)]
    assert payments.differences("p") == ["other_shop", "unknown_payment"]
    payments.apply(user, payment, "succeeded", "p")
    assert payments.differences("p") == []
    call(run, "payment_difference", *values)
    assert payments.differences("p") == ["unknown_payment"]


def test_windows_at_once(cluster, database):
    answers = at_once(cluster, database, query_text("reconcile_claim_window"),
                      [numbered("payments", 60, 60)] * 20)
    assert sum(len(answer) for answer in answers) == 1
