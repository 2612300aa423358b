"""docs/openapi.json is what the gateway serves, and the document keeps what it promises to readers and generators."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.config import Settings
from app.main import create_app
from app.openapi.callbacks import CALLBACKS
from app.openapi.examples import ANSWERS, BODIES
from app.openapi.introduction import TAGS
from app.problem_codes import CODES, example_of

ROOT = Path(__file__).parents[2]
JSON, PROBLEM = "application/json", "application/problem+json"


def served() -> dict[str, Any]:
    return json.loads(json.dumps(create_app(Settings(_env_file=None)).openapi()))


DOCUMENT = served()
OPERATIONS = {operation["operationId"]: operation for path in DOCUMENT["paths"].values() for operation in path.values()}
OURS = {name: operation for name, operation in OPERATIONS.items() if operation["tags"] != ["drop-in"]}


def test_the_file_is_what_the_gateway_serves() -> None:
    written = json.loads((ROOT / "docs/openapi.json").read_text())
    now = served()
    for document in (written, now):
        del document["info"]["version"]
    assert written == now, "docs/openapi.json is of another state of the code: run make fix"


def test_every_app_serves_the_same_document() -> None:
    assert served() == DOCUMENT


def test_it_is_valid_openapi_3_1() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    references = {node["$ref"] for node in nodes(DOCUMENT) if "$ref" in node}
    for reference in references:
        assert resolved({"$ref": reference}), reference
    for kind in ("schemas", "responses", "headers"):
        for name in DOCUMENT["components"][kind]:
            assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
            assert f"#/components/{kind}/{name}" in references


def test_no_component_bears_the_name_of_a_class_or_module_of_ours() -> None:
    for kind, found in DOCUMENT["components"].items():
        assert [name for name in found if "__" in name or name.endswith("View")] == [], kind


def test_a_404_says_what_there_is_not() -> None:
    def said(name: str) -> str:
        [example] = resolved(OPERATIONS[name]["responses"]["404"])["content"][PROBLEM]["examples"].values()
        return str(example["value"]["detail"])

    things = {"showDeliveries": "job", "redeliver": "delivery", "recoverDeliveries": "tenant", "showKey": "key"}
    assert {name: said(name) for name in things} == {name: f"There is no such {thing}." for name, thing in things.items()}


def test_every_operation_says_what_it_is_and_bears_a_name_for_generated_clients() -> None:
    described = {tag["name"] for tag in TAGS}
    assert {tag["name"] for tag in DOCUMENT["tags"]} == described
    for name, operation in OPERATIONS.items():
        assert re.fullmatch(r"[a-z]+([A-Z][a-z]+)*", name)
        assert operation["summary"], name
        assert operation["description"], name
        assert len(operation["tags"]) == 1, name
        assert set(operation["tags"]) <= described, name
        for parameter in operation.get("parameters", []):
            assert parameter["description"], (name, parameter["name"])
            assert {"type": "null"} not in parameter["schema"].get("anyOf", []), (name, parameter["name"])
        for status, response in operation["responses"].items():
            assert resolved(response)["description"] not in ("", "Successful Response"), (name, status)


def test_every_closed_operation_names_the_one_security_scheme() -> None:
    assert list(DOCUMENT["components"]["securitySchemes"]) == ["gatewayKey"]
    for name, operation in OPERATIONS.items():
        closed = "401" in operation["responses"]
        assert operation.get("security", []) == ([{"gatewayKey": []}] if closed else []), name


def test_every_error_is_a_problem_with_an_example_of_each_of_its_codes() -> None:
    told = set()
    for name, operation in OURS.items():
        errors = {status: resolved(r) for status, r in operation["responses"].items() if status >= "400" and status != "416"}
        assert errors["500"], name
        for status, response in errors.items():
            if (name, status) == ("readyz", "503"):
                continue
            content = response["content"][PROBLEM]
            assert content["schema"] == {"$ref": "#/components/schemas/Problem"}, (name, status)
            assert list(response["content"]) == [PROBLEM], (name, status)
            for code, example in content.get("examples", {}).items():
                assert (example["value"]["code"], str(example["value"]["status"])) == (code, status)
                told.add(code)
    assert {"unauthorized", "invalid_request", "idempotency_key_reused", "may_be_billed_twice", "rate_limit_exceeded"} <= told


def test_every_code_of_the_api_is_in_the_table_and_in_the_page_of_errors() -> None:
    errors = (ROOT / "docs/errors.md").read_text()
    rows = {code: int(status) for status, code in re.findall(r"^\| (\d{3}) \| `([a-z_]+)` \|", errors, re.MULTILINE)}
    assert {code: status for code, (status, _) in CODES.items()} == rows


@pytest.mark.parametrize("code", sorted(CODES))
def test_the_detail_of_an_example_is_one_that_the_api_could_answer(code: str) -> None:
    example = example_of(code, "A title")
    assert not re.search(r"[{}]", example["detail"])
    assert example["status"] == CODES[code][0]


@pytest.mark.parametrize("name", sorted(set(ANSWERS) | set(BODIES) | set(CALLBACKS)))
def test_every_example_has_an_operation(name: str) -> None:
    assert name in OPERATIONS


def test_every_example_fits_its_schema() -> None:
    contents = [node for node in nodes(DOCUMENT) if "schema" in node and "examples" in node]
    checked = 0
    for content in contents:
        schema = {**content["schema"], "components": DOCUMENT["components"]}
        for example in content["examples"].values():
            Draft202012Validator(schema).validate(example["value"])
            checked += 1
    assert checked > 50


@pytest.mark.parametrize(
    ("name", "status", "headers"),
    [
        ("acceptJob", "202", {"Location", "Retry-After", "Preference-Applied", "RateLimit", "RateLimit-Policy"}),
        ("acceptJob", "200", {"Location", "Retry-After", "Idempotent-Replayed", "Preference-Applied"}),
        ("acceptJob", "429", {"Retry-After", "RateLimit", "RateLimit-Policy"}),
        ("acceptJob", "401", {"WWW-Authenticate"}),
        ("acceptBatch", "202", {"Retry-After", "RateLimit", "RateLimit-Policy"}),
        ("acceptBatch", "200", {"Retry-After", "Idempotent-Replayed"}),
        ("showJob", "200", {"ETag", "Retry-After", "Preference-Applied"}),
        ("showJob", "304", {"ETag", "Retry-After", "Preference-Applied"}),
        ("listJobs", "200", {"Link"}),
        ("listJobs", "503", {"Retry-After"}),
        ("retryJob", "202", {"Location", "Retry-After", "RateLimit", "RateLimit-Policy"}),
        ("createKey", "201", {"Location"}),
        ("generate", "200", {"Idempotent-Replayed", "RateLimit", "RateLimit-Policy"}),
        ("generate", "401", {"WWW-Authenticate"}),
        ("generate", "429", {"Retry-After", "RateLimit", "RateLimit-Policy"}),
        ("status", "503", {"Retry-After"}),
    ],
)
def test_the_headers_that_the_contract_promises_are_told(name: str, status: str, headers: set[str]) -> None:
    told = resolved(OPERATIONS[name]["responses"][status])["headers"]
    assert set(told) == headers | {"X-Request-ID"}
    assert all(resolved(header)["description"] for header in told.values())


def test_the_headers_that_callers_send_are_told() -> None:
    def names(operation: str) -> set[str]:
        return {p["name"] for p in OPERATIONS[operation]["parameters"] if p["in"] == "header"}

    assert names("acceptJob") == {"Idempotency-Key", "Prefer"}
    assert names("acceptBatch") == {"Idempotency-Key"}
    assert names("showJob") == {"If-None-Match", "Prefer"}
    assert names("listEvents") == {"Last-Event-ID"}


@pytest.mark.parametrize(
    ("name", "expression"),
    [("acceptJob", "{$request.body#/callback_url}"), ("acceptBatch", "{$request.body#/jobs/0/callback_url}")],
)
def test_deliveries_are_declared_as_callbacks(name: str, expression: str) -> None:
    delivery = OPERATIONS[name]["callbacks"]["jobSettled"][expression]["post"]
    assert {p["name"] for p in delivery["parameters"]} == {"webhook-id", "webhook-timestamp", "webhook-signature"}
    content = delivery["requestBody"]["content"][JSON]
    body = resolved(content["schema"])
    assert set(body["required"]) == {"type", "timestamp", "data"}
    assert body["properties"]["data"] == {"$ref": "#/components/schemas/Job"}
    assert {example["value"]["type"] for example in content["examples"].values()} == set(body["properties"]["type"]["enum"])


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(inner)


def resolved(node: dict[str, Any]) -> Any:
    """What a reference leads to; the node itself where it is none."""
    if "$ref" not in node:
        return node
    found: Any = DOCUMENT
    for part in node["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return found
