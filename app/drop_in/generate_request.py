"""The body of `POST /api/generate`, read by the letter of the upstream's document, with its messages.

Three things are refused here that the document does not forbid: text that no database holds, a seed beyond -1 … 2⁶³-1, and a
`callback_url` that the gateway may not call.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from app.lifecycle.job import CallbackFormat
from app.lifecycle.request import OUTPUT_FORMATS, PROMPT_MAX, RANDOM_SEED, SEED_MAX, SIZES, GenerationRequest

BODY_MAX = 256 * 1024  #: bytes; the largest body without unknown fields is well under this

Choice = TypeVar("Choice", bound=str)


class BadRequestError(ValueError):
    """The request breaks a rule of the document; the message says which, in its words."""


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """A well-formed request, defaults applied; what the intake wants to know of a job."""

    asked: GenerationRequest
    callback_url: str | None = None
    callback_format: CallbackFormat = CallbackFormat.DROP_IN
    priority: str = "normal"
    metadata: Mapping[str, str] = field(default_factory=dict)
    reuse: str = "never"

    @classmethod
    def read(cls, body: bytes) -> GenerateRequest:
        """Unknown fields are ignored.

        Raises:
            BadRequestError: names the first rule that is broken.
        """
        fields = _object(body)
        asked = GenerationRequest(
            prompt=_prompt(fields.get("prompt")),
            size=_choice(fields, "size", SIZES),
            seed=_seed(fields.get("seed", RANDOM_SEED)),
            output_format=_choice(fields, "output_format", OUTPUT_FORMATS),
        )
        return cls(asked, _web_address(fields["callback_url"]) if "callback_url" in fields else None)

    def generation(self) -> GenerationRequest:
        return self.asked

    def fingerprint(self) -> bytes:
        """SHA-256 of the body with defaults applied. No body of `POST /jobs` has the same one."""
        asked = self.asked
        parts = ["drop_in", asked.prompt, asked.size, asked.seed, asked.output_format, self.callback_url]
        return hashlib.sha256(json.dumps(parts).encode()).digest()


#: How the document describes the body; for OpenAPI.
SCHEMA: dict[str, Any] = {
    "title": "GenerateRequest",
    "type": "object",
    "required": ["prompt"],
    "properties": {
        "prompt": {
            "type": "string",
            "minLength": 1,
            "maxLength": PROMPT_MAX,
            "pattern": r"^[^\u0000]*[^\s\u0000][^\u0000]*$",
            "description": f"What to draw; at most {PROMPT_MAX} characters, not blank.",
        },
        "size": {"type": "string", "enum": list(SIZES), "default": SIZES[0], "description": "Width and height in pixels."},
        "seed": {
            "type": "integer",
            "minimum": RANDOM_SEED,
            "maximum": SEED_MAX,
            "default": RANDOM_SEED,
            "description": "The same seed and request give the same picture; -1 is random.",
        },
        "output_format": {"type": "string", "enum": list(OUTPUT_FORMATS), "default": OUTPUT_FORMATS[0]},
        "callback_url": {"type": "string", "format": "uri", "description": "Called once the task has ended."},
    },
    "examples": [{"prompt": "A serene mountain landscape at sunset", "size": "1024*1024", "output_format": "png"}],
}


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        fields = json.loads(body.decode(), parse_constant=_no_json)
    except (ValueError, RecursionError):
        raise BadRequestError("body is not valid JSON.") from None
    if not isinstance(fields, dict):
        raise BadRequestError("body must be a JSON object.")
    return fields


def _no_json(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _prompt(prompt: Any) -> str:
    if prompt is None:
        raise BadRequestError("'prompt' is required.")
    if not isinstance(prompt, str):
        raise BadRequestError("'prompt' must be a string.")
    if not prompt.strip():
        raise BadRequestError("'prompt' is required.")
    if len(prompt) > PROMPT_MAX:
        raise BadRequestError(f"'prompt' must be at most {PROMPT_MAX} characters.")
    if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in prompt):
        raise BadRequestError("'prompt' must not hold NUL characters or lone surrogates.")
    return prompt


def _choice(fields: Mapping[str, Any], name: str, choices: tuple[Choice, ...]) -> Choice:
    value = fields.get(name, choices[0])
    for choice in choices:
        if value == choice:
            return choice
    raise BadRequestError(f"'{name}' must be one of: {', '.join(choices)}.")


def _seed(seed: Any) -> int:
    if isinstance(seed, float) and math.isfinite(seed) and seed.is_integer():
        seed = int(seed)
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise BadRequestError("'seed' must be an integer number.")
    if not RANDOM_SEED <= seed <= SEED_MAX:
        raise BadRequestError(f"'seed' must be an integer number from {RANDOM_SEED} to {SEED_MAX}.")
    return seed


def _web_address(url: Any) -> str:
    if not isinstance(url, str) or not _is_web_address(url):
        raise BadRequestError("'callback_url' must be an http or https URL.")
    return url


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises on a port that is no number
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
