"""The upstream's envelope: every answer is `{"code": …, "message": …, "data": …}`, and so is the body of every callback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from fastapi import Response
from pydantic import BaseModel, Field

from app.drop_in.picture_link import PictureLink
from app.drop_in.task_data import TaskData, task_data
from app.lifecycle.job import Life
from app.problems import title_of
from app.response_headers import headers_of_problem


class StartedTask(BaseModel):
    """A task that was accepted just now."""

    task_id: str = Field(description="The job's id.")
    status: Literal["IN_PROGRESS"] = "IN_PROGRESS"  # of every accepted task, in the document


class GenerateAnswer(BaseModel):
    """The answer to an accepted request."""

    code: Literal[200] = 200
    message: Literal["success"] = "success"
    data: StartedTask


class StatusAnswer(BaseModel):
    """The answer about a task, and the body of a callback."""

    code: Literal[200] = 200
    message: Literal["success"] = "success"
    data: TaskData


class ErrorAnswer(BaseModel):
    """The answer to what went wrong."""

    code: int = Field(description="The same as the HTTP status.", examples=[400])
    message: str = Field(examples=["Bad Request: 'prompt' is required."])
    data: None = None


def status_body(life: Life, link: PictureLink) -> bytes:
    """The body of a callback: the status answer of the task, as it is now."""
    return StatusAnswer(data=task_data(life, link)).model_dump_json().encode()


def enveloped(answer: GenerateAnswer | StatusAnswer | ErrorAnswer, headers: Mapping[str, str] | None = None) -> Response:
    """HTTP status and `code` are the same number."""
    return Response(answer.model_dump_json(), answer.code, dict(headers or {}), "application/json")


def error_answer(status: int, detail: str | None, headers: Mapping[str, str] | None = None) -> Response:
    """`detail` stands behind the status, as the document has it: "Bad Request: 'prompt' is required."."""
    phrase = title_of(status)
    return enveloped(ErrorAnswer(code=status, message=f"{phrase}: {detail}" if detail else phrase), headers)


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For `responses=` of a route."""
    return {
        status: {"model": ErrorAnswer, "description": title_of(status), "headers": headers_of_problem(status)}
        for status in statuses
    }
