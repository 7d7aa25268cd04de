"""Where a person comes back to after paying: which URLs are allowed, and the default."""

import json

import pytest

from tests.support.shop import alone


@pytest.mark.parametrize("url,opened", [
    ("https://app.example", "https://app.example/"),
    ("https://app.example/a/b?c=d#e", "https://app.example/a/b?c=d#e"),
    ("https://other.example?x", "https://other.example/?x"),
    ("https://app.example/" + "a" * (2048 - 20), "https://app.example/" + "a" * (2048 - 20)),
    ("HTTPS://APP.example:443/A", "https://app.example/A"),
    (" https://app.ex\tample/\n", "https://app.example/"),
    ("https:\\\\app.example\\x", "https://app.example/x"),
    ("https:///app.example", "https://app.example/"),
    ("https://app%2Eexample/a/%2e%2E/b", "https://app.example/b"),
    ("https://app.example\\@evil.example", "https://app.example/@evil.example"),
    ("https://app.example/ x\u00e4", "https://app.example/%20x%C3%A4"),
])
def test_a_return_url_that_is_allowed(shop, buyer, url, opened):
    """The provider gets what a browser would open, which is what was checked."""
    buyer.buy(returnUrl=url)
    assert json.loads(shop.posts()[-1]["body"])["confirmation"]["return_url"] == opened


@pytest.mark.parametrize("url", [
    "", "app.example", "//app.example", "http://app.example/", "ftp://app.example/",
    "javascript:alert(1)", "https://evil.example/", "https://app.example.evil.example/",
    "https://app.example@evil.example/", "https://evil.example/https://app.example",
    "https://app.example:444/", "https://user:pw@app.example/",
    "https://evil.example\\@app.example", "https://", "https:///", "HTTPS://evil.example",
    "https://app.example/" + "a" * 2048,
    "https://app.example/" + "\u00e4" * 400, "https:evil.example", "https:/\\evil.example",
    "https://evil.example\\.app.example/", "https://app.example%40evil.example/",
    "https://app.ex\u0430mple/", "https://app.example./", "https://0x7f.1/",
])
def test_a_return_url_that_is_not(buyer, url):
    answer = buyer.order(returnUrl=url)
    assert (answer.status, answer.code, answer.json["field"]) == (400, "invalid_field", "returnUrl")


def test_the_default_return_url(shop, buyer):
    buyer.buy()
    assert (json.loads(shop.posts()[-1]["body"])["confirmation"]["return_url"]
            == "https://app.example/")


@pytest.mark.parametrize("environment,expected", [
    ({"PAYMENTS_RETURN_URL": "https://paid.example/x"}, "https://paid.example/x"),
    ({"PAYMENTS_RETURN_URL": "https://paid.example/x", "ALLOWED_ORIGINS": "https://o.example"},
     "https://paid.example/x"),
    ({"ALLOWED_ORIGINS": ",https://o.example,https://p.example"}, "https://o.example"),
    ({}, None),
])
def test_default_return_urls(shop, make_handler, environment, expected):
    answer = alone(shop, make_handler, **environment)()
    if expected is None:
        assert (answer.code, answer.json["field"]) == ("invalid_field", "returnUrl")
        return
    assert answer.status == 200
    assert json.loads(shop.posts()[-1]["body"])["confirmation"]["return_url"] == expected


@pytest.mark.parametrize("url,allowed", [
    ("http://localhost/", True), ("http://localhost:3000/x", True), ("https://any.example", True),
    ("http://localhost.evil.example/", False), ("http://localhost@evil.example/", False),
    ("http://127.0.0.1/", False), ("http://any.example", False),
])
def test_return_urls_without_allowed_origins(shop, make_handler, url, allowed):
    assert (alone(shop, make_handler)(returnUrl=url).status == 200) is allowed


@pytest.mark.parametrize("origins", ["", "https://o.example"])
@pytest.mark.parametrize("url,allowed", [
    ("https://paid.example/y", True), ("https://paid.example", True),
    ("https://o.example/y", None), ("https://paid.example.evil.example/", False),
    ("https://any.example/", False), ("http://localhost/", False)])
def test_return_urls_with_a_default(shop, make_handler, origins, url, allowed):
    """Nobody is sent anywhere but where the operator's own pages are."""
    more = {"ALLOWED_ORIGINS": origins} if origins else {}
    create = alone(shop, make_handler, PAYMENTS_RETURN_URL="https://paid.example/x", **more)
    expected = bool(origins) if allowed is None else allowed
    assert (create(returnUrl=url).status == 200) is expected
