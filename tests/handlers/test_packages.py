"""/api/packages and /api/plans through nginx: what is sold, from the rows, for everybody."""

import pytest

from tests.support import openapi

PACKAGES = [{"package": "small", "tokens": 10, "price": "99.00", "currency": "RUB"},
            {"package": "medium", "tokens": 50, "price": "399.00", "currency": "RUB"},
            {"package": "large", "tokens": 100, "price": "699.00", "currency": "RUB"}]
PLANS = [
    {"plan": "free", "price": "0.00", "currency": "RUB",
     "limits": {"dailyGenerations": 0, "maxHistory": 10, "quality": "1K"}},
    {"plan": "pro", "price": "999.00", "currency": "RUB",
     "limits": {"dailyGenerations": 50, "maxHistory": 100, "quality": "2K"}},
    {"plan": "premium", "price": "2999.00", "currency": "RUB",
     "limits": {"dailyGenerations": None, "maxHistory": None, "quality": "4K"}},
]


@pytest.fixture
def ask(stack):
    """ask(path, **headers): the Answer that somebody without an identity gets, checked."""
    client = stack.client(anonymous=True)

    def get(path, method="GET", **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = client.request(method, path, headers=headers)
        openapi.check_response(method, path, answer.status, answer.headers, answer.body)
        return answer
    yield get
    client.close()


def test_what_is_sold(ask):
    assert ask("/api/packages").data == {"packages": PACKAGES}
    assert ask("/api/plans").data == {"plans": PLANS}


@pytest.mark.parametrize("path", ["/api/packages", "/api/plans"])
def test_the_same_again_costs_no_body(ask, path):
    first = ask(path)
    assert first.headers["Cache-Control"] == "public, max-age=60"
    tag = first.headers["ETag"]
    again = ask(path, If_None_Match=tag)
    assert (again.status, again.body) == (304, b"")
    assert again.headers["ETag"] == tag
    assert again.headers["Cache-Control"] == "public, max-age=60"
    assert ask(path, If_None_Match=f'"x", W/{tag}').status == 304
    other = ask(path, If_None_Match='"x"')
    assert (other.status, other.body) == (200, first.body)
    head = ask(path, method="HEAD")
    assert head.headers["ETag"] == tag


def test_a_row_that_changes_is_seen(ask, stack, cluster):
    """An operator changes a price without a build."""
    tag = ask("/api/packages").headers["ETag"]
    cluster.query(stack.database_url,
                  "INSERT INTO token_packages (package, tokens, price) VALUES ('tiny', 1, 9.9),"
                  " ('gone', 5, 0)")
    try:
        answer = ask("/api/packages", If_None_Match=tag)
        assert answer.data["packages"] == [
            {"package": "tiny", "tokens": 1, "price": "9.90", "currency": "RUB"}, *PACKAGES]
    finally:
        cluster.query(stack.database_url,
                      "DELETE FROM token_packages WHERE package IN ('tiny', 'gone')")


def test_an_identity_changes_nothing(stack, ask):
    client = stack.client()
    assert client.get("/api/plans").body == ask("/api/plans").body
    assert client.get("/api/plans", headers={"Authorization": "Device bad"}).status == 200
    client.close()
