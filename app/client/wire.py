"""The border to httpx: how its clients are made, and its errors in our words. For both drivers."""

from __future__ import annotations

from typing import Any

import httpx

from app.client.steps import Head, Lost, Request

CONNECT = 10.0  #: seconds for a connection, at most

#: What httpx raises before anything of the request was sent.
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)
_HEADERS = {"User-Agent": "qwen-image-gateway-client", "Accept-Encoding": "identity"}
_LOOPBACK = ("all://127.0.0.1", "all://localhost", "all://[::1]")


def http_options(*, trust_env: bool) -> dict[str, Any]:
    """For either of httpx's clients. Connections are not limited: each of a thousand waits holds one, at the gateway too.

    A proxy of the environment is never asked for this machine itself.
    """
    return {
        "follow_redirects": False,
        "trust_env": trust_env,
        "limits": httpx.Limits(max_connections=None, max_keepalive_connections=20),
        "mounts": dict.fromkeys(_LOOPBACK),
    }


def http_request(request: Request, api_key: str) -> httpx.Request:
    """With the key, if it goes to the gateway. httpx sends it as it is, without headers of the client's own."""
    key = {"Authorization": f"Bearer {api_key}"} if request.ours else {}
    timeout = httpx.Timeout(request.silence, connect=min(request.silence, CONNECT)).as_dict()
    return httpx.Request(
        request.method,
        request.url,
        headers={**_HEADERS, **request.headers, **key},
        content=request.body,
        extensions={"timeout": timeout},
    )


def head(response: httpx.Response) -> Head:
    return Head(response.status_code, {name.lower(): value for name, value in response.headers.items()})


def lost(error: httpx.TransportError) -> Lost:
    return Lost(f"{type(error).__name__}: {error}".removesuffix(": "), sent=not isinstance(error, _UNSENT), cause=error)
