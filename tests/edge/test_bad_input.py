"""The issue's table "What bad input gets": bodies, sizes, text that looks like SQL."""

import json

import pytest

from tests.support import openapi

from tests.edge.test_contract import raw
from tests.handlers.test_generations import IMAGE
from tests.support.stack import SECRET

BAD_JSON = [
    b"{", b"}", b"[", b"nul", b"{]", b'{"a"}', b'{"a":}', b'{"a":1,}', b'{"a":1 "b":2}', b"{'a':1}",
    b"{a:1}", b'{"a":1}}', b'{"a":1} x', b'{"a":1}{"b":2}', b'{"a":1}\0', b'{"a":"\n"}',
    b'{"a":01}', b'{"a":+1}', b'{"a":.5}', b'{"a":1.}', b'{"a":NaN}', b'{"a":Infinity}',
    b'{"a":"\\x"}', b'{"a":"\\u12"}', b'{"a":"b}', b'/* */{"a":1}', b'{"a":1/**/}',
    b'{"a":tru}', b'{"a":TRUE}', b"\xef\xbb\xbf{", b"\0", b"\xff\xfe{\0}\0",
]
INVALID_UTF8 = [b"\xff", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80",
                b"\xe2\x82", b"\xf8\x88\x80\x80\x80"]
POSTS = ["/api/generations", "/api/usage"]
INJECTIONS = [
    "'; DROP TABLE users; --", "\"; DROP TABLE users; --", "1 OR 1=1", "$1", "%s%n%x", "\\'; --",
    "$$; DROP TABLE users; $$", "'||(SELECT version())||'", "\u02bc; DROP TABLE users; --",
    "a\\", "{{7*7}}", "../../etc/passwd", "<script>alert(1)</script>", "\r\nSet-Cookie: a=b",
]


def assert_unchanged(client):
    """The worker lives, and nothing was stored."""
    assert client.get("/api/generations").data["total"] == 0


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("body", BAD_JSON)
def test_malformed_json(client, path, body):
    answer = client.post(path, body)
    assert (answer.status, answer.code) == (400, "malformed_json"), answer
    assert_unchanged(client)


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("body", [b"[]", b"1", b'"x"', b"null", b"true", b'[{"imageUrl":"x"}]'])
def test_json_that_is_no_object(client, path, body):
    answer = client.post(path, body)
    assert answer.status == 400 and answer.code in ("malformed_json", "invalid_field")
    assert_unchanged(client)


@pytest.mark.parametrize("bytes_", INVALID_UTF8)
def test_invalid_utf8(client, bytes_):
    body = b'{"imageUrl":"' + IMAGE.encode() + b'","promptUsed":"a' + bytes_ + b'b"}'
    answer = client.post("/api/generations", body)
    assert answer.status == 400
    assert answer.code in ("malformed_json", "invalid_field")
    assert answer.json["field"] == "promptUsed"
    assert_unchanged(client)


@pytest.mark.parametrize("text", [r"a\u0000b", r"\u0000"])
@pytest.mark.parametrize("field", ["imageUrl", "promptUsed", "trend"])
def test_nul_in_a_string(client, field, text):
    whole = {"imageUrl": f'"{IMAGE}"', field: f'"{text}"'}
    body = "{" + ",".join(f'"{name}":{value}' for name, value in whole.items()) + "}"
    answer = client.post("/api/generations", body.encode())
    assert answer.status == 400
    assert answer.json["field"] == field
    assert_unchanged(client)


@pytest.mark.parametrize("text", [r"\ud800", r"\udc00", r"\ud800\ud800", r"\ud83dx", r"\ud800A"])
def test_a_lone_surrogate(client, text):
    body = f'{{"imageUrl":"{IMAGE}","promptUsed":"{text}"}}'.encode()
    answer = client.post("/api/generations", body)
    if answer.status == 201:  # read as U+FFFD, which is valid text, is a fair answer as well
        assert "\ufffd" in answer.data["generation"]["prompt_used"]
        return
    assert answer.status == 400, answer


@pytest.mark.parametrize("body,field", [
    (b'{"imageUrl":"a","imageUrl":"b"}', "imageUrl"),
    (b'{"imageUrl":"a","image\\u0055rl":"b"}', "imageUrl"),
    (b'{"\\u0069mageUrl":"a","imageUrl":"b"}', "imageUrl"),
    (b'{"imageUrl":"a","x":1,"x":2}', "x"),
    (b'{"imageUrl":"a","x":{"y":1,"y":1}}', "y"),
    (b'{"imageUrl":"a","x":[{"y":1},{"y":1,"z":2,"y":3}]}', "y"),
    (b'{"imageUrl":"a","":1,"":2}', ""),
    (b'{"imageUrl":"a","\\u00e9":1,"\xc3\xa9":2}', "é"),
    (b'{"imageUrl":"a","a\\/b":1,"a/b":2}', "a/b"),
    (b'{"imageUrl":"a","\\ud83d\\ude00":1,"\xf0\x9f\x98\x80":2}', "\U0001f600"),
])
def test_a_duplicate_key(client, body, field):
    """Escaped spellings of a name are the same name."""
    answer = client.post("/api/generations", body)
    assert (answer.status, answer.code) == (400, "malformed_json"), answer
    if field:
        assert answer.json["field"] == field
    assert_unchanged(client)


