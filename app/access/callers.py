"""Who is calling: told by an API key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param

from app.access.api_key import hash_key
from app.access.last_use import LastUse
from app.access.scope import Scope
from app.lifecycle.news import By
from app.problems import scope_missing, unauthorized
from app.storage.grouped import GroupedWriter
from app.storage.keys import KeyStore, StoredKey

__all__ = ["Access", "Caller", "CurrentCaller", "Scope", "bearer", "current_caller"]


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of an API key."""

    tenant: str
    key_id: str
    scopes: frozenset[str]

    @property
    def is_admin(self) -> bool:
        return Scope.ADMIN in self.scopes

    @property
    def by(self) -> By:
        """Who does it: for timelines, and for the audit where it is an operator."""
        return By(self.key_id, is_operator=self.is_admin)

    def require(self, scope: Scope) -> None:
        """Raises Problem 403 where the key lacks the scope; `admin` includes all."""
        if not self.is_admin and scope not in self.scopes:
            raise scope_missing(scope)

    def may_see(self, tenant: str) -> bool:
        return self.is_admin or tenant == self.tenant


class Access:
    """Tells callers by their keys.

    Every request asks the database, so that a key which was revoked or has expired opens nothing from that moment on, on any
    replica. Requests that arrive together share one statement, which begins after all of them came.
    """

    def __init__(self, keys: KeyStore) -> None:
        self.keys = keys
        self.last_use = LastUse(keys)
        self._lookups: GroupedWriter[bytes, StoredKey | None] = GroupedWriter(keys.find_open)

    async def caller(self, api_key: str) -> Caller | None:
        """None where the key is unknown, revoked or expired.

        Raises:
            StorageUnavailableError: the database is out of reach.
        """
        return await self.caller_by_hash(hash_key(api_key))

    async def caller_by_hash(self, digest: bytes) -> Caller | None:
        """The same, of the hash of a key that was shown before."""
        found = await self._lookups.put(digest)
        if found is None:
            return None
        self.last_use.note(found.key_id)
        return Caller(found.tenant, found.key_id, frozenset(found.scopes))

    async def drained(self) -> None:
        """Returns when no lookup is under way."""
        await self._lookups.drained()


bearer = HTTPBearer(auto_error=False, scheme_name="API key", description="`Authorization: Bearer <gateway key>`")


async def current_caller(
    request: Request, _documented: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)] = None
) -> Caller:
    """FastAPI dependency, and to be called with the request alone: the caller, or Problem 401."""
    access: Access = request.state.gateway.access
    scheme, api_key = get_authorization_scheme_param(request.headers.get("Authorization"))
    caller = await access.caller(api_key) if api_key and scheme.lower() == "bearer" else None
    if caller is None:
        raise unauthorized()
    return caller


CurrentCaller = Annotated[Caller, Depends(current_caller)]
