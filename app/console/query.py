"""The query of a route, from what a form of a page says."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from app.problems import field_problem, invalid

Query = TypeVar("Query", bound=BaseModel)


def query_of(model: type[Query], **fields: str | None) -> Query:
    """The query; a field that was left empty is left out.

    Raises:
        Problem: 422 with every field that does not fit.
    """
    try:
        return model.model_validate({name: value.strip() for name, value in fields.items() if value and value.strip()})
    except ValidationError as error:
        raise invalid([field_problem(e) for e in error.errors(include_input=False, include_url=False)]) from None