@pytest.mark.parametrize("count", [300, 2000, 5000])
def test_a_duplicate_among_many_names(client, count):
    """However many names or objects come before it."""
    names = [f'"n{n}":0' for n in range(count)]
    many = "{" + f'"imageUrl":"a",{",".join(names)},"n{count - 1}":1' + "}"
    objects = "{" + f'"imageUrl":"a","x":[{",".join(["{}"] * count)},{{"y":1,"y":2}}]' + "}"
    for body in (many, objects):
        assert len(body) < 65536
        answer = client.post("/api/generations", body.encode())
        assert (answer.status, answer.code) == (400, "malformed_json"), answer
    assert_unchanged(client)


def test_equal_names_in_different_objects_are_no_duplicates(client):
    body = {"imageUrl": IMAGE, "x": {"imageUrl": 1, "y": {"x": 1}}, "z": [{"y": 1}, {"y": 2}]}
    assert client.post("/api/generations", body).status == 201


@pytest.mark.parametrize("pattern", ["[", '{"a":', '[{"a":'])
@pytest.mark.parametrize("depth", [17, 100, 10000])
def test_deep_nesting(client, pattern, depth):
    closing = "".join({"[": "]", "{": "}"}.get(c, "") for c in reversed(pattern))
    depth = min(depth, 60000 // (len(pattern) + len(closing)))
    body = '{"imageUrl":"a","x":' + pattern * depth + "1" + closing * depth + "}"
    answer = client.post("/api/generations", body.encode())
    assert (answer.status, answer.code) == (400, "malformed_json"), answer
    answer = client.post("/api/generations", ('{"imageUrl":"a","x":' + pattern * depth).encode())
    assert (answer.status, answer.code) == (400, "malformed_json"), answer
    assert_unchanged(client)


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9223372036854775808", "9" * 400,
                                    "1" * 60000, "1e-400", "0." + "1" * 1000])
def test_huge_numbers_in_ignored_fields_do_no_harm(client, number):
    body = f'{{"imageUrl":"{IMAGE}","x":{number}}}'.encode()
    assert client.post("/api/generations", body).status in (201, 400)
    assert client.get("/api/tokens").status == 200


@pytest.mark.parametrize("value", [None, 1, True, [], {}, "", "upload", "download ", "DOWNLOAD",
                                   "generation", "download\u0000", "d" * 60000])
def test_a_bad_action(client, value):
    answer = client.post("/api/usage", {"action": value})
    assert answer.status == 400
    assert (answer.code, answer.json["field"]) == ("invalid_field", "action")
    assert client.get("/api/usage").data["today"] == {"generation": 0, "download": 0}


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("body", [None, b"", b" \n\t "])
def test_an_empty_body_where_fields_are_needed(client, path, body):
    answer = client.post(path, body)
    assert answer.status == 400 and answer.json["field" if path == POSTS[1] else "error"]
    assert_unchanged(client)


# --- sizes ---

@pytest.mark.parametrize("path,rest,cap", [
    ("/api/usage", b'{"action":"download","x":"', 65536),
    ("/api/generations", b'{"imageUrl":"a","x":"', 196608)])
def test_body_at_and_above_the_cap(client, path, rest, cap):
    body = rest + b"y" * (cap - len(rest) - 2) + b'"}'
    assert len(body) == cap
    assert client.post(path, body).status == 201
    answer = client.post(path, body + b" ")
    assert (answer.status, answer.code) == (413, "body_too_large")
    client.close()
    done = client.get("/api/usage").data["today"]
    assert done["download"] + client.get("/api/generations").data["total"] == 1


@pytest.mark.parametrize("character", ["a", "\u0439", "\u20ac", "\U0001f600"])
def test_a_field_counts_decoded(client, character):
    """10,000 characters fit however they are escaped: 6 bytes a character, 12 for a pair."""
    units = character.encode("utf-16-be")
    escaped = "".join(f"\\u{units[i] << 8 | units[i + 1]:04x}" for i in range(0, len(units), 2))
    for text in (character, escaped):
        body = f'{{"imageUrl":"{IMAGE}","promptUsed":"{text * 10000}"}}'.encode()
        answer = client.post("/api/generations", body)
        assert answer.status == 201, answer
        assert answer.data["generation"]["prompt_used"] == character * 10000
        answer = client.post("/api/generations", body.replace(b'"}', text.encode() + b'"}'))
        assert (answer.status, answer.json["field"]) == (400, "promptUsed")


def test_the_longest_fields_together_fit_escaped(client):
    url = "https://example.com/" + "\\u0061" * (8192 - 20)
    body = (f'{{"imageUrl":"{url}","promptUsed":"{chr(92)}ud83d{chr(92)}ude00'
            + f"{chr(92)}ud83d{chr(92)}ude00" * 9999 + '","trend":"'
            + f"{chr(92)}ud83d{chr(92)}ude00" * 50 + '"}').encode()
    assert len(body) > 160_000
    assert client.post("/api/generations", body).status == 201


