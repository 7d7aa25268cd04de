"""Fixtures of all Python tests: the build, the cluster, databases, and a time limit for each."""

import contextlib
import faulthandler
import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True

from tests.support.clerk import Clerk, Issuer  # noqa: E402
from tests.support.fastcgi import Handler  # noqa: E402
from tests.support.postgres import Cluster, Template  # noqa: E402
from tests.support.process import REPOSITORY  # noqa: E402
from tests.support.stack import Stack  # noqa: E402

TEST_SECONDS_MAX = 120


@pytest.fixture(scope="session")
def mode():
    """The build under test: the environment variable MODE, release by default."""
    return os.environ.get("MODE", "release")


@pytest.fixture(scope="session")
def binaries(mode):
    """The folder of the executables."""
    folder = os.path.join(REPOSITORY, "build", mode, "bin")
    assert os.path.exists(os.path.join(folder, "tokens")), f"expected make MODE={mode} before"
    return folder


@pytest.fixture(scope="session")
def cluster():
    """A private PostgreSQL cluster for the whole run; tests stop or freeze only their own."""
    made = Cluster()
    yield made
    made.close()


@pytest.fixture(scope="session")
def template(cluster, binaries):
    """The name of the database in which the schema was bootstrapped once."""
    return Template(cluster, os.path.join(binaries, "init-db")).name


@pytest.fixture
def database(cluster, template):
    """The URL of a fresh database with the schema, dropped after the test."""
    url = cluster.create_database(template)
    yield url
    cluster.drop(url)


@pytest.fixture
def empty_database(cluster):
    """The URL of a fresh database without any table, dropped after the test."""
    url = cluster.create_database()
    yield url
    cluster.drop(url)


@pytest.fixture(scope="module")
def stack(cluster, template, binaries):
    """An instance for the tests of a module that do not disturb one another."""
    url = cluster.create_database(template)
    with Stack(url, binaries) as made:
        made.database_url = url
        yield made
    cluster.drop(url)


@pytest.fixture
def client(stack):
    """A client of the module's instance with an identity nobody has used."""
    made = stack.client()
    yield made
    made.close()


@pytest.fixture(scope="module")
def issuer():
    """One Node process for the module, which makes keys and tokens."""
    with Issuer() as made:
        yield made


@pytest.fixture(scope="module")
def clerk(issuer):
    """A Clerk without faults."""
    with Clerk(issuer) as made:
        yield made


@pytest.fixture
def make_stack(binaries):
    """make_stack(url, **environment): an instance for this test alone."""
    with contextlib.ExitStack() as open_stacks:
        yield lambda url, **env: open_stacks.enter_context(Stack(url, binaries, env))


@pytest.fixture
def make_handler(binaries):
    """make_handler(name, **environment): a handler alone on a socket, for this test."""
    with contextlib.ExitStack() as open_handlers:
        yield lambda name, **env: open_handlers.enter_context(Handler(binaries, name, **env))


@pytest.fixture(autouse=True)
def time_limit(request):
    """Ends a test that hangs, with the stacks of all threads."""
    mark = request.node.get_closest_marker("seconds")
    seconds = mark.args[0] if mark else TEST_SECONDS_MAX

    def stop(_signal, _frame):
        faulthandler.dump_traceback(all_threads=True)
        raise AssertionError(f"the test ran for more than {seconds} s")

    old = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, old)


def pytest_configure(config):
    """A run that is told to stop takes down what it started, in the background as well."""
    def stop(_signal, _frame):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    config.addinivalue_line("markers", "seconds(n): the test may run that long")
    config.addinivalue_line("markers", "quick: scripts/test runs it on the release build as well")


def pytest_make_parametrize_id(val):
    """Long values make no long names."""
    if isinstance(val, bytes):
        val = val.decode("latin-1")
    return repr(val)[:40] if isinstance(val, str) and len(val) > 40 else None
