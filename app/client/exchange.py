"""Requests and their answers: made, sent as often as is safe, and judged. As steps; a driver takes them."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import BaseModel

from app.client.address import base_address, with_query
from app.client.errors import ClientError, UnexpectedAnswerError
from app.client.patience import Outage, Patience, Tries
from app.client.reading import read
from app.client.refusal import REDIRECTS, is_worth_another_try, refusal
from app.client.steps import Answer, Call, Head, Lost, Open, Pause, Read, Request

BODY_MAX = 64 * 1024 * 1024  #: bytes of an answer that is held in memory

Model = TypeVar("Model", bound=BaseModel)


class Exchange:
    """Speaks to one gateway.

    Args:
        chance: between 0 and 1, for jitter.
    """

    def __init__(
        self,
        url: str,
        patience: Patience = Patience(),
        *,
        monotonic: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.url = base_address(url)
        self.monotonic = monotonic
        self._patience, self._chance = patience, chance

    def get(self, path: str, query: Sequence[tuple[str, str]] = (), *, accept: str = "application/json") -> Request:
        return Request("GET", with_query(self.url + path, query), {"Accept": accept})

    def post(self, path: str, body: Mapping[str, Any] | None = None, *, query: Sequence[tuple[str, str]] = ()) -> Request:
        """A POST that may be repeated; all that this client sends may, see the contract of each."""
        content = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json", **({} if content is None else {"Content-Type": "application/json"})}
        return Request("POST", with_query(self.url + path, query), headers, content)

    def told(self, model: type[Model], request: Request) -> Call[Model]:
        """What the gateway tells."""
        return read(model, (yield from self.answer(request)))

    def answer(self, request: Request, *, redirects: bool = False) -> Call[Answer]:
        """The answer, after as many tries as are safe and in time.

        Args:
            redirects: they are answers as well, not errors.
        """
        tries = Tries(self._patience, self.monotonic, self._chance)
        while True:
            try:
                return (yield from self.once(request, until=tries.until, redirects=redirects))
            except ClientError as error:
                if not is_worth_another_try(error):
                    raise
                pause = tries.pause(error)
            yield Pause(pause)

    def once(self, request: Request, *, until: float, redirects: bool = False) -> Call[Answer]:
        """The answer of a single try."""
        silence = max(0.01, min(request.silence, until - self.monotonic()))
        head = yield Open(replace(request, silence=silence))
        outcome = head if isinstance(head, Lost) else (yield from self._whole(head, until))
        if isinstance(outcome, Answer) and redirects and outcome.status in REDIRECTS:
            return outcome
        if (error := refusal(outcome)) is not None:
            raise error
        assert isinstance(outcome, Answer)
        return outcome

    def why(self, outcome: Head | Lost) -> Call[ClientError]:
        """What went wrong with a stream that did not begin, or broke."""
        whole = outcome if isinstance(outcome, Lost) else (yield from self._whole(outcome, self.patient_until()))
        return refusal(whole) or UnexpectedAnswerError("the answer is not a stream")

    def outage(self) -> Outage:
        return Outage(self._patience, self.monotonic, self._chance)

    def patient_until(self) -> float:
        return self.monotonic() + self._patience.deadline

    def _whole(self, head: Head, until: float) -> Call[Answer | Lost]:
        body = bytearray()
        while (chunk := (yield Read())) is not None:
            if isinstance(chunk, Lost):
                return chunk
            body += chunk
            if len(body) > BODY_MAX:
                raise UnexpectedAnswerError("the answer is too large", status=head.status)
            if self.monotonic() > until:
                return Lost("the answer did not end in time", sent=True)
        return Answer(head.status, head.headers, bytes(body))


def require_type(head: Head, wanted: str) -> None:
    """Raises UnexpectedAnswerError where a stream is of another kind."""
    found = head.headers.get("content-type", "no content type")
    if found.partition(";")[0].strip().lower() != wanted:
        raise UnexpectedAnswerError(f"the answer is not {wanted} but {found[:100]}", status=head.status)
