"""Clerk's session tokens: what is refused, and agreement with @clerk/backend."""

import os
import subprocess

import pytest

from tests.clerk import tokens
from tests.support.clerk import PARTIES
from tests.support.process import REPOSITORY

NOW = 1767225600  # 2026-01-01


@pytest.fixture(scope="module")
def verify(mode, clerk, tmp_path_factory):
    """verify(tokens): our verdict on each, at NOW or at times[i]; the subject, or None."""
    binary = os.path.join(REPOSITORY, "build", mode, "tests", "clerk", "verify")
    assert os.path.exists(binary), f"expected make MODE={mode} unit before"
    pem = tmp_path_factory.mktemp("clerk") / "key.pem"
    pem.write_text(clerk.pem())

    def run(texts, times=None, issuer_name=clerk.url, parties=PARTIES):
        lines = [f"{times[i] if times else NOW} {text.encode().hex()}\n"
                 for i, text in enumerate(texts)]
        done = subprocess.run([binary, pem, issuer_name, ", ".join(parties)], text=True,
                              input="".join(lines), capture_output=True, timeout=60, check=False)
        assert done.returncode == 0 and not done.stderr, done.stderr
        verdicts = done.stdout.split("\n")[:-1]
        assert len(verdicts) == len(texts)
        return [line[3:] if line.startswith("ok ") else None for line in verdicts]

    return run


def made(issuer, table):
    """{name: token} of {name: command or token}."""
    names = [name for name, item in table.items() if isinstance(item, dict)]
    done = dict(zip(names, issuer.run([table[name] for name in names])))
    return {name: done.get(name, item) for name, item in table.items()}


def judged(issuer, clerk, texts, now=NOW):
    """What @clerk/backend says of each: None when it is good, else why not."""
    options = {"jwtKey": clerk.pem(), "authorizedParties": list(PARTIES), "issuer": clerk.url}
    return issuer.run([{"do": "clerk", "token": text, "now": now, "options": options}
                       for text in texts])


def test_refused(clerk, issuer, verify):
    """Every token of the table is refused, and the good one they were made from is not."""
    table = made(issuer, tokens.refused(clerk, NOW))
    good = made(issuer, {"good": {"do": "jose", "key": clerk.signing, "header": clerk.header(),
                                  "payload": clerk.claims("user_table", now=NOW)}})["good"]
    verdicts = dict(zip(table, verify(list(table.values()))))
    assert {name: subject for name, subject in verdicts.items() if subject is not None} == {}
    assert verify([good]) == ["user_table"]


def test_accepted(clerk, issuer, verify):
    """Good tokens of several kinds, and the clock's skew up to where it ends."""
    claims, header = clerk.claims("user_good", now=NOW), clerk.header()
    kinds = {
        "as Clerk makes it": (header, claims),
        "other party": (header, {**claims, "azp": PARTIES[1]}),
        "no typ": ({k: v for k, v in header.items() if k != "typ"}, claims),
        "no category": ({k: v for k, v in header.items() if k != "cat"}, claims),
        "no nbf, no iat": (header, {k: v for k, v in claims.items() if k not in ("nbf", "iat")}),
        "no sts": (header, {k: v for k, v in claims.items() if k != "sts"}),
        "fractions of seconds": (header, {**claims, "exp": NOW + 0.5, "iat": NOW - 0.5}),
        "expired 4 s ago": (header, {**claims, "exp": NOW - 4}),
        "valid in 4 s": (header, {**claims, "nbf": NOW + 4}),
        "valid in 5 s": (header, {**claims, "nbf": NOW + 5}),
        "issued in 4 s": (header, {**claims, "iat": NOW + 4}),
        "expires in a year": (header, {**claims, "exp": NOW + 31536000}),
    }
    table = made(issuer, {name: {"do": "jose", "key": clerk.signing, "header": head,
                                 "payload": payload} for name, (head, payload) in kinds.items()})
    verdicts = dict(zip(table, verify(list(table.values()))))
    assert {name for name, subject in verdicts.items() if subject != "user_good"} == set()
    # One token at each second around its life, which lasts from nbf to exp.
    token = clerk.issuer.one(do="jose", key=clerk.signing, header=header,
                             payload={**claims, "iat": NOW, "nbf": NOW, "exp": NOW + 60})
    times = list(range(NOW - 10, NOW + 71))
    accepted = [at - NOW for at, subject in zip(times, verify([token] * len(times), times))
                if subject]
    assert accepted == list(range(-5, 65))


def test_policy_not_configured(clerk, issuer, verify):
    """Without an issuer or authorized parties those claims are not looked at."""
    claims = clerk.claims("user_policy", now=NOW, iss="https://anybody.example",
                          azp="https://anywhere.example")
    token = issuer.one(do="jose", key=clerk.signing, header=clerk.header(), payload=claims)
    assert verify([token], issuer_name="", parties=()) == ["user_policy"]
    assert verify([token], parties=()) == [None]
    assert verify([token], issuer_name="") == [None]


@pytest.mark.quick
def test_agreement(clerk, issuer, verify):
    """@clerk/backend and this verifier say the same of each of at least 2,000 tokens."""
    good = issuer.one(do="jose", key=clerk.signing, header=clerk.header(),
                      payload=clerk.claims("user_agreement", now=NOW))
    table = made(issuer, {
        **tokens.resigned_by_others(clerk, NOW), **tokens.changed_claims(clerk, NOW),
        **tokens.changed_headers(clerk, NOW), **tokens.changed_json(clerk, NOW),
        **tokens.changed_bytes(clerk, good, 2500),
    })
    texts = list(table.values())
    assert len(set(texts)) >= 2000
    ours, theirs = verify(texts), judged(issuer, clerk, texts)
    disagreed = {name: {"ours": mine, "theirs": why or "good"}
                 for name, mine, why in zip(table, ours, theirs) if (mine is None) != bool(why)}
    assert not disagreed, "\n".join(f"{name}: {verdicts}" for name, verdicts in disagreed.items())
    # Both say both often enough for the agreement to mean something.
    accepted = sum(mine is not None for mine in ours)
    assert accepted >= 200 and len(texts) - accepted >= 1000


def test_stricter(clerk, issuer, verify):
    """The whole list of what @clerk/backend accepts and this verifier does not."""
    table = made(issuer, tokens.stricter(clerk, NOW))
    texts = list(table.values())
    accepted_here = [name for name, mine in zip(table, verify(texts)) if mine is not None]
    refused_there = {name: why for name, why in zip(table, judged(issuer, clerk, texts)) if why}
    assert accepted_here == []
    assert refused_there == {}
