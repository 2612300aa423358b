"""`/keys`: operators make, list and revoke API keys."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.access.api_key import make_key
from app.access.callers import CurrentCaller
from app.access.names import KeyName, TenantName
from app.access.scope import Scope
from app.answers import base_url, body_of, json_answer, problem_responses
from app.bodies import read_model
from app.instants import Instant
from app.problems import FieldProblem, Problem, invalid, not_found
from app.response_headers import headers
from app.storage.keys import ExpiredBeforeMadeError, LastAdminKeyError, StoredKey

router = APIRouter(prefix="/keys", tags=["operators"], responses=problem_responses(401, 403, 503))

BODY_MAX = 16 * 1024  #: bytes

_KEY_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


class KeyRequest(BaseModel):
    """The body of `POST /keys`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"tenant": "design", "name": "shop", "scopes": ["jobs:write", "jobs:read"]}]},
    )

    tenant: TenantName = Field(description="Whose key it is; a new name makes a new tenant.")
    scopes: list[Scope] = Field(min_length=1, max_length=len(Scope), description="What it may do; `admin` includes all.")
    name: KeyName = ""
    expires_at: Instant | None = Field(
        None, description="In the future, with an offset. Without one it is good until it is revoked."
    )


class KeyView(BaseModel):
    """A key, without its secret: that was shown once, and is not kept."""

    id: str = Field(examples=["3fb1c2d4"])
    tenant: str
    name: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")
    revoked_at: datetime | None


class NewKeyView(KeyView):
    """A key that was made just now."""

    key: str = Field(description="The key itself; it is shown only here.", examples=["gw_3fb1c2d4_" + "x" * 43])


class KeyList(BaseModel):
    keys: list[KeyView]


class KeyFilters(BaseModel):
    """The query of `GET /keys`. What is not named here is refused, never ignored."""

    model_config = ConfigDict(extra="forbid")

    tenant: TenantName | None = None


@router.get(
    "",
    response_model=KeyList,
    summary="List API keys",
    responses={200: {"description": "The keys."}, **problem_responses(422)},
)
async def list_keys(request: Request, caller: CurrentCaller, filters: Annotated[KeyFilters, Query()]) -> Response:
    """Newest first, revoked and expired ones included."""
    caller.require(Scope.ADMIN)
    found = await request.state.gateway.access.keys.all(filters.tenant)
    return json_answer(KeyList(keys=[key_view(key) for key in found]))


@router.post(
    "",
    status_code=201,
    response_model=NewKeyView,
    summary="Make an API key",
    responses={
        201: {"description": "The key, shown this once.", "headers": headers("Location")},
        **problem_responses(408, 413, 415, 422),
    },
    openapi_extra=body_of(KeyRequest),
)
async def create_key(request: Request, caller: CurrentCaller) -> Response:
    """The answer holds the key itself, once: only its hash is kept."""
    caller.require(Scope.ADMIN)
    body = await read_model(request, KeyRequest, limit=BODY_MAX)
    try:
        api_key, stored = await make_key(
            request.state.gateway.access.keys,
            tenant=body.tenant,
            name=body.name,
            scopes=body.scopes,
            expires_at=body.expires_at,
            by=caller.key_id,
        )
    except ExpiredBeforeMadeError:
        raise invalid([FieldProblem(field="expires_at", message="write an instant in the future")]) from None
    view = new_key_view(api_key, stored)
    return json_answer(view, 201, {"Location": f"{base_url(request)}/keys/{stored.key_id}"})


@router.get(
    "/{key_id}",
    response_model=KeyView,
    summary="Show an API key",
    responses={200: {"description": "The key, without its secret."}, **problem_responses(404, thing="key")},
)
async def show_key(request: Request, caller: CurrentCaller, key_id: str) -> Response:
    """Whose it is, what it may do, and when it was last used."""
    caller.require(Scope.ADMIN)
    found = await request.state.gateway.access.keys.find(key_id) if _KEY_ID.fullmatch(key_id) else None
    if found is None:
        raise not_found("key")
    return json_answer(key_view(found))


@router.delete(
    "/{key_id}", status_code=204, response_class=Response, summary="Revoke an API key",
    responses={204: {"description": "It opens nothing any more."}, **problem_responses(404, "last_admin_key", thing="key")},
)  # fmt: skip
async def revoke_key(request: Request, caller: CurrentCaller, key_id: str) -> Response:
    """From now on it opens nothing, on any replica. Repeating it changes nothing. The last admin key stays: 409."""
    caller.require(Scope.ADMIN)
    try:
        keys = request.state.gateway.access.keys
        revoked = await keys.revoke(key_id, by=caller.key_id) if _KEY_ID.fullmatch(key_id) else None
    except LastAdminKeyError:
        raise Problem.of("last_admin_key") from None
    if revoked is None:
        raise not_found("key")
    return Response(status_code=204)


def key_view(key: StoredKey) -> KeyView:
    return KeyView(
        id=key.key_id,
        tenant=key.tenant,
        name=key.name,
        scopes=[Scope(scope) for scope in key.scopes],
        created_at=key.created_at,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
        revoked_at=key.revoked_at,
    )


def new_key_view(api_key: str, key: StoredKey) -> NewKeyView:
    return NewKeyView(**key_view(key).model_dump(), key=api_key)
