"""From what FastAPI gathers to the document that is served. Each step changes the document in place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from app.answers import problems
from app.deliveries.payload import DeliveryBody
from app.openapi import examples
from app.openapi.callbacks import DELIVERY, TASK_CALLBACK
from app.openapi.introduction import DESCRIPTION, PATH_PARAMETERS, TAGS
from app.problems import ProblemBody
from app.response_headers import HEADERS, headers

Document = dict[str, Any]

REFERENCE = "#/components/schemas/"
SECURITY_SCHEME = "gatewayKey"

_METHODS = ("post", "get", "put", "delete")
_CALLBACKS = {
    "acceptJob": {"jobSettled": {"{$request.body#/callback_url}": DELIVERY}},
    "acceptBatch": {"jobSettled": {"{$request.body#/jobs/0/callback_url}": DELIVERY}},
    "generate": {"taskEnded": {"{$request.body#/callback_url}": TASK_CALLBACK}},
}


def install(app: FastAPI) -> None:
    """Makes the app serve the finished document, and gives operations the names that code generators use."""
    for route in app.routes:
        _ = route
    gathered = app.openapi

    def document() -> Document:
        if app.openapi_schema is None:
            finish(gathered())
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def operation_id(route: Any) -> str:
    """`accept_job` reads `acceptJob`: methods of generated clients are named so."""
    first, *rest = route.name.split("_")
    return first + "".join(word.capitalize() for word in rest)
