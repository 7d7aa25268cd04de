"""openapi.yaml is well formed, and says what the code says."""
import json
import re
import subprocess

import jsonschema
import pytest

from tests.support import openapi
from tests.support.process import HANDLERS

REPOSITORY = openapi.REPOSITORY
SPECIFICATION = openapi.document()


def walk(node, place=""):
    """Yields (place, dict) for every mapping of the file."""
    if isinstance(node, dict):
        yield place, node
        for key, value in node.items():
            yield from walk(value, f"{place}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from walk(value, f"{place}/{index}")


def read(path):
    return (REPOSITORY / path).read_text(encoding="utf-8")


# What a route's access is in the terms of openapi.yaml. nginx and the handler alone know addresses.
SECURITY = {
    "public": set(), "provider": set(), "loopback": set(),
    "account": {"device", "clerk", "clerkCookie"}, "person": {"device", "clerk", "clerkCookie"},
    "clerk": {"clerk", "clerkCookie"},
    "init-secret": {"initSecretHeader", "initSecretQuery"}, "service": {"service"},
}


@pytest.fixture(scope="module")
def routes(binaries):
    """(METHOD, path) -> (handler, access, what it declares), as every handler prints its routes."""
    printed = {}
    for name in HANDLERS:
        done = subprocess.run([f"{binaries}/{name}", "--routes"], env={}, capture_output=True,
                              text=True, check=False, timeout=20)
        assert done.returncode == 0 and done.stdout, f"{name}: {done.stderr}"
        for line in done.stdout.splitlines():
            method, path, access, *declared = line.split()
            assert (method, path) not in printed, line
            printed[method, path] = (name, access, set(declared))
    return printed


def error_table():
    """(code, status, russian, english) of every row of ERROR_TABLE but OK."""
    text = re.search(r"#define ERROR_TABLE\(X\)(.*?)/\* clang-format on", read(
        "common/base/error.h"), re.S).group(1).replace("\\\n", " ")
    literal = r'"((?:[^"\\]|\\.)*)"'
    rows = re.findall(rf'X\((\w+), (\d+), "(\w+)",\s*{literal},\s*{literal},', text)
    assert len(rows) == text.count("X("), "a row of ERROR_TABLE was not understood"
    return [(code, int(status), russian.replace('\\"', '"'), english.replace('\\"', '"'))
            for name, status, code, russian, english in rows if name != "OK"]


def edge_failures():
    """(status, body) of nginx's own errors."""
    rows = re.findall(r"return (\d+) '(\{.*?\})';", read("nginx/errors.conf"))
    assert rows
    return [(int(status), json.loads(body)) for status, body in rows]


def test_it_is_openapi_3_0():
    assert re.fullmatch(r"3\.0\.\d", SPECIFICATION["openapi"])
    assert SPECIFICATION["info"]["title"] and SPECIFICATION["info"]["version"]
    assert set(SPECIFICATION) <= {
        "openapi", "info", "servers", "tags", "security", "paths", "components"}


def test_every_reference_leads_somewhere_and_every_component_is_used():
    used = set()
    for place, node in walk(SPECIFICATION):
        if "$ref" not in node:
            continue
        assert set(node) == {"$ref"}, f"{place}: members beside $ref are ignored"
        try:
            openapi.resolve(node)
        except KeyError:
            pytest.fail(f"{place}: {node['$ref']} does not exist")
        used.add(node["$ref"])
    for kind in ("schemas", "responses", "parameters", "headers"):
        for name in SPECIFICATION["components"][kind]:
            assert f"#/components/{kind}/{name}" in used, f"{kind}/{name} is not used"
    schemes = {name for _, _, operation in openapi.operations()
               for entry in operation.get("security", SPECIFICATION["security"]) for name in entry}
    assert schemes == set(SPECIFICATION["components"]["securitySchemes"])


def test_operations_are_whole():
    ids = [operation["operationId"] for _, _, operation in openapi.operations()]
    assert len(ids) == len(set(ids))
    tags = {tag["name"] for tag in SPECIFICATION["tags"]}
    for method, path, operation in openapi.operations():
        where = f"{method} {path}"
        assert operation["summary"], where
        assert len(operation["tags"]) == 1 and operation["tags"][0] in tags, where
        assert openapi.resolve(operation["responses"]["default"])["x-codes"], where
        parameters = [openapi.resolve(item) for item in operation.get("parameters", [])]
        in_path = {item["name"] for item in parameters if item["in"] == "path"}
        assert in_path == set(re.findall(r"\{(\w+)\}", path)), where
        for item in parameters:
            assert item["in"] in ("query", "path", "header"), where
            assert item["description"] and "schema" in item, where
            assert item["in"] != "path" or item["required"] is True, where
        security = operation.get("security", SPECIFICATION["security"])
        if security:
            assert "401" in operation["responses"], where
        for status, response in operation["responses"].items():
            assert status == "default" or 200 <= int(status) <= 599, where
            response = openapi.resolve(response)
            assert response["description"], where
            assert "X-Request-Id" in response["headers"], f"{where} {status}"


def schemas_and_examples():
    for place, node in walk(SPECIFICATION):
        if "schema" in node and ("content" in place or "in" in node):
            yield place, node["schema"], node.get("example")


def test_every_schema_is_a_schema():
    for _, schema, _ in schemas_and_examples():
        jsonschema.Draft4Validator.check_schema(openapi.json_schema(schema, closed=True))
    known = {"type", "required", "properties", "items", "enum", "format", "nullable", "description",
             "minimum", "maximum", "minLength", "maxLength", "maxItems", "pattern", "default",
             "additionalProperties", "oneOf", "example"}
    for name, schema in SPECIFICATION["components"]["schemas"].items():
        assert set(schema) <= known, f"{name}: {set(schema) - known}"
        assert set(schema.get("required", ())) <= set(schema.get("properties", ())), name


def test_every_example_is_what_it_exemplifies():
    count = 0
    for place, schema, example in schemas_and_examples():
        if "/content/" in place:
            assert example is not None, f"{place}: no example"
        if example is None:
            continue
        try:
            openapi.check_value(schema, example)
        except AssertionError as problem:
            pytest.fail(f"{place}: {problem}")
        count += 1
    assert count > 20


def test_the_routes_are_those_of_the_handlers(routes):
    described = {(method, path): operation["tags"][0]
                 for method, path, operation in openapi.operations()}
    assert described == {route: handler for route, (handler, _, _) in routes.items()}


def test_who_may_call_is_what_the_route_declares(routes):
    for method, path, operation in openapi.operations():
        _, access, _ = routes[method, path]
        entries = operation.get("security", SPECIFICATION["security"])
        assert all(len(entry) == 1 for entry in entries), f"{method} {path}"
        schemes = {name for entry in entries for name in entry}
        kind, _, scope = access.partition(":")
        assert schemes == SECURITY[kind], f"{method} {path}: {access}"
        told = operation["responses"].get("403", {})
        assert ("sign_in_required" in openapi.resolve(told).get("x-codes", ())) == (
            kind == "person"), f"{method} {path}"
        if scope:
            assert f"`{scope}`" in operation["description"], f"{method} {path}: scope {scope}"


def test_what_is_read_is_what_the_route_declares(routes):
    for method, path, operation in openapi.operations():
        _, access, declared = routes[method, path]
        where = f"{method} {path}: {declared}"
        names = {openapi.resolve(node)["name"] for node in operation.get("parameters", ())}
        assert ("Idempotency-Key" in names) == ("key" in declared), where
        # The notification of the provider is read by the service, raw.
        assert ("requestBody" in operation) == ("body" in declared or access == "provider"), where


def test_what_depends_on_the_caller_is_not_stored(routes):
    for method, path, operation in openapi.operations():
        if SECURITY[routes[method, path][1].partition(":")[0]]:
            for status, response in operation["responses"].items():
                if status.startswith("2"):
                    header = openapi.resolve(openapi.resolve(response)["headers"]["Cache-Control"])
                    assert header["required"], f"{method} {path} {status}"
                    assert "no-store" in header["schema"]["enum"][0], f"{method} {path} {status}"


def test_every_failure_of_the_code_is_described():
    codes = openapi.failure_codes()
    schema = SPECIFICATION["components"]["schemas"]["Failure"]["properties"]["code"]
    assert list(codes) == schema["enum"], "the table and the enum list the same, in one order"
    in_code = {code: status for code, status, _, _ in error_table()}
    for status, body in edge_failures():
        assert in_code.setdefault(body["code"], status) == status, body["code"]
    assert codes == in_code


def test_every_code_is_an_answer_of_some_operation():
    named = set()
    for _, node in walk(SPECIFICATION):
        named |= set(node.get("x-codes", ()))
    assert named == set(openapi.failure_codes())


def test_texts_that_clients_compare():
    texts = {code: russian for code, _, russian, _ in error_table()}
    for _, node in walk(SPECIFICATION):
        example = node.get("example")
        if isinstance(example, dict) and example.get("success") is False and "code" in example:
            assert example["error"] == texts[example["code"]]
    assert texts["unauthorized"] == "Unauthorized"
    assert texts["bonus_already_claimed"] == "Ежедневный бонус уже получен сегодня"
    assert texts["image_url_required"] == "imageUrl is required"
    assert texts["rate_limited"] == "Rate limit exceeded"
    assert texts["invalid_package"] == 'Invalid package. Must be "small", "medium", or "large"'


def test_failures_of_the_edge_have_the_form():
    for status, body in edge_failures():
        openapi.check_value({"$ref": "#/components/schemas/Failure"}, body)
        assert openapi.failure_codes()[body["code"]] == status


def test_numbers_of_limits():
    text = read("common/base/limits.h")
    numbers = dict(re.findall(r"(\w+) = (\d+),", text))
    limit = SPECIFICATION["components"]["parameters"]["Limit"]["schema"]
    draft = SPECIFICATION["components"]["schemas"]["NewGeneration"]["properties"]
    assert limit["maximum"] == int(numbers["PAGE_ITEMS_MAX"])
    assert limit["default"] == int(numbers["PAGE_ITEMS_DEFAULT"])
    assert draft["promptUsed"]["maxLength"] == int(numbers["PROMPT_CHARACTERS_MAX"])
    assert draft["trend"]["maxLength"] == int(numbers["TREND_CHARACTERS_MAX"])
    device = SPECIFICATION["components"]["securitySchemes"]["device"]["description"]
    assert numbers["DEVICE_ID_BYTES_MIN"] in device and numbers["DEVICE_ID_BYTES_MAX"] in device


# --- the checker itself: it has to refuse ---

GOOD = {"success": True, "data": {"remaining": 59, "resetAt": "2026-11-22T22:53:30.427Z"}}
HEADERS = {"X-Request-Id": "0" * 32, "Content-Type": "application/json; charset=utf-8",
           "Cache-Control": "no-store",
           "RateLimit": "limit=60, remaining=59, reset=60"}


def check(status=201, headers=None, **changes):
    body = json.loads(json.dumps(GOOD))
    body["data"].update(changes)
    openapi.check_response("POST", "/api/usage?x=1", status, headers or HEADERS, json.dumps(body))


def test_checker_accepts_a_good_answer():
    check()


@pytest.mark.parametrize("wrong", [
    {"remaining": "59"}, {"remaining": -1}, {"resetAt": "yesterday"}, {"extra": 1},
    {"status": 200}, {"headers": {"Content-Type": "application/json"}},
    {"headers": {name: HEADERS[name] for name in HEADERS if name != "Cache-Control"}},
    {"headers": {**HEADERS, "Content-Type": "text/html"}},
    {"headers": {**HEADERS, "RateLimit": "60"}},
])
def test_checker_refuses(wrong):
    with pytest.raises(AssertionError):
        check(**wrong)


@pytest.mark.parametrize("method, path, status, code, headers, accepted", [
    ("GET", "/api/tokens", 401, "unauthorized", {"WWW-Authenticate": 'Bearer realm="DreamLens"'},
     True),
    ("GET", "/api/tokens", 401, "unauthorized", {}, False),
    ("GET", "/api/tokens", 400, "unauthorized", {}, False),
    ("GET", "/api/tokens", 400, "bonus_already_claimed", {}, False),
    ("GET", "/api/tokens", 503, "database_unavailable", {"Retry-After": "1"}, True),
    ("PUT", "/api/tokens", 405, "method_not_allowed", {"Allow": "GET"}, True),
    ("PUT", "/api/tokens", 405, "method_not_allowed", {}, False),
    ("GET", "/nowhere", 404, "not_found", {}, True),
    ("GET", "/nowhere", 404, "made_up", {}, False),
])
def test_checker_on_failures(method, path, status, code, headers, accepted):
    body = json.dumps({"success": False, "error": "x", "code": code, "message": "x"})
    headers = {"X-Request-Id": "0" * 32, "Content-Type": "application/json", **headers}
    if accepted:
        openapi.check_response(method, path, status, headers, body)
        return
    with pytest.raises(AssertionError):
        openapi.check_response(method, path, status, headers, body)
