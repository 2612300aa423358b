"""Text from strangers that both databases can hold, and the pairs that callers put on their jobs."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StrictStr


def _storable(value: str) -> str:
    if "\0" in value:
        raise ValueError("leave out NUL characters")
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise ValueError("leave out lone surrogates; they are not characters")
    return value


Text = Annotated[StrictStr, AfterValidator(_storable)]
MetadataKey = Annotated[Text, Field(min_length=1, max_length=40)]
MetadataValue = Annotated[Text, Field(max_length=500)]
