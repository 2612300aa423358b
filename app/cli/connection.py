"""The gateway that `GATEWAY_URL` and `GATEWAY_API_KEY` name. What goes wrong there becomes one line and an exit code."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from app.cli.display import end, say
from app.client import (
    BadArgumentError,
    Client,
    ClientError,
    ConflictError,
    ForbiddenError,
    IdempotencyKeyReusedError,
    InvalidRequestError,
    NotFoundError,
    OutOfReachError,
    Patience,
    UnauthorizedError,
    UnavailableError,
    UnexpectedAnswerError,
)
from app.exits import CONFLICT, FAILED, NOT_FOUND, OUT_OF_REACH, USAGE

DEFAULT_URL = "http://127.0.0.1:8000"

#: The first that fits; what is not here has failed.
_EXIT_CODES: tuple[tuple[type[ClientError], int], ...] = (
    (IdempotencyKeyReusedError, CONFLICT),
    (ConflictError, CONFLICT),
    (NotFoundError, NOT_FOUND),
    (InvalidRequestError, USAGE),
    (BadArgumentError, USAGE),
    (UnauthorizedError, USAGE),
    (ForbiddenError, USAGE),
    (UnavailableError, OUT_OF_REACH),
    (OutOfReachError, OUT_OF_REACH),
    (UnexpectedAnswerError, OUT_OF_REACH),
)


@contextmanager
def connected() -> Iterator[Client]:
    """A client. Errors inside the block end the command.

    Raises:
        typer.Exit: 2 where the environment or the request does not fit, 3 not found, 4 conflict, 5 out of reach, 1 any other.
    """
    try:
        with _client() as client:
            yield client
    except ClientError as error:
        say(f"gateway: {_explained(error)}")
        raise typer.Exit(next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), FAILED)) from None


def _client() -> Client:
    url, api_key = os.environ.get("GATEWAY_URL") or DEFAULT_URL, os.environ.get("GATEWAY_API_KEY")
    if not api_key:
        end("GATEWAY_API_KEY is not set: an API key of the gateway, as `gateway keys create` shows it", USAGE)
    try:
        return Client(url, api_key, patience=Patience(tries=4, deadline=30.0))
    except BadArgumentError as error:
        end(f"GATEWAY_URL or GATEWAY_API_KEY cannot be used: {error}", USAGE)


def _explained(error: ClientError) -> str:
    if isinstance(error, UnauthorizedError):
        return f"the gateway does not know the key in GATEWAY_API_KEY: {error}"
    if not isinstance(error, OutOfReachError):
        return str(error)
    url = os.environ.get("GATEWAY_URL") or DEFAULT_URL
    doubt = ""
    if error.sent and error.idempotency_key:
        doubt = f"; it may have been accepted: to find out, submit it again with --idempotency-key {error.idempotency_key}"
    return f"no answer from {url}: {error}{doubt}"
