"""The settings, and nothing else of the caller's environment, reach a process of an instance."""

import subprocess

import pytest

from tests.docs.test_docs_configuration import HANDLERS as SETTINGS
from tests.support import logs
from tests.support.process import pid_in
from tests.support.stack import SECRET

# A value other than the default for each documented setting; None: a value the instance itself has.
VALUES = {
    "POSTGRES_URL": None, "DATABASE_URL": "postgresql://dreamlens@/other?host=/nowhere",
    "POSTGRES_URL_NON_POOLING": None, "DB_INIT_SECRET": SECRET,
    "IDENTITY_DIGEST_KEY": "digest-key-of-the-tests-0123456789",
    "CLERK_JWT_KEY": None, "CLERK_JWKS_URL": "https://clerk.example/keys",
    "CLERK_ISSUER": "https://clerk.example", "CLERK_AUTHORIZED_PARTIES": "https://app.example",
    "ALLOWED_ORIGINS": "https://app.example", "LOG_LEVEL": "warning", "THREADS": "7",
    "DB_POOL_SIZE": "2", "DB_PREPARED": "params", "DB_TIMEOUT_MS": "4000",
    "SLOW_QUERY_MS": "333", "SHARED_MEMORY": None, "SANDBOX": "off",
    "YOOKASSA_SHOP_ID": "123456", "YOOKASSA_SECRET_KEY": "test_key-of-the-tests",
    "YOOKASSA_API_URL": "https://yookassa.example/v3", "YOOKASSA_WEBHOOK_NETWORKS": "127.0.0.0/8",
    "YOOKASSA_VAT_CODE": "1", "YOOKASSA_RECEIPT_EMAIL": "receipts@shop.example",
    "YOOKASSA_TEST_PAYMENTS": "on", "YOOKASSA_TIMEOUT_MS": "5000",
    "PAYMENTS_RETURN_URL": "https://app.example/paid",
}
# What a library of the handlers reads reaches them as well.
LIBRARY = {"PGAPPNAME": "of the tests", "SSL_CERT_DIR": "/etc/ssl/certs"}
STRANGERS = {
    "UNKNOWN_TO_ALL": "stranger-of-the-tests", "AWS_SECRET_ACCESS_KEY": "stranger-of-the-tests",
    "LD_LIBRARY_PATH": "/stranger-of-the-tests", "EDGE_COLOUR": "stranger-of-the-tests",
    "POSTGRES_URL_OLD": "stranger-of-the-tests", "LANG": "stranger-of-the-tests",
}


def environment_of(pid):
    """{name: value} of a process."""
    with open(f"/proc/{pid}/environ", "rb") as file:
        entries = file.read().split(b"\0")
    return dict(entry.decode().split("=", 1) for entry in entries if entry)


def test_every_setting_has_a_value_here():
    assert set(VALUES) == set(SETTINGS)


@pytest.mark.quick
def test_settings_reach_a_handler_and_nothing_else_does(make_stack, database):
    given = {name: value for name, value in VALUES.items() if value is not None}
    owner = database + "&application_name=owner"
    stack = make_stack(database, POSTGRES_URL_NON_POOLING=owner, **given, **LIBRARY, **STRANGERS)
    for handler, pid in stack.pids().items():
        found = environment_of(pid)
        for name, value in {**given, **LIBRARY, "POSTGRES_URL": database,
                            "POSTGRES_URL_NON_POOLING": owner}.items():
            assert found[name] == value, (handler, name)
        assert found["SHARED_MEMORY"] == stack.instance["SHARED_MEMORY"]
        known = set(SETTINGS) | set(LIBRARY) | set(logs.SANITIZER_OPTIONS) | {"NOTIFY_SOCKET"}
        assert set(found) <= known, handler


def test_the_other_parts_get_nothing_of_the_caller(make_stack):
    """Nor does PGPORT move the private cluster away from where the handlers look."""
    stack = make_stack(None, TEST_FSYNC="off", PGPORT="6000", PGDATA="/nowhere", **STRANGERS)
    pids = [pid_in(f"{stack.run_dir}/{path}") for path in
            ("run/nginx.pid", "run/supervisor.pid", "postgres/data/postmaster.pid")]
    for pid in pids:
        with open(f"/proc/{pid}/environ", "rb") as file:
            found = file.read()
        for text in ("stranger-of-the-tests", SECRET):  # no part but a handler needs the secret
            assert text.encode() not in found, pid
    assert stack.client().get("/api/tokens").status == 200


def test_a_key_of_several_lines(make_stack, database):
    """A PEM arrives with its line ends."""
    key = subprocess.run(
        "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 | openssl pkey -pubout",
        shell=True, capture_output=True, text=True, check=True).stdout
    stack = make_stack(database, CLERK_JWT_KEY=key)
    assert environment_of(stack.pids()["tokens"])["CLERK_JWT_KEY"] == key


def test_a_setting_that_went_away_is_taken_away(make_stack, database):
    stack = make_stack(database, SLOW_QUERY_MS="333")
    del stack.environment["SLOW_QUERY_MS"]
    stack.run("up", check=True)
    assert "SLOW_QUERY_MS" not in environment_of(stack.pids()["tokens"])
