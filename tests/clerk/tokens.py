"""The tokens that @clerk/backend and this verifier have to agree on, those where ours is
deliberately stricter, and those that everybody has to refuse. Each function returns {name: command
of issuer.mjs, or a token as it is}.
"""

import json
import random
import re

from tests.support.clerk import MACHINE_CATEGORY, PARTIES, part

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
# What a claim or a header field is replaced by, besides being left out.
ODD_VALUES = [None, True, False, 0, 1, -1, 1.5, "", "x", "0", "1767225600", [], [1], ["x"], {},
              {"x": 1}]
ABSENT = object()


def _without(values, name):
    return {key: value for key, value in values.items() if key != name}


def _changed(values, name, value):
    return _without(values, name) if value is ABSENT else {**values, name: value}


def _resigned(clerk, header, payload, **more):
    return {"do": "raw", "key": clerk.signing, "head": part(header), "body": part(payload), **more}


def changed_claims(clerk, now):
    """A good token with one claim replaced, left out or added, and signed again."""
    claims = clerk.claims("user_agreement", now=now)
    made = {}
    values = [ABSENT, *ODD_VALUES]
    for name in (*claims, "aud", "email", "unknown"):
        for value in values:
            if name == "sub" and value == "":
                continue  # stricter
            shown = "absent" if value is ABSENT else json.dumps(value)
            made[f"claim {name} {shown}"] = _resigned(clerk, clerk.header(),
                                                      _changed(claims, name, value))
    others = {
        "azp": ["https://other.example", "https://APP.example", "https://app.example/",
                "https://app.example,https://other.example", " https://app.example",
                "https://app.exampl", "https://app.example.evil.example", "null"],
        "iss": [clerk.url + "/", clerk.url.upper(), clerk.url[:-1], [clerk.url],
                clerk.url + "\u0000"],
        "sub": ["a", "user_\u00e9", "\u0444" * 100, " ", "x" * 255],
        "sts": ["active", "expired"],
        "email": ["a@example.org", "x" * 300],
    }
    for name, values in others.items():
        for value in values:
            made[f"claim {name} {json.dumps(value)[:40]}"] = _resigned(
                clerk, clerk.header(), _changed(claims, name, value))
    for name in ("exp", "nbf", "iat"):
        for tenths in range(-120, 121, 3):
            made[f"claim {name} now{tenths / 10:+}"] = _resigned(
                clerk, clerk.header(), _changed(claims, name, now + tenths / 10))
        for seconds in (-5, -4, 4, 5, 6, -6, -86400, 86400, -now, -2 * now):
            made[f"claim {name} now{seconds:+}"] = _resigned(
                clerk, clerk.header(), _changed(claims, name, now + seconds))
    return made


def changed_headers(clerk, now):
    """A good token with one field of its header replaced, left out or added, and signed again."""
    claims = clerk.claims("user_agreement", now=now)
    made = {}
    for name in ("alg", "typ", "kid", "cat", "unknown"):
        for value in [ABSENT, *ODD_VALUES]:
            shown = "absent" if value is ABSENT else json.dumps(value)
            made[f"header {name} {shown}"] = _resigned(
                clerk, _changed(clerk.header(), name, value), claims)
    others = {
        "alg": ["none", "None", "NONE", "rs256", "RS256 ", "HS256", "HS384", "ES256", "PS256",
                "EdDSA", ["RS256"]],
        "typ": ["jwt", "JWS", "at+jwt", "application/at+jwt", "JWT\u0000", ["JWT"]],
        "cat": [MACHINE_CATEGORY, MACHINE_CATEGORY.lower(), [MACHINE_CATEGORY]],
        "kid": ["ins_somebody_elses", "../../etc/passwd", "x" * 500],
        "jku": ["https://evil.example/jwks.json"],
        "x5u": ["https://evil.example/x.pem"],
        "jwk": [{"kty": "oct", "k": "AAAA"}],
        "b64": [False],
    }
    for name, values in others.items():
        for value in values:
            made[f"header {name} {json.dumps(value)[:40]}"] = _resigned(
                clerk, _changed(clerk.header(), name, value), claims)
    return made


