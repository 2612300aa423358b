"""What a caller asks for: one picture, in the upstream's own vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Size = Literal["1024*1024", "1024*1536", "1536*1024", "768*1024", "1024*768"]
OutputFormat = Literal["jpeg", "png", "webp"]

SIZES: tuple[Size, ...] = get_args(Size)
OUTPUT_FORMATS: tuple[OutputFormat, ...] = get_args(OutputFormat)
PROMPT_MAX = 2000  #: characters (code points), from the upstream's document
RANDOM_SEED = -1  #: the upstream picks a seed
SEED_MAX = 2**63 - 1  #: what a database's widest integer holds
PRICE = 5  #: credits for one generation, from the upstream's document


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One generation, as the upstream's document spells it (`POST /api/generate`)."""

    prompt: str
    size: Size = "1024*1024"
    seed: int = RANDOM_SEED
    output_format: OutputFormat = "jpeg"
