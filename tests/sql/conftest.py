"""What tests of several files of this folder begin with: a session, an account, payments."""

import os

import pytest

from tests.support.movements import books
from tests.support.payment_rows import Payments
from tests.support.sessions import DEVICE, open_account, sessions
from tests.support.subscription_rows import Subscriptions


@pytest.fixture
def init_db(binaries):
    """The path of the handler that bootstraps."""
    return os.path.join(binaries, "init-db")


@pytest.fixture
def session(cluster, database):
    """A session of the test's database. The books agree at the end, those of payments as well,
    unless the test says not: books_agree, payments_agree."""
    with books(cluster, database) as made:
        made.payments_agree = True
        yield made
        if made.books_agree and made.payments_agree:
            assert Payments(made.run).verify() == []


@pytest.fixture
def run(session):
    """Runs one statement of that session and returns its rows."""
    return session.run


@pytest.fixture
def open_session(cluster, database):
    """Opens further sessions."""
    with sessions(cluster, database) as made:
        yield made


@pytest.fixture
def user(run):
    """A new anonymous account with its 5 tokens."""
    return open_account(run, device_id=DEVICE)


@pytest.fixture
def payments(run):
    """Short ways to call the statements of payments."""
    return Payments(run)


@pytest.fixture
def subs(run, user):
    """Subscriptions of the user."""
    return Subscriptions(run, user)