# How a JSON text may be written, good and bad.
JSON_FORMS = {
    "as it is": lambda text: text,
    "blanks around": lambda text: f" \t\r\n{text}\n ",
    "indented": lambda text: json.dumps(json.loads(text), indent=2),
    "escaped": lambda text: text.replace("s", "\\u0073"),
    "double, the last is good": lambda text: '{"sub":1,"alg":"none","exp":1,' + text[1:],
    "double, the last is bad": lambda text: text[:-1] + ',"sub":1,"alg":"none"}',
    "exponent": lambda text: re.sub(r'("exp": \d+)', r"\1e0", text),
    "fraction": lambda text: re.sub(r'("exp": \d+)', r"\1.25", text),
    "trailing comma": lambda text: text[:-1] + ",}",
    "trailing letter": lambda text: text + "x",
    "trailing object": lambda text: text + "{}",
    "trailing NUL": lambda text: text + "\0",
    "single quotes": lambda text: text.replace('"', "'"),
    "names without quotes": lambda text: text.replace('"sub"', "sub").replace('"alg"', "alg"),
    "comment": lambda text: "/**/" + text,
    "comment inside": lambda text: text[:-1] + "/**/}",
    "line break in a text": lambda text: text[:-1] + ',"x":"\n"}',
    "tab in a text": lambda text: text[:-1] + ',"x":"\t"}',
    "NUL in a text": lambda text: text[:-1] + ',"x":"\0"}',
    "bad escape": lambda text: text[:-1] + ',"x":"\\x41"}',
    "bad unicode escape": lambda text: text[:-1] + ',"x":"\\u00g0"}',
    "short unicode escape": lambda text: text[:-1] + ',"x":"\\u12"}',
    "leading zero": lambda text: text[:-1] + ',"x":012}',
    "leading minus zero": lambda text: text[:-1] + ',"x":-012}',
    "leading plus": lambda text: text[:-1] + ',"x":+1}',
    "leading point": lambda text: text[:-1] + ',"x":.5}',
    "no digit after the point": lambda text: text[:-1] + ',"x":1.}',
    "no digit after the exponent": lambda text: text[:-1] + ',"x":1e}',
    "no digit after the sign": lambda text: text[:-1] + ',"x":1e+}',
    "exponent after a point": lambda text: text[:-1] + ',"x":1.e5}',
    "two points": lambda text: text[:-1] + ',"x":1.2.3}',
    "two minuses": lambda text: text[:-1] + ',"x":--1}',
    "a minus within": lambda text: text[:-1] + ',"x":1-1}',
    "a point in the exponent": lambda text: text[:-1] + ',"x":1e5.5}',
    "leading zeros in exponents": lambda text: text[:-1] + ',"x":[1e-05,1E-00,-0,-0.0,0e0]}',
    "a huge integer": lambda text: text[:-1] + ',"x":' + "9" * 400 + "}",
    "delete in a text": lambda text: text[:-1] + ',"x":"\u007f"}',
    "vertical tab before": lambda text: "\v" + text,
    "words in a text": lambda text: text[:-1] + ',"x":"NaN Infinity -01 1. \\\" NaN"}',
    "hexadecimal": lambda text: text[:-1] + ',"x":0x10}',
    "minus alone": lambda text: text[:-1] + ',"x":-}',
    "true in capitals": lambda text: text[:-1] + ',"x":True}',
    "nUll": lambda text: text[:-1] + ',"x":nUll}',
    "NaN": lambda text: text[:-1] + ',"x":NaN}',
    "Infinity": lambda text: text[:-1] + ',"x":Infinity}',
    "minus Infinity": lambda text: text[:-1] + ',"x":-Infinity}',
    "not ended": lambda text: text[:-1],
    "empty": lambda text: "",
    "empty object": lambda text: "{}",
    "array": lambda text: f"[{text}]",
    "text": lambda text: '"x"',
    "null": lambda text: "null",
    "number": lambda text: "1",
    "form feed before": lambda text: "\f" + text,
    "no-break space before": lambda text: "\u00a0" + text,
    "__proto__": lambda text: text[:-1] + ',"__proto__":{"sub":1}}',
}


