"""Queries with names of the caller's own (`metadata.<key>=…`): read by a model, and told in OpenAPI by the same model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from app.job_query.words import METADATA
from app.problems import FieldProblem, field_problem, invalid

Query = TypeVar("Query", bound=BaseModel)


def read_query(model: type[Query], pairs: Iterable[tuple[str, str]]) -> Query:
    """The query as the model has it. A field that is a list may be repeated, and no other.

    Raises:
        Problem: 422, with every field that does not fit.
    """
    values: dict[str, Any] = {}
    problems: list[FieldProblem] = []
    for name, value in pairs:
        if name.startswith(METADATA):
            place, key = values.setdefault("metadata", {}), name.removeprefix(METADATA)
        else:
            place, key = values, name
        if name == "metadata":
            problems.append(FieldProblem(field=name, message=f"name the key: {METADATA}<key>=<value>"))
        elif _is_list(model, name):
            place.setdefault(key, []).append(value)
        elif key in place:
            problems.append(field_problem({"loc": [name], "msg": "give it only once"}))
        else:
            place[key] = value
    try:
        found = model.model_validate(values)
    except ValidationError as error:
        problems += [field_problem(e) for e in error.errors(include_input=False, include_url=False, include_context=False)]
    if problems:
        raise invalid(problems[:20])
    return found


def parameters_of(model: type[BaseModel]) -> list[dict[str, Any]]:
    """The model's fields as OpenAPI has parameters."""
    properties = model.model_json_schema(ref_template="#/components/schemas/{model}")["properties"]
    return [_parameter(name, dict(schema)) for name, schema in properties.items()]


def _is_list(model: type[BaseModel], name: str) -> bool:
    field = model.model_fields.get(name)
    return field is not None and getattr(field.annotation, "__origin__", None) is list


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    description = schema.pop("description", "")
    schema.pop("title", None)
    if name == "metadata":
        name, schema = f"{METADATA}<key>", {"type": "string", "maxLength": 500}
    if schema.get("default", 0) is None:  # left out, it is not there; null cannot be written in a query
        schema = {k: v for k, v in schema.items() if k not in ("anyOf", "default")} | schema["anyOf"][0]
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}
