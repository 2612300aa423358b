"""What callers send: the body of `POST /jobs`, checked."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictInt

from app.lifecycle.job import CallbackFormat
from app.lifecycle.request import PROMPT_MAX, RANDOM_SEED, SEED_MAX, GenerationRequest, OutputFormat, Size
from app.texts import MetadataKey, MetadataValue, Text
from app.whole_number import WHOLE

BODY_MAX = 256 * 1024  #: bytes; the largest valid body is well under this
BATCH_BODY_MAX = 16 * 1024 * 1024  #: bytes; so is the largest valid batch, each of its characters written as two \u escapes


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("write at least 1 character that is not blank")
    return value


def _star_for_x(value: object) -> object:
    return value.replace("x", "*") if isinstance(value, str) else value


class JobRequest(BaseModel):
    """The body of `POST /jobs`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"prompt": "A serene mountain landscape at sunset", "size": "1024*1024", "output_format": "png"}]
        },
    )

    prompt: Annotated[
        Text,
        AfterValidator(_not_blank),
        Field(
            min_length=1,
            max_length=PROMPT_MAX,
            description="What to draw; 1 to 2000 characters, not blank.",
            json_schema_extra={"pattern": r"\S"},
        ),
    ]
    size: Annotated[Size, BeforeValidator(_star_for_x)] = Field(
        "1024*1024", description="Width and height in pixels; `x` is accepted for `*`."
    )
    seed: Annotated[StrictInt, Field(ge=RANDOM_SEED, le=SEED_MAX), WHOLE] = Field(
        RANDOM_SEED, description="The same seed and request give the same picture; -1 is random."
    )
    output_format: OutputFormat = Field("jpeg", description="The picture's format.")
    metadata: dict[MetadataKey, MetadataValue] = Field(
        default_factory=dict, max_length=16, description="Up to 16 pairs of your own; returned with the job."
    )
    priority: Literal["high", "normal", "low"] = Field("normal", description="Order within the tenant's queue.")
    callback_url: Annotated[Text, Field(min_length=1, max_length=2000, json_schema_extra={"format": "uri"})] | None = Field(
        None,
        description="Called once the job is settled, by Standard Webhooks; see the callbacks of this operation. https, and "
        "at a public address, unless the operator allows others.",
    )
    reuse: Literal["never", "exact"] = Field(
        "never",
        description="`exact`: an identical succeeded job of the tenant, with a fixed seed and stored pictures, answers at once "
        "for 0 credits.",
    )

    @property
    def callback_format(self) -> CallbackFormat:
        return CallbackFormat.SIGNED

    def generation(self) -> GenerationRequest:
        return GenerationRequest(self.prompt, self.size, self.seed, self.output_format)

    def fingerprint(self) -> bytes:
        """SHA-256 of the body with defaults applied: what makes two requests the same for an idempotency key.

        What is as by default is left out, so that a field which a later release adds does not change it.
        """
        canonical = json.dumps(self.model_dump(exclude_defaults=True), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).digest()


class BatchRequest(BaseModel):
    """The body of `POST /jobs/batch`: all of its jobs are accepted, or none."""

    model_config = ConfigDict(extra="forbid")

    jobs: list[JobRequest] = Field(min_length=1, max_length=100, description="1 to 100 jobs.")
