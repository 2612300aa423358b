"""What a job may be asked for. Source: the public contract, "`POST /jobs` body"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Required, TypedDict


class JobOptions(TypedDict, total=False):
    """All but the prompt. What is left out is as the gateway's defaults have it."""

    size: str  #: `1024*1024`, `1024*1536`, `1536*1024`, `768*1024` or `1024*768`
    seed: int  #: -1 is random
    output_format: Literal["jpeg", "png", "webp"]
    callback_url: str  #: where the signed delivery goes once the job is settled
    metadata: Mapping[str, str]  #: your own, up to 16 pairs
    priority: Literal["high", "normal", "low"]
    reuse: Literal["never", "exact"]  #: `exact`: an identical job that succeeded answers, for 0 credits


class JobBody(JobOptions, total=False):
    """One job of a batch."""

    prompt: Required[str]
