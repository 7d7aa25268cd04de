"""Bad configuration is refused at start, by name; plain CGI."""

import re

import pytest

from tests.handlers.test_generations import IMAGE
from tests.support.fastcgi import plain_cgi
from tests.support.process import HANDLERS, REPOSITORY
from tests.support.stack import SECRET, Stack, new_device

EX_CONFIG = 78
ALL = HANDLERS
WITH_DATABASE = [name for name in HANDLERS if name != "metrics"]

REFUSED = {
    "POSTGRES_URL": ["mysql://root:hunter2@db/x", "hunter2", "postgresql://u:hunter2@[::1/x",
                     "postgresql://u:hunter2@h/x?no_such_option=1", "nosuch=hunter2"],
    "DATABASE_URL": ["mysql://root:hunter2@db/x"],
    "POSTGRES_URL_NON_POOLING": ["mysql://root:hunter2@db/x", "hunter2"],
    "IDENTITY_DIGEST_KEY": ["hunter2", "hunter2" * 4],
    "LOG_LEVEL": ["hunter2", "INFO", "info,debug", "3"],
    "THREADS": ["hunter2", "0", "-1", "257", "1.5", "0x10", "99999999999999999999", "4 "],
    "DB_POOL_SIZE": ["hunter2", "0", "65"],
    "DB_PREPARED": ["hunter2", "yes", "auto,prepared"],
    "DB_TIMEOUT_MS": ["hunter2", "99", "20001"],
    "CLERK_JWT_KEY": ["hunter2", "-----BEGIN PUBLIC KEY-----hunter2-----END PUBLIC KEY-----"],
    "CLERK_JWKS_URL": ["hunter2", "http://example.org/hunter2", "ftp://h/hunter2"],
    "CLERK_ISSUER": ["hunter2", "http://example.org/hunter2"],
    "SANDBOX": ["hunter2", "yes", "ON"],
    "SLOW_QUERY_MS": ["hunter2", "0", "60001"],
    "YOOKASSA_SHOP_ID": ["hunter2 x", "hunter2:", "hunter2" * 10, "123456"],
    "YOOKASSA_SECRET_KEY": ["hunter2\n", "hunter2 x", "hunter2" * 40, "live_hunter2"],
    "YOOKASSA_API_URL": ["hunter2", "http://example.org/hunter2", "https://h/hunter2?x",
                         "https://h/hunter2/", "https://h/hunter2#x", "https://h/hunter 2",
                         "https://" + "hunter2" * 70],
    "YOOKASSA_WEBHOOK_NETWORKS": ["hunter2", "10.0.0.0/8,hunter2", "10.0.0.1/8", ","],
    "YOOKASSA_VAT_CODE": ["hunter2", "-1", "13"],
    "YOOKASSA_RECEIPT_EMAIL": ["hunter2", "hunter2@", "@hunter2", "hunter 2@example.org",
                               "hunter2@example.org" * 20],
    "YOOKASSA_TEST_PAYMENTS": ["hunter2", "yes", "ON"],
    "YOOKASSA_TIMEOUT_MS": ["hunter2", "99", "20001"],
    "PAYMENTS_RETURN_URL": ["hunter2", "http://example.org/hunter2", "https://h/hunter 2",
                            "https://" + "hunter2" * 300],
}
# Any text is taken at start; docs/configuration.md says what becomes of it.
TAKEN = {"DB_INIT_SECRET", "ALLOWED_ORIGINS", "SHARED_MEMORY", "CLERK_AUTHORIZED_PARTIES"}


def test_every_variable_is_covered():
    with open(f"{REPOSITORY}/common/base/config.h", encoding="utf-8") as file:
        variables = set(re.findall(r'X\([A-Z]+, [a-z_]+, "([A-Z_]+)"', file.read()))
    assert variables == set(REFUSED) | TAKEN


@pytest.mark.parametrize("variable,value", [
    (variable, value) for variable, values in REFUSED.items() for value in values])
def test_a_bad_value_is_refused_by_name(binaries, database, variable, value):
    environment = {"POSTGRES_URL": database, variable: value}
    if variable == "DATABASE_URL":
        environment["POSTGRES_URL"] = None
    status, answer, problem = plain_cgi(binaries, "tokens", "GET", "/api/tokens", env=environment)
    assert (status, answer) == (EX_CONFIG, None), problem
    assert variable in problem
    assert "hunter2" not in problem


def test_shop_and_secret_come_together(binaries, database):
    """Each one alone is refused above; the message names what is missing."""
    shop, secret = {"YOOKASSA_SHOP_ID": "123456"}, {"YOOKASSA_SECRET_KEY": "live_hunter2"}
    for half, missing in ((shop, "YOOKASSA_SECRET_KEY"), (secret, "YOOKASSA_SHOP_ID")):
        status, _, problem = plain_cgi(binaries, "tokens", "GET", "/api/tokens",
                                       env={"POSTGRES_URL": database, **half})
        assert status == EX_CONFIG and missing in problem, problem
    _, answer, problem = plain_cgi(binaries, "tokens", "GET", "/api/tokens", device=new_device(),
                                   env={"POSTGRES_URL": database, **shop, **secret})
    assert answer.status == 200, problem


