"""Answers against openapi.yaml, for every test that looks at one.

    from tests.support import openapi
    openapi.check_response("GET", "/api/tokens?_t=1", 200, headers, body)

The file leaves answers open for new members; here they are closed, so that a member nobody wrote
down is found. Needs python3-yaml and python3-jsonschema.
"""
import functools
import json
import re
from datetime import date, datetime
from pathlib import Path

import jsonschema
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
METHODS = ("get", "put", "post", "delete", "patch")


@functools.lru_cache(maxsize=None)
def document():
    """The parsed openapi.yaml. Shared: read it, do not change it."""
    return yaml.safe_load((REPOSITORY / "openapi.yaml").read_text(encoding="utf-8"))


def operations():
    """Yields (METHOD, path template, operation)."""
    for path, item in document()["paths"].items():
        for method in METHODS:
            if method in item:
                yield method.upper(), path, item[method]


def resolve(node):
    """The object a $ref leads to, or node itself."""
    while isinstance(node, dict) and "$ref" in node:
        target = document()
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def failure_codes():
    """code -> status, from the table in the description of the schema Failure."""
    text = document()["components"]["schemas"]["Failure"]["properties"]["code"]["description"]
    return {code: int(status) for code, status in re.findall(r"\| `(\w+)` \| (\d+) \|", text)}


def json_schema(node, closed):
    """An OpenAPI 3.0 schema as JSON Schema, references replaced by what they lead to.

    closed: objects with properties take no others.
    """
    node = resolve(node)
    if isinstance(node, list):
        return [json_schema(item, closed) for item in node]
    if not isinstance(node, dict):
        return node
    nullable = node.get("nullable", False)
    result = {}
    for key, value in node.items():
        if key in ("nullable", "description", "example", "default", "title"):
            continue
        if key == "properties":
            result[key] = {name: json_schema(inner, closed) for name, inner in value.items()}
        elif key in ("items", "additionalProperties", "oneOf", "anyOf", "allOf", "not"):
            result[key] = json_schema(value, closed)
        else:
            result[key] = value
    if closed and "properties" in result:
        result.setdefault("additionalProperties", False)
    return {"anyOf": [{"type": "null"}, result]} if nullable else result


_FORMATS = jsonschema.FormatChecker(formats=())


@_FORMATS.checks("date-time", raises=ValueError)
def _is_time(value):
    if isinstance(value, str):
        if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value):
            raise ValueError(value)
        datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%fZ")
    return True


@_FORMATS.checks("date", raises=ValueError)
def _is_date(value):
    if isinstance(value, str):
        date.fromisoformat(value)
    return True


@_FORMATS.checks("uuid")
def _is_uuid(value):
    return not isinstance(value, str) or bool(
        re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value))


def check_value(schema, value, closed=True):
    """Raises AssertionError when value is not what the OpenAPI schema says."""
    validator = jsonschema.Draft4Validator(json_schema(schema, closed), format_checker=_FORMATS)
    error = jsonschema.exceptions.best_match(validator.iter_errors(value))
    if error is not None:
        place = "/".join(str(part) for part in error.absolute_path)
        raise AssertionError(f"at /{place}: {error.message}")


def find_operation(method, path):
    """(path template or None, operation or None) of a request path without its query."""
    # A path without parameters counts before one that it would match.
    for template, item in sorted(document()["paths"].items(), key=lambda pair: "{" in pair[0]):
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
        if re.fullmatch(pattern, path):
            return template, item.get("get" if method == "HEAD" else method.lower())
    return None, None


def _find_response(method, path, status):
    template, operation = find_operation(method, path)
    other = resolve(document()["components"]["responses"]["Other"])
    if operation is None:
        assert method == "OPTIONS" and template or status >= 400, (
            f"{status} for an operation that is not described")
        preflight = {"headers": {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}}
        return (preflight if status == 204 else other), other
    responses = operation["responses"]
    response = responses.get(str(status))
    assert response is not None or status >= 400, f"status {status} is not described"
    return resolve(response if response is not None else responses["default"]), other


def _check_headers(response, status, headers, behind_nginx):
    for name, header in response.get("headers", {}).items():
        header = resolve(header)
        if name == "X-Request-Id" and not behind_nginx:
            continue
        value = headers.get(name.lower())
        # nginx's own answers carry no Cache-Control: they are no more cacheable for it.
        optional = not header.get("required") or (name == "Cache-Control" and status >= 400)
        assert value is not None or optional, f"no header {name}"
        if value is not None and not (name == "Cache-Control" and status >= 400):
            check_value(header["schema"], value)


def _check_failure(response, other, status, headers, value):
    code = value["code"]
    if status in (429, 502, 503, 504):
        assert headers.get("retry-after", "").isdigit(), f"{status} without Retry-After"
    if status == 405:
        assert "allow" in headers, "405 without Allow"
    assert failure_codes().get(code) == status, f"code {code} with status {status}"
    allowed = set(response.get("x-codes", ())) | set(other["x-codes"])
    assert code in allowed, f"code {code} is not described for this operation"
    assert (status == 429) == ("waitTime" in value), "waitTime goes with 429"


def check_response(method, path, status, headers, body, behind_nginx=True):
    """Checks one answer; raises AssertionError with what is wrong.

    path: of the request, its query included or not. headers: mapping, or pairs, names in any case.
    body: bytes or str. behind_nginx: False for a handler that is asked directly.
    """
    method = method.upper()
    pairs = headers.items() if hasattr(headers, "items") else headers
    headers = {name.lower(): value for name, value in pairs}
    text = body.decode("utf-8") if isinstance(body, (bytes, bytearray)) else (body or "")
    try:
        response, other = _find_response(method, path.partition("?")[0], int(status))
        _check_headers(response, int(status), headers, behind_nginx)
        if method == "HEAD" or "content" not in response:
            assert text == "", "a body where none is described"
            return
        kind = headers.get("content-type", "").partition(";")[0].strip()
        assert kind in response["content"], f"Content-Type {kind!r} is not described"
        schema = response["content"][kind]["schema"]
        if kind == "application/x-ndjson":
            for line in text.splitlines():
                check_value(schema, json.loads(line))
        elif kind == "application/json":
            value = json.loads(text)
            check_value(schema, value)
            if "code" in value:
                _check_failure(response, other, int(status), headers, value)
    except (AssertionError, KeyError, ValueError) as problem:
        raise AssertionError(
            f"{method} {path} -> {status}: {problem}\n{text[:2000]}") from problem
