"""Does PUBLIC_BASE_URL lead to a gateway, and its way for callbacks too?"""

from __future__ import annotations

from typing import Any

import httpx

from app.doctor.finding import Finding, ok, warning, wrong

CHECK = "public address"
TIMEOUT = 10.0  #: seconds
_PROXY = "see its DNS, certificate and proxy; if it works from elsewhere, only this machine does not reach it"


async def look_at_public_address(url: str | None, *, runs: bool | None) -> Finding:
    """
    Args:
        runs: whether a gateway holds the SQLite file; None where that cannot be known.
    """
    if url is None:
        todo = "set GATEWAY_PUBLIC_BASE_URL; without it results are found by checks alone, and a lost answer fails its job"
        return warning(CHECK, "none is set, so the upstream cannot call back", todo)
    if runs is False:
        return warning(CHECK, f"{url} was not asked, as no gateway runs", "start gateway serve, then look again")
    async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT) as http:
        try:
            return await _ask(http, url)
        except httpx.HTTPError as error:
            return wrong(CHECK, f"{url} does not answer: {str(error)[:200] or type(error).__name__}", _PROXY)


async def _ask(http: httpx.AsyncClient, url: str) -> Finding:
    alive = await http.get(f"{url}/healthz")
    if alive.status_code != 200 or _json(alive).get("status") != "ok":
        return wrong(CHECK, f"{url}/healthz answers {alive.status_code}, but not as a gateway does", _PROXY)
    called = await http.post(f"{url}/callbacks/doctor", content=b"{}")
    if called.status_code == 404 and _json(called).get("code") == "not_found":
        return ok(CHECK, f"{url} answers, and lets callbacks through")
    found = f"{url}/callbacks/ answers {called.status_code}: not the gateway's 404 for a made-up callback"
    return wrong(CHECK, found, "see the proxy's rules for /callbacks/: POST, any content type, no sign-in, no redirect")


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
