"""Answers read into models."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from app.client.errors import UnexpectedAnswerError
from app.client.steps import Answer

Model = TypeVar("Model", bound=BaseModel)


def read(model: type[Model], answer: Answer) -> Model:
    """The answer's body as a model.

    Raises:
        UnexpectedAnswerError: it is not JSON, or not what the model needs.
    """
    if not _is_json(answer.headers.get("content-type", "")):
        said = answer.headers.get("content-type", "no content type")[:100]
        raise UnexpectedAnswerError(f"the answer is not JSON but {said}", status=answer.status)
    return read_bytes(model, answer.body, status=answer.status)


def read_bytes(model: type[Model], body: bytes | str, *, status: int | None = None) -> Model:
    """JSON as a model.

    Raises:
        UnexpectedAnswerError: as for `read`. It names the fields, not what they held.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in found["loc"]) or "it"
        raise UnexpectedAnswerError(f"the answer cannot be read: {place}: {found['msg']}"[:300], status=status) from None


def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")
