"""What the pages load: style sheet, scripts, icon. All of it comes with the gateway; nothing is fetched from elsewhere."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request, Response

from app.problems import not_found

router = APIRouter(prefix="/console/static", include_in_schema=False)

FOLDER = Path(__file__).parent / "static"
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@router.get("/{name:path}")
async def show_asset(request: Request, name: str) -> Response:
    """Its address changes with its content, so it is kept for good; but not what a replica of another release has under it."""
    content = assets().get(name)
    if content is None:
        raise not_found("file")
    digest = _digest(content)
    etag, as_asked = f'"{digest}"', request.query_params.get("v") == digest
    kept = "public, max-age=31536000, immutable" if as_asked else "no-store"
    headers = {"ETag": etag, "Cache-Control": kept, "X-Content-Type-Options": "nosniff"}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=TYPES[Path(name).suffix])


def asset_url(name: str) -> str:
    """Where a page loads it from. Raises KeyError: there is no such file."""
    return f"/console/static/{name}?v={_digest(assets()[name])}"


@cache
def assets() -> dict[str, bytes]:
    """All of them, by name."""
    files = [path for path in FOLDER.rglob("*") if path.suffix in TYPES]
    return {path.relative_to(FOLDER).as_posix(): path.read_bytes() for path in files}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