def changed_json(clerk, now):
    """A good token whose parts are written in unusual ways, good and bad, and signed again."""
    header, claims = json.dumps(clerk.header()), json.dumps(clerk.claims("user_agreement", now=now))
    made = {}
    for name, form in JSON_FORMS.items():
        made[f"header {name}"] = _resigned(clerk, form(header), claims)
        made[f"payload {name}"] = _resigned(clerk, header, form(claims))
    return made


def changed_bytes(clerk, token, count):
    """A good token with one byte replaced, dropped, doubled or added, not signed again."""
    pick = random.Random(20251122)
    other = "=.+/ !%\u0000\u007f\u00e9"
    made = {}
    for i in range(count):
        at = pick.randrange(len(token))
        kind = pick.randrange(5)
        byte = pick.choice(ALPHABET if pick.random() < 0.8 else other)
        if kind <= 1:
            text = token[:at] + byte + token[at + 1 :]
        elif kind == 2:
            text = token[:at] + token[at + 1 :]
        elif kind == 3:
            text = token[:at] + byte + token[at:]
        else:
            text = token[:at]
        if text.endswith("="):
            continue  # stricter
        made[f"byte {i} {kind} {byte!r} at {at}"] = text
    # Every spelling of the last character, which has bits that stand for nothing.
    for byte in ALPHABET:
        made[f"last {byte}"] = token[:-1] + byte
    head, body, signature = token.split(".")
    for name, text in {
        "two dots": f"{head}..{body}.{signature}", "one part": head, "two parts": f"{head}.{body}",
        "four parts": f"{token}.", "four parts, first empty": f".{token}", "empty": "",
        "dots": "..",
        "no signature": f"{head}.{body}.", "no payload": f"{head}..{signature}",
        "no header": f".{body}.{signature}", "blank before": f" {token}",
        "signature twice": f"{token}{signature}", "swapped": f"{body}.{head}.{signature}",
        "line break behind": f"{token}\n", "in two lines": f"{head}.{body}\n.{signature}",
        "signature short": token[:-8], "signature long": f"{token}AAAA",
        "signature of zeros": f"{head}.{body}." + "A" * len(signature),
        "five bytes": "a.b.c", "Bearer": f"Bearer {token}",
    }.items():
        made[f"form {name}"] = text
    return made


def resigned_by_others(clerk, now):
    """Tokens that somebody else signed."""
    claims, other = clerk.claims("user_agreement", now=now), clerk.new_key(publish=False)
    made = {"good": {"do": "jose", "key": clerk.signing, "header": clerk.header(),
                     "payload": claims},
            "alg none": {"do": "unsecured", "payload": claims}}
    for name, kid in (("its own kid", other), ("our kid", clerk.signing)):
        made[f"another key, {name}"] = {"do": "jose", "key": other,
                                        "header": clerk.header(kid=kid), "payload": claims}
    for alg in ("HS256", "HS384", "HS512"):
        for name, secret in (("PEM", clerk.pem()), ("stripped PEM", clerk.pem().strip()),
                             ("modulus", clerk.keys[clerk.signing]["jwk"]["n"])):
            made[f"{alg} with the public key ({name})"] = {
                "do": "hmac", "secret": secret, "header": clerk.header(alg=alg), "payload": claims}
    # RFC 8725, section 3.1: the algorithm is the key's, not the token's.
    for name in ("RS384", "RS512"):
        for alg in (name, "RS256"):
            made[f"{name} that says {alg}"] = _resigned(clerk, clerk.header(alg=alg), claims,
                                                        hash=name)
        made[f"RS256 that says {name}"] = _resigned(clerk, clerk.header(alg=name), claims)
    return made


