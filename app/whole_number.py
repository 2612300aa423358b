"""Whole numbers in JSON, which knows one kind of number: 24 and 24.0 are the same one. Source: JSON Schema, 6.1.1."""

from __future__ import annotations

from pydantic import BeforeValidator

EXACT_MAX = 2**53  #: beyond it, a number that was written with a fraction may have been another one


def _whole(value: object) -> object:
    if isinstance(value, float) and value.is_integer() and abs(value) <= EXACT_MAX:
        return int(value)
    return value


#: Stands last in `Annotated[StrictInt, Field(ge=0), WHOLE]`, so that the bounds are the number's.
WHOLE = BeforeValidator(_whole)
