"""Names that operators give: of tenants and of keys."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

_TENANT = re.compile(r"[a-z0-9._-]{1,64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def tenant_name(text: str) -> str:
    """The name of a tenant.

    Raises:
        ValueError: it is none.
    """
    if not _TENANT.fullmatch(text):
        raise ValueError("write 1 to 64 of a-z, 0-9, dot, underscore and hyphen")
    return text


def key_name(text: str) -> str:
    """What a person calls a key.

    Raises:
        ValueError: it has more than 100 characters, or some that are not seen.
    """
    if len(text) > 100 or _CONTROL.search(text):
        raise ValueError("write at most 100 characters, without line breaks and other control characters")
    return text


TenantName = Annotated[
    str,
    AfterValidator(tenant_name),
    Field(
        description="1 to 64 of a-z, 0-9, `.`, `_` and `-`.",
        examples=["design"],
        json_schema_extra={"pattern": f"^{_TENANT.pattern}$"},
    ),
]
KeyName = Annotated[
    str,
    AfterValidator(key_name),
    Field(
        description="What you call it; at most 100 characters, none of them a control character.",
        json_schema_extra={"maxLength": 100, "pattern": r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"},
    ),
]
