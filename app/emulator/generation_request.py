"""What a submit asks for, read by the letter of the API's document, section 2."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

#: The sizes the document lists.
SIZES = ("1024*1024", "1024*1536", "1536*1024", "768*1024", "1024*768")
#: The output formats the document lists.
OUTPUT_FORMATS = ("jpeg", "png", "webp")
#: Longest prompt, in characters; characters are Unicode code points here.
MAX_PROMPT = 2000
#: The document's "random" seed.
RANDOM_SEED = -1


class BadRequest(ValueError):
    """The body breaks a rule of the document; the message follows ``Bad Request:`` in the answer."""


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A well-formed request, defaults applied."""

    prompt: str
    size: str = "1024*1024"
    #: -1 asks for a random one.
    seed: int = RANDOM_SEED
    output_format: str = "jpeg"
    callback_url: str | None = None

    @classmethod
    def read(cls, body: bytes) -> "GenerationRequest":
        """Read a submit's body; raises ``BadRequest`` naming the first rule broken. Unknown fields are ignored."""
        fields = _read_object(body)
        return cls(
            prompt=_read_prompt(fields),
            size=_read_choice(fields, "size", SIZES),
            seed=_read_seed(fields),
            output_format=_read_choice(fields, "output_format", OUTPUT_FORMATS),
            callback_url=_read_callback_url(fields),
        )

    def echo(self, *, with_callback_url: bool) -> dict[str, object]:
        """The status answer's ``request``: as received, defaults applied."""
        echoed: dict[str, object] = {
            "prompt": self.prompt,
            "size": self.size,
            "seed": self.seed,
            "output_format": self.output_format,
        }
        if with_callback_url and self.callback_url is not None:
            echoed["callback_url"] = self.callback_url
        return echoed


def _read_object(body: bytes) -> Mapping[str, object]:
    try:
        fields = json.loads(body.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise BadRequest("body is not valid JSON.") from None
    if not isinstance(fields, dict):
        raise BadRequest("body must be a JSON object.")
    return fields


def _refuse_constant(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")


def _read_prompt(fields: Mapping[str, object]) -> str:
    prompt = fields.get("prompt")
    if prompt is None:
        raise BadRequest("'prompt' is required.")
    if not isinstance(prompt, str):
        raise BadRequest("'prompt' must be a string.")
    if not prompt.strip():
        raise BadRequest("'prompt' is required.")
    if len(prompt) > MAX_PROMPT:
        raise BadRequest(f"'prompt' must be at most {MAX_PROMPT} characters.")
    return prompt


def _read_choice(fields: Mapping[str, object], name: str, choices: tuple[str, ...]) -> str:
    value = fields.get(name, choices[0])
    if not isinstance(value, str) or value not in choices:
        raise BadRequest(f"'{name}' must be one of: {', '.join(choices)}.")
    return value


def _read_seed(fields: Mapping[str, object]) -> int:
    seed = fields.get("seed", RANDOM_SEED)
    if isinstance(seed, int) and not isinstance(seed, bool):
        return seed
    if isinstance(seed, float) and math.isfinite(seed) and seed.is_integer():
        return int(seed)
    raise BadRequest("'seed' must be an integer number.")


def _read_callback_url(fields: Mapping[str, object]) -> str | None:
    if "callback_url" not in fields:
        return None
    url = fields["callback_url"]
    if not isinstance(url, str) or not _is_web_address(url):
        raise BadRequest("'callback_url' must be an http or https URL.")
    return url


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises on a port which is no number
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
