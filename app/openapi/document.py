"""From what FastAPI gathers to the document that is served. Each step changes the document in place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from app.answers import problem_responses
from app.deliveries.payload import DeliveryBody
from app.openapi.callbacks import CALLBACKS
from app.openapi.examples import ANSWERS, BODIES
from app.openapi.introduction import DESCRIPTION, PATH_PARAMETERS, TAGS, USUAL_PARAMETERS
from app.openapi.naming import name_all
from app.openapi.shared_problems import share_problems
from app.problems import ProblemBody, title_of
from app.response_headers import HEADERS, headers

Document = dict[str, Any]

_METHODS = ("post", "get", "put", "delete")  #: in which order a path shows them
_NOTHING_SAID = "Successful Response"  #: FastAPI's word for it
_FRAMEWORKS_OWN = ("HTTPValidationError", "ValidationError")


def install(app: FastAPI) -> None:
    """Makes the app serve the finished document."""
    gathered = app.openapi

    def document() -> Document:
        if app.openapi_schema is None:
            app.openapi_schema = _finished(_unshared(gathered()))
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def operation_id(route: Any) -> str:
    """`accept_job` becomes `acceptJob`: what generated clients call it."""
    first, *rest = str(route.name).split("_")
    return first + "".join(word.capitalize() for word in rest)


def _finished(document: Document) -> Document:
    document["info"]["description"] = DESCRIPTION
    document.setdefault("servers", [{"url": "/", "description": "The gateway that serves this document."}])
    document["tags"] = TAGS
    _share(document)
    for operation in _operations(document):
        _tell_problems(operation)
        _tell_parameters(operation)
        _tell_examples(operation)
        for status, response in operation["responses"].items():
            if response["description"] == _NOTHING_SAID:
                response["description"] = title_of(int(status))
            response["headers"] = {**headers("X-Request-ID"), **response.get("headers", {})}
        operation["responses"] = dict(sorted(operation["responses"].items()))
    document = _unshared(document)
    name_all(document)
    share_problems(document)
    document["paths"] = _in_order(document["paths"])
    return document


def _unshared(document: Document) -> Document:
    """A copy in which nothing is in two places: the routes and our tables hold parts that must stay as they are."""
    copied: Document = json.loads(json.dumps(document))
    return copied


def _operations(document: Document) -> Iterator[dict[str, Any]]:
    for methods in document["paths"].values():
        yield from methods.values()


def _share(document: Document) -> None:
    """Bodies that we read ourselves, problems and deliveries become components like all others."""
    components = document.setdefault("components", {})
    components["headers"] = HEADERS
    schemas = components.setdefault("schemas", {})
    for name in _FRAMEWORKS_OWN:
        schemas.pop(name, None)
    for model in (ProblemBody, DeliveryBody):
        _add(schemas, _schema(model))
    for operation in _operations(document):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            if "title" in content["schema"]:
                content["schema"] = {"$ref": _add(schemas, content["schema"])}


def _add(schemas: dict[str, Any], schema: dict[str, Any]) -> str:
    for name, inner in schema.pop("$defs", {}).items():
        schemas.setdefault(name, inner)
    schemas.setdefault(schema["title"], schema)
    return f"#/components/schemas/{schema['title']}"


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")


def _tell_problems(operation: dict[str, Any]) -> None:
    """Every operation may find a defect of ours. FastAPI's own 422 is not how ours looks, and said also where none can be."""
    responses = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
        if any(parameter["in"] == "query" for parameter in operation["parameters"]) and "drop-in" not in operation["tags"]:
            responses["422"] = problem_responses(422)[422]
    responses.setdefault("500", problem_responses(500)[500])


def _tell_parameters(operation: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", []):
        schema = parameter["schema"]
        if {"type": "null"} in schema.get("anyOf", []):  # what is not given is left out: a header cannot be null
            [kind] = [option for option in schema.pop("anyOf") if option != {"type": "null"}]
            schema |= kind
        if (said := schema.pop("description", "")) and "description" not in parameter:
            parameter["description"] = said
        if "description" not in parameter and parameter["name"] in USUAL_PARAMETERS:
            parameter["description"] = USUAL_PARAMETERS[parameter["name"]]
        if parameter["in"] == "path":
            told = PATH_PARAMETERS[parameter["name"]]
            parameter["description"] = told["description"]
            schema |= told["schema"]


def _tell_examples(operation: dict[str, Any]) -> None:
    name = operation["operationId"]
    if name in CALLBACKS:
        operation["callbacks"] = CALLBACKS[name]
    if name in BODIES:
        operation["requestBody"]["content"]["application/json"]["examples"] = BODIES[name]
    for status, examples in ANSWERS.get(name, {}).items():
        operation["responses"][status]["content"]["application/json"]["examples"] = examples


def _in_order(paths: dict[str, Any]) -> dict[str, Any]:
    """By tag, then by path, as a reader would look for them."""
    tags = [tag["name"] for tag in TAGS]

    def place(item: tuple[str, dict[str, Any]]) -> tuple[int, str]:
        path, methods = item
        return min(tags.index(operation["tags"][0]) for operation in methods.values()), path

    return {
        path: {method: methods[method] for method in sorted(methods, key=_METHODS.index)}
        for path, methods in sorted(paths.items(), key=place)
    }
