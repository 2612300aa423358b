"""Who is calling: API keys, their scopes and tenants."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.problems import scope_missing, unauthorized
from app.storage.keys import KeyStore

ADMIN_TENANT = "admin"  #: the tenant of the first key


class Scope(StrEnum):
    """What a key may do."""

    JOBS_WRITE = "jobs:write"  #: accept, cancel and retry jobs
    JOBS_READ = "jobs:read"  #: see the tenant's own jobs
    ADMIN = "admin"  #: everything, for every tenant


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of an API key."""

    tenant: str
    key_id: str
    scopes: frozenset[str]

    @property
    def is_admin(self) -> bool:
        return Scope.ADMIN in self.scopes

    def require(self, scope: Scope) -> None:
        """Raises Problem 403 where the key lacks the scope; `admin` includes all."""
        if not self.is_admin and scope not in self.scopes:
            raise scope_missing(scope)

    def may_see(self, tenant: str) -> bool:
        return self.is_admin or tenant == self.tenant


class Access:
    """Tells callers by their keys."""

    def __init__(self, keys: KeyStore) -> None:
        self._keys = keys

    async def caller(self, api_key: str) -> Caller | None:
        found = await self._keys.find(hash_key(api_key))
        if found is None or found.revoked_at is not None:
            return None
        return Caller(found.tenant, found.key_id, frozenset(found.scopes))

    async def ensure_admin_key(self, api_key: str) -> bool:
        """Makes this key an admin key, unless it exists; returns whether it was new."""
        digest = hash_key(api_key)
        return await self._keys.insert_if_absent(
            key_id=f"bootstrap-{digest.hex()[:8]}",
            tenant=ADMIN_TENANT,
            name="bootstrap",
            secret_hash=digest,
            scopes=(Scope.ADMIN,),
        )

    async def first_admin_key(self) -> str | None:
        """A new admin key when there is none at all, to be shown once; otherwise None."""
        if await self._keys.any_exists():
            return None
        api_key = new_key()
        await self.ensure_admin_key(api_key)
        return api_key


def new_key() -> str:
    """A key with a readable prefix and id, and 256 random bits."""
    return f"gw_{secrets.token_hex(4)}_{secrets.token_urlsafe(32)}"


def hash_key(api_key: str) -> bytes:
    """What is stored of a key. It is long and random, so a fast hash keeps it safe."""
    return hashlib.sha256(api_key.encode("utf-8", "surrogatepass")).digest()


_bearer = HTTPBearer(auto_error=False, scheme_name="API key", description="`Authorization: Bearer <gateway key>`")


async def current_caller(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Caller:
    """FastAPI dependency: the caller, or Problem 401."""
    access: Access = request.state.gateway.access
    caller = await access.caller(credentials.credentials) if credentials else None
    if caller is None:
        raise unauthorized()
    return caller


CurrentCaller = Annotated[Caller, Depends(current_caller)]