def stricter(clerk, now):
    """Where this verifier refuses and @clerk/backend's verifyToken does not, and why it should."""
    header, claims = clerk.header(), clerk.claims("user_stricter", now=now)
    good = {"do": "raw", "key": clerk.signing, "head": part(header), "body": part(claims)}
    made = {
        # RFC 7515, section 2: base64url has no padding. One token, one text.
        "padding of the header": {**good, "head": good["head"] + "="},
        "padding of the payload": {**good, "body": good["body"] + "=="},
        # RFC 7515, section 4.1.11: an extension that is not understood.
        "crit": _resigned(clerk, {**header, "crit": ["exp"]}, claims),
        "crit empty": _resigned(clerk, {**header, "crit": []}, claims),
        # Clerk's own middleware treats it as signed out; verifyToken leaves that to its caller.
        "sts pending": _resigned(clerk, header, {**claims, "sts": "pending"}),
        # Nobody: an account that everybody of this kind would share.
        "sub empty": _resigned(clerk, header, {**claims, "sub": ""}),
        "sub with NUL": _resigned(clerk, header, {**claims, "sub": "user\u0000"}),
        "sub of 256 bytes": _resigned(clerk, header, {**claims, "sub": "x" * 256}),
        # Beyond the year 9999.
        "exp 1e300": _resigned(clerk, header, {**claims, "exp": 1e300}),
        "exp 2**63": _resigned(clerk, header, {**claims, "exp": 2**63}),
        "nbf -1e300": _resigned(clerk, header, {**claims, "nbf": -1e300}),
        "iat -1e300": _resigned(clerk, header, {**claims, "iat": -1e300}),
        # TOKEN_BYTES_MAX: what fits one header.
        "9 KiB": _resigned(clerk, header, {**claims, "x": "x" * 7000}),
        "1 MB": _resigned(clerk, header, {**claims, "x": "x" * (1 << 20)}),
        # JSON_DEPTH_MAX.
        "depth 20": _resigned(clerk, header, {**claims, "x": json.loads("[" * 20 + "]" * 20)}),
        # RFC 8259, section 8.1: UTF-8, and no byte order mark.
        "bad UTF-8": _resigned(clerk, header, json.dumps(claims).encode()[:-1] + b',"x":"\xff"}'),
        "byte order mark": _resigned(clerk, header, b"\xef\xbb\xbf" + json.dumps(claims).encode()),
    }
    return made


def _jose(clerk, claims, head=None, key=None, **changes):
    """A token that is signed well, with changes of header and claims; None leaves a claim out."""
    payload = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    return {"do": "jose", "key": key or clerk.signing, "header": {**clerk.header(), **(head or {})},
            "payload": payload}


def refused_signatures(clerk, claims, good):
    """Not signed by our key, or not by its algorithm."""
    header, other = clerk.header(), clerk.new_key(publish=False)
    _, body, signature = good.split(".")
    return {
        "alg none": {"do": "unsecured", "payload": claims},
        "alg none, signed": _resigned(clerk, {**header, "alg": "none"}, claims),
        "alg none, our signature": f"{part({**header, 'alg': 'none'})}.{body}.{signature}",
        "alg none, no signature": f"{part({**header, 'alg': 'none'})}.{body}.",
        "HS256 with the public key as secret":
            {"do": "hmac", "secret": clerk.pem(), "header": {**header, "alg": "HS256"},
             "payload": claims},
        "another key, our kid": _jose(clerk, claims, key=other),
        "another key, its kid": _jose(clerk, claims, {"kid": other}, key=other),
        "RS384": _jose(clerk, claims, {"alg": "RS384"}),
        "RS512": _jose(clerk, claims, {"alg": "RS512"}),
        "PS256": _jose(clerk, claims, {"alg": "PS256"}),
    }


