"""What all that the gateway tells has in common: it holds what this version knows, and keeps what a later gateway adds."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Told(BaseModel):
    """Something that the gateway told. Frozen; fields that this version does not know are kept in `model_extra`."""

    model_config = ConfigDict(frozen=True, extra="allow")