@pytest.mark.parametrize("handler", ALL)
def test_every_handler_refuses_a_bad_value(binaries, database, handler):
    status, _, problem = plain_cgi(binaries, handler,
                                   env={"POSTGRES_URL": database, "THREADS": "hunter2"})
    assert status == EX_CONFIG and "THREADS" in problem and "hunter2" not in problem


@pytest.mark.parametrize("handler", WITH_DATABASE)
@pytest.mark.parametrize("environment", [{}, {"POSTGRES_URL": "", "DATABASE_URL": ""}])
def test_without_a_database_both_names_are_told(binaries, handler, environment):
    status, answer, problem = plain_cgi(binaries, handler, env=environment)
    assert (status, answer) == (EX_CONFIG, None)
    assert "POSTGRES_URL" in problem and "DATABASE_URL" in problem


def test_metrics_need_no_database(binaries):
    status, answer, _ = plain_cgi(binaries, "metrics", "GET", "/metrics",
                                  env={"REMOTE_ADDR": "127.0.0.1"})
    assert (status, answer.status) == (0, 200)


def test_postgres_url_wins(binaries, database):
    for environment in ({"POSTGRES_URL": database, "DATABASE_URL": "postgresql://h/none"},
                        {"DATABASE_URL": database}, {"POSTGRES_URL": "", "DATABASE_URL": database}):
        _, answer, problem = plain_cgi(binaries, "tokens", "GET", "/api/tokens",
                                       device=new_device(), env=environment)
        assert answer.status == 200, problem


def test_a_keyword_string_is_taken(binaries, database, cluster):
    name = database.rpartition("/")[0].rpartition("?")[0].rpartition("/")[2]
    text = f"host={cluster.folder} user=dreamlens dbname={name}"
    _, answer, problem = plain_cgi(binaries, "health", "GET", "/api/health",
                                   env={"POSTGRES_URL": text})
    assert answer.status == 200, problem


def test_shared_memory_that_cannot_be_used(binaries, database, tmp_path):
    for prefix in ("/dev/shm/no-such-folder/x", str(tmp_path / ("x" * 200))):
        status, answer, problem = plain_cgi(
            binaries, "tokens", "GET", "/api/tokens",
            env={"POSTGRES_URL": database, "SHARED_MEMORY": prefix})
        assert status != 0 and answer is None
        assert problem.strip()


def test_scripts_up_says_what_is_wrong(binaries, database):
    with pytest.raises(AssertionError) as refusal:
        Stack(database, binaries, {"DB_PREPARED": "hunter2"})
    assert "DB_PREPARED" in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


# --- plain CGI ---

@pytest.mark.quick
def test_a_handler_answers_in_a_terminal(binaries, database):
    """REQUEST_METHOD=GET build/release/bin/health, and nothing else set but the database."""
    status, answer, problem = plain_cgi(binaries, "health", env={
        "POSTGRES_URL": database, "REQUEST_METHOD": "GET"})
    assert status == 0 and answer.status == 200, problem
    assert answer.data["status"] == "healthy"


@pytest.mark.parametrize("handler,path", [
    ("tokens", "/api/tokens"), ("user", "/api/user"), ("generations", "/api/generations"),
    ("usage", "/api/usage"), ("health", "/api/health"), ("metrics", "/metrics")])
def test_every_handler_is_a_cgi_program(binaries, database, handler, path):
    here = {"POSTGRES_URL": database, "REMOTE_ADDR": "127.0.0.1"}  # metrics are for this machine
    status, answer, problem = plain_cgi(binaries, handler, "GET", path, device=new_device(),
                                        env=here)
    assert status == 0 and answer.status == 200, problem
    _, answer, _ = plain_cgi(binaries, handler, "GET", "/api/nothing", env=here)
    assert (answer.status, answer.code) == (404, "not_found")


def test_cgi_with_a_body(binaries, database):
    device = new_device()
    body = b'{"imageUrl":"' + IMAGE.encode() + b'"}'
    _, answer, problem = plain_cgi(binaries, "generations", "POST", "/api/generations", body,
                                   device, {"POSTGRES_URL": database})
    assert answer.status == 201, problem
    _, answer, _ = plain_cgi(binaries, "generations", "GET", "/api/generations", device=device,
                             env={"POSTGRES_URL": database})
    assert answer.data["total"] == 1


def test_cgi_body_that_is_too_short_or_too_long(binaries, database, cluster):
    body = b'{"imageUrl":"x"}'
    for length in ("1000", "99999999999999999999", "-1", "x", "1e3"):
        status, answer, _ = plain_cgi(
            binaries, "generations", "POST", "/api/generations", body, new_device(),
            {"POSTGRES_URL": database, "CONTENT_LENGTH": length})
        assert status == 0 and (answer is None or answer.status == 400), length
    _, answer, _ = plain_cgi(binaries, "generations", "POST", "/api/generations", b" " * 200_000,
                             new_device(), {"POSTGRES_URL": database})
    assert answer.status == 413
    assert cluster.value(database, "SELECT count(*) FROM generations") == 0


def test_init_db_by_cgi(binaries, empty_database):
    _, answer, problem = plain_cgi(
        binaries, "init-db", "POST", f"/api/init-db?secret={SECRET}",
        env={"POSTGRES_URL": empty_database, "DB_INIT_SECRET": SECRET})
    assert answer.status == 200, problem
