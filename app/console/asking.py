"""Asks the routes of the API, as a caller would, without going through a socket."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

from fastapi import Request, Response
from pydantic import BaseModel
from starlette.types import Message

Model = TypeVar("Model", bound=BaseModel)


async def asked(answer: Awaitable[Response], model: type[Model]) -> Model:
    """What a route answered, read. Whatever it raises is raised: `Problem`, `StorageUnavailableError`."""
    return model.model_validate_json(bytes((await answer).body))


def request_with(request: Request, *, query: Sequence[tuple[str, str]] = (), body: Mapping[str, Any] | None = None) -> Request:
    """A request like the visitor's, with another query and a JSON body, for a route that reads these itself."""
    content = b"" if body is None else json.dumps(body).encode()
    host = [(name, value) for name, value in request.scope["headers"] if name == b"host"]
    length = (b"content-length", str(len(content)).encode())
    scope = {
        **request.scope,
        "headers": [*host, (b"content-type", b"application/json"), length],
        "query_string": urlencode(query).encode(),
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": content, "more_body": False}

    return Request(scope, receive)
