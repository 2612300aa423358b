"""`/console/keys`: who may call, and what they may do; made, renewed and revoked here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from app.access.callers import Caller
from app.access.keys import KeyFilters, KeyList, KeyView, NewKeyView, create_key, list_keys, revoke_key, show_key
from app.access.scope import Scope
from app.access.tenants import TenantList, list_tenants
from app.clock import system_clock
from app.console import instant_field
from app.console.asking import asked, request_with
from app.console.form import read_fields
from app.console.page import PageRoute, go_to, page
from app.console.query import query_of
from app.console.refusal import reason, say_refusal
from app.console.visitor import Visitor
from app.problems import Problem

router = APIRouter(prefix="/console", include_in_schema=False, route_class=PageRoute)

HERE = "/console/keys"
MEANINGS = {
    Scope.JOBS_WRITE: "accept, cancel and retry jobs",
    Scope.JOBS_READ: "see the tenant's own jobs",
    Scope.ADMIN: "everything, for every tenant",
}


@dataclass(frozen=True, slots=True)
class KeyForm:
    """What the form for a new key holds."""

    tenant: str = ""
    name: str = ""
    scopes: Sequence[str] = (Scope.JOBS_WRITE, Scope.JOBS_READ)
    expires_at: str = ""  #: as the field has it
    instead_of: str = ""  #: the key that this one is to replace


@router.get("/keys")
async def show_the_keys(request: Request, caller: Visitor, tenant: str = "", like: str = "") -> Response:
    return await _list(
        request, caller, tenant=tenant, form=await _like(request, caller, like) if like else KeyForm(tenant=tenant)
    )


@router.post("/keys")
async def make(request: Request, caller: Visitor) -> Response:
    """The answer is the page that shows the key: it goes into no cookie and no address."""
    form = _read(await read_fields(request))
    try:
        new = await asked(create_key(request_with(request, body=_body(form)), caller), NewKeyView)
    except Problem as problem:
        if problem.status != 422:
            raise
        return await _list(request, caller, form=form, wrong=reason(problem))
    return page(request, "new_key.html", caller, 201, now=system_clock(), key=new, instead_of=form.instead_of)


@router.get("/keys/{key_id}")
async def show_a_key(request: Request, caller: Visitor, key_id: str) -> Response:
    key = await asked(show_key(request, caller, key_id), KeyView)
    return page(request, "key.html", caller, now=system_clock(), key=key, meanings=MEANINGS)


@router.post("/keys/{key_id}/revoke")
async def revoke(request: Request, caller: Visitor, key_id: str) -> Response:
    try:
        await revoke_key(request, caller, key_id)
    except Problem as problem:
        return say_refusal(request, f"{HERE}/{quote(key_id)}", problem)
    return go_to(request, HERE, f"Key {key_id} opens nothing any more.")


async def _list(request: Request, caller: Caller, *, form: KeyForm, tenant: str = "", wrong: str = "") -> Response:
    keys = (await asked(list_keys(request, caller, query_of(KeyFilters, tenant=tenant)), KeyList)).keys
    tenants = (await asked(list_tenants(request, caller), TenantList)).tenants
    return page(
        request, "keys.html", caller, 422 if wrong else 200,
        now=system_clock(), keys=keys, tenants=tenants, chosen=tenant, form=form, wrong=wrong, meanings=MEANINGS,
    )  # fmt: skip


async def _like(request: Request, caller: Caller, key_id: str) -> KeyForm:
    old = await asked(show_key(request, caller, key_id), KeyView)
    expires = instant_field.written(old.expires_at) if old.expires_at else ""
    return KeyForm(old.tenant, old.name, old.scopes, expires, instead_of=old.id)


def _read(fields: Sequence[tuple[str, str]]) -> KeyForm:
    one = dict(fields)
    return KeyForm(
        tenant=one.get("tenant", "").strip(), name=one.get("name", "").strip(),
        scopes=[value for name, value in fields if name == "scopes"],
        expires_at=one.get("expires_at", "").strip(), instead_of=one.get("instead_of", ""),
    )  # fmt: skip


def _body(form: KeyForm) -> dict[str, object]:
    body: dict[str, object] = {"tenant": form.tenant, "name": form.name, "scopes": list(form.scopes)}
    return {**body, "expires_at": instant_field.read(form.expires_at)} if form.expires_at else body