def test_a_chunked_body_above_the_cap(client):
    answer = client.post("/api/generations", iter([b" " * 8192] * 25))
    assert (answer.status, answer.code) == (413, "body_too_large")
    client.close()
    assert_unchanged(client)


@pytest.mark.parametrize("method,path", [("POST", "/api/tokens"), ("GET", "/api/tokens"),
                                         ("DELETE", "/api/user"), ("POST", "/api/usage")])
def test_every_endpoint_has_the_cap(client, method, path):
    answer = client.request(method, path, body=b" " * 100000)
    assert (answer.status, answer.code) == (413, "body_too_large")


@pytest.mark.parametrize("path", ["/api/generations", "/api/usage", "/api/tokens",
                                  "/api/user/link"])
@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "identity, gzip", "x"])
def test_a_compressed_body(client, path, encoding):
    answer = client.post(path, b"\x1f\x8b", headers={"Content-Encoding": encoding})
    assert (answer.status, answer.code) == (415, "unsupported_encoding")
    assert answer.headers["Accept-Encoding"] == "identity"
    openapi.check_response("POST", path, answer.status, answer.headers, answer.body)
    assert_unchanged(client)


def test_a_body_that_says_it_is_not_compressed(client):
    for headers in ({"Content-Encoding": "identity"}, {"Content-Encoding": ""}):
        assert client.post("/api/usage", {"action": "download"}, headers=headers).status == 201
    assert client.get("/api/usage", headers={"Content-Encoding": "gzip"}).status == 200


@pytest.mark.parametrize("size", [9000, 100_000, 10_000_000])
def test_a_long_query_string(stack, size):
    head = b"GET /api/tokens?q=" + b"a" * size + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = raw(stack, head)
    assert answer.startswith(b"HTTP/1.1 414 ") and b'"code":"uri_too_long"' in answer, answer[:300]


def test_a_query_string_at_the_limit(client):
    assert client.get("/api/tokens?q=" + "a" * 8000).status == 200


@pytest.mark.parametrize("headers", [
    b"X-Long: " + b"a" * 9000 + b"\r\n", b"X-Long: " + b"a" * 1_000_000 + b"\r\n",
    b"".join(b"X-Many-%d: %s\r\n" % (n, b"v" * 1000) for n in range(100)),
    b"".join(b"X-%d: v\r\n" % n for n in range(50000)),
    b"Authorization: Device device_" + b"a" * 20000 + b"\r\n",
])
def test_endless_headers(stack, headers):
    answer = raw(stack, b"GET /api/tokens HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 431 "), answer[:300]
    assert b'"code":"headers_too_large"' in answer


def test_many_small_parameters(client):
    assert client.get("/api/generations?" + "&".join(["a=b"] * 1900)).status == 200


# --- text that looks like something else ---

@pytest.mark.parametrize("text", INJECTIONS)
def test_sql_is_text(client, stack, cluster, text):
    body = {"imageUrl": text, "promptUsed": text, "trend": text[:50]}
    created = client.post("/api/generations", body).data["generation"]
    assert (created["image_url"], created["prompt_used"], created["trend"]) == (
        text, text, text[:50])
    assert client.get("/api/generations").data["generations"] == [created]
    stored = cluster.query(stack.database_url,
                           "SELECT image_url, prompt_used, trend FROM generations WHERE id = %s",
                           (created["id"],))
    assert stored == [(text, text, text[:50])]
    assert "Set-Cookie" not in client.get("/api/generations").headers


@pytest.mark.parametrize("text", INJECTIONS)
def test_sql_in_parameters_is_refused(client, stack, cluster, text):
    quoted = "".join(f"%{byte:02X}" for byte in text.encode())
    for path in ("/api/generations?cursor=", "/api/generations?limit=",
                 "/api/tokens/transactions?type=", "/api/tokens/transactions?from="):
        answer = client.get(path + quoted)
        assert (answer.status, answer.code) == (400, "invalid_parameter"), answer
    assert client.delete("/api/generations/" + quoted).status in (400, 404)
    assert client.post("/api/usage", {"action": text}).status == 400
    assert cluster.value(stack.database_url, "SELECT count(*) FROM plans") == 3


@pytest.mark.parametrize("text", INJECTIONS[:6])
def test_sql_in_headers(client, text):
    for name in ("X-Device-Id", "Idempotency-Key", "Accept-Language", "Origin", "User-Agent",
                 "Cookie", "Referer"):
        assert client.get("/api/tokens", headers={name: text.encode()}).data["balance"] == 5


def test_nothing_of_the_inside_is_told(client):
    """Never an SQL text, a stack or a secret, whatever is asked."""
    bodies = [client.post("/api/generations", body).body for body in BAD_JSON]
    bodies += [client.get("/api/generations?cursor=" + "%C3%28").body]
    for body in bodies:
        lowered = body.lower()
        for word in (b"select ", b"insert ", b"postgres", b"sqlstate", b"/home", b"/tmp", b".c:",
                     SECRET.encode()):
            assert word not in lowered, body
        assert set(json.loads(body)) <= {"success", "error", "code", "message", "field"}