def refused_claims(clerk, claims, now):
    """Signed well, and not for us, not now, or nobody's."""
    header = clerk.header()
    return {
        "wrong issuer": _jose(clerk, claims, iss="https://clerk.evil.example"),
        "issuer with a slash": _jose(clerk, claims, iss=clerk.url + "/"),
        "no issuer": _jose(clerk, claims, iss=None),
        "issuer not a text": _jose(clerk, claims, iss=[clerk.url]),
        "wrong azp": _jose(clerk, claims, azp="https://evil.example"),
        "missing azp": _resigned(clerk, header, _without(claims, "azp")),
        "azp empty": _jose(clerk, claims, azp=""),
        "azp not a text": _jose(clerk, claims, azp=[PARTIES[0]]),
        "azp both of the list": _jose(clerk, claims, azp=", ".join(PARTIES)),
        "expired": _jose(clerk, claims, exp=now - 60),
        "expired, at the skew": _jose(clerk, claims, exp=now - 5),
        "no exp": _jose(clerk, claims, exp=None),
        "exp as a text": _resigned(clerk, header, {**claims, "exp": str(now + 60)}),
        "exp null": _resigned(clerk, header, {**claims, "exp": None}),
        "exp true": _resigned(clerk, header, {**claims, "exp": True}),
        "not yet valid": _jose(clerk, claims, nbf=now + 60),
        "nbf null": _resigned(clerk, header, {**claims, "nbf": None}),
        "nbf as a text": _resigned(clerk, header, {**claims, "nbf": str(now)}),
        "issued in the future": _jose(clerk, claims, iat=now + 60),
        "iat null": _resigned(clerk, header, {**claims, "iat": None}),
        "no sub": _resigned(clerk, header, _without(claims, "sub")),
        "sub a number": _resigned(clerk, header, {**claims, "sub": 12345}),
        "sub null": _resigned(clerk, header, {**claims, "sub": None}),
        "sub a list": _resigned(clerk, header, {**claims, "sub": ["user_table"]}),
        "sub empty": _jose(clerk, claims, sub=""),
        "machine token": _jose(clerk, claims, {"cat": MACHINE_CATEGORY}),
        "crit": _resigned(clerk, {**header, "crit": ["exp"]}, claims),
        "typ of an access token": _jose(clerk, claims, {"typ": "at+jwt"}),
        "typ null": _resigned(clerk, {**header, "typ": None}, claims),
        "sts pending": _jose(clerk, claims, sts="pending"),
    }


def refused_forms(clerk, claims, good):
    """Texts that are no token, or not this one any more."""
    header = clerk.header()
    head, body, signature = good.split(".")
    return {
        "1 MB": _jose(clerk, claims, filler="x" * 1_000_000),
        "1 MB of dots": "." * 1_000_000,
        "1 MB of header": "A" * 1_000_000 + f".{body}.{signature}",
        "truncated": good[:-1],
        "truncated by half": good[: len(good) // 2],
        "truncated in the payload": good[: len(head) + 20],
        "signature empty": f"{head}.{body}.",
        "signature missing": f"{head}.{body}",
        "header empty": f".{body}.{signature}",
        "payload empty": f"{head}..{signature}",
        "payload empty, signed": {"do": "raw", "key": clerk.signing, "head": head, "body": ""},
        "all parts empty": "..",
        "nothing": "",
        "double dot": f"{head}..{body}.{signature}",
        "four parts": f"{good}.{signature}",
        "dot behind": f"{good}.",
        "bad base64: a blank": f"{head}.{body[:10]} {body[10:]}.{signature}",
        "bad base64: plus": f"{head}.{body}.+{signature[1:]}",
        "bad base64: slash": f"{head}.{body}./{signature[1:]}",
        "bad base64: padding": f"{good}==",
        "bad base64: impossible length": f"{good}AAA",
        "bad base64: in the signed header":
            {"do": "raw", "key": clerk.signing, "head": "!" + head, "body": body},
        "bad base64: in the signed payload":
            {"do": "raw", "key": clerk.signing, "head": head, "body": body + "!"},
        "header not JSON": _resigned(clerk, "RS256", claims),
        "payload not JSON": _resigned(clerk, header, "user_table"),
        "payload an array": _resigned(clerk, header, [claims]),
        "payload of another token": f"{head}.{part({**claims, 'sub': 'user_other'})}.{signature}",
        "a device id": "device_0123456789abcdef",
    }


def refused(clerk, now):
    """What every verifier has to refuse."""
    claims = clerk.claims("user_table", now=now)
    good = clerk.issuer.one(**_jose(clerk, claims))
    return {**refused_signatures(clerk, claims, good), **refused_claims(clerk, claims, now),
            **refused_forms(clerk, claims, good)}
