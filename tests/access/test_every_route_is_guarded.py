"""Every route of the app, with every kind of key: nothing is open that nobody meant to open."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Route

from tests.acceptance.stage import Stage, client
from tests.access.keyring import TENANT, Keyring

OPEN = {
    "/healthz", "/readyz", "/callbacks/{token}", "/callbacks/{token:path}", "/docs", "/docs/oauth2-redirect", "/redoc",
    "/openapi.json",
}  # fmt: skip

ANY, READ, WRITE, ADMIN = "any key", "jobs:read", "jobs:write", "admin"

#: What a key needs for each route, at least. A route that is missing here fails the test: say what it needs.
NEEDS = {
    "POST /jobs": WRITE,
    "POST /jobs/batch": WRITE,
    "POST /jobs/quote": WRITE,
    "GET /jobs": READ,
    "GET /jobs/export": READ,
    "GET /jobs/{job_id}": READ,
    "GET /jobs/{job_id}/events": READ,
    "GET /jobs/{job_id}/images/{index}": READ,
    "POST /jobs/{job_id}/images/{index}/link": READ,
    "POST /jobs/{job_id}/cancel": WRITE,
    "POST /jobs/{job_id}/retry": WRITE,
    "GET /jobs/{job_id}/deliveries": READ,
    "POST /deliveries/{delivery_id}/redeliver": WRITE,
    "POST /tenants/{name}/deliveries/recover": WRITE,
    "GET /deliveries": ADMIN,
    "GET /receivers": ADMIN,
    "POST /receivers/resume": ADMIN,
    "GET /usage": READ,
    "POST /api/generate": WRITE,
    "GET /api/status": READ,
    "GET /keys": ADMIN,
    "POST /keys": ADMIN,
    "GET /keys/{key_id}": ADMIN,
    "DELETE /keys/{key_id}": ADMIN,
    "GET /tenants": ADMIN,
    "GET /tenants/{name}": ANY,
    "PUT /tenants/{name}": ADMIN,
    "GET /tenants/{name}/delivery-secret": WRITE,
    "POST /tenants/{name}/delivery-secret/rotate": ADMIN,
    "POST /jobs/{job_id}/check": ADMIN,
    "POST /jobs/{job_id}/candidates": ADMIN,
    "GET /operations": ADMIN,
    "POST /operations": ADMIN,
    "GET /operations/{operation_id}": ADMIN,
    "POST /operations/{operation_id}/stop": ADMIN,
    "GET /audit": ADMIN,
    "GET /dispatch": ADMIN,
    "POST /dispatch/pause": ADMIN,
    "POST /dispatch/resume": ADMIN,
    "GET /stats": READ,
    "GET /stats/series": READ,
    "GET /metrics": ADMIN,
}

VALUES: dict[str, Any] = {"name": TENANT, "key_id": "00000000", "index": 0}
NOBODYS = UUID("0192f0c1-e2a3-7c5e-8d1f-3b5a7c9e1f20")  #: an id that nothing has


async def test_no_route_is_open_without_a_key_but_those_that_must_be(stage: Stage) -> None:
    walked = closed_routes(stage)
    assert {"GET /jobs", "POST /keys", "PUT /tenants/{name}"} <= set(walked)
    async with client(stage.url, None) as stranger, client(stage.url, "gw_00000000_" + "x" * 43) as impostor:
        for route in walked:
            for someone in (stranger, impostor):
                answer = await ask(someone, route)
                assert answer.status_code == 401, route
                assert answer.headers["www-authenticate"].startswith("Bearer"), route


async def test_the_pages_of_the_docs_list_no_route_that_was_not_walked(stage: Stage) -> None:
    paths = (await stage.api.get("/openapi.json")).json()["paths"]
    documented = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods if path not in OPEN}
    assert documented <= set(closed_routes(stage))


async def test_each_route_takes_the_scope_that_it_needs_and_no_less(stage: Stage, keyring: Keyring) -> None:
    walked = closed_routes(stage)
    assert [route for route in walked if route not in NEEDS] == [], "say in NEEDS what these need"
    holders = {scope: await keyring.caller(scope) for scope in (READ, WRITE, ADMIN)}
    for route in walked:
        for scope, holder in holders.items():
            answer = await ask(holder, route)
            may = scope == ADMIN or NEEDS[route] in (ANY, scope)
            assert answer.status_code != 401, (route, scope)
            assert answer.status_code < 500, (route, scope)
            assert (answer.status_code != 403) == may, (route, scope, answer.text)
            if not may and not route.split()[1].startswith("/api/"):
                assert answer.json()["code"] == "scope_missing", (route, scope)


def closed_routes(stage: Stage) -> list[str]:
    """`METHOD /path` of every route of the app that asks for a key."""
    found = [f"{method} {path}" for path, methods in walk(stage.app.routes) for method in sorted(methods - {"HEAD", "OPTIONS"})]
    paths = [(route, route.split()[1]) for route in found]  # the console's have a cookie in the key's place, and their own test
    return sorted(route for route, path in paths if path not in OPEN and not path.startswith("/console"))


def walk(routes: list[BaseRoute], prefix: str = "") -> list[tuple[str, set[str]]]:
    """All paths with their methods, those of included routers too. What is neither a route nor a router fails the test."""
    found: list[tuple[str, set[str]]] = []
    for route in routes:
        if isinstance(route, APIRoute | Route):
            found.append((prefix + route.path, set(route.methods or ())))
            continue
        inner = getattr(route, "original_router", None) or route
        assert getattr(inner, "routes", None), f"{route!r} is no route that this test knows how to walk"
        context = getattr(route, "include_context", None)
        found += walk(inner.routes, prefix + (context.prefix if context else getattr(route, "path", "")))
    return found


async def ask(someone: httpx.AsyncClient, route: str) -> httpx.Response:
    method, path = route.split()
    filled = path
    for part in path.split("/"):
        if part.startswith("{"):
            filled = filled.replace(part, str(VALUES.get(part[1:-1].partition(":")[0], NOBODYS)))
    return await someone.request(method, filled)
