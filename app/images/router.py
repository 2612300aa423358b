"""`/jobs/{id}/images/{index}`: the archived picture, or the way to the upstream's; and links to it that need no key."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Annotated

import structlog
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, StrictInt

from app.answers import base_url, body_of, json_answer, problem_responses
from app.bodies import read_model
from app.images.inspect import EXTENSIONS, THUMBNAIL_TYPE
from app.images.links import LONGEST
from app.images.looked_at import KeyedLook, LookedAt, LookedAtPicture
from app.images.requested_part import requested_part
from app.images.store import THUMBNAIL, ImageMissingError, ImageStore, ImageStoreUnavailableError
from app.lifecycle.job import Picture
from app.problems import Problem
from app.whole_number import WHOLE

router = APIRouter(prefix="/jobs/{job_id}/images/{index}", tags=["jobs"], responses=problem_responses(401, 403, 404, 503))
log = structlog.get_logger(__name__)

BODY_MAX = 1024  #: bytes
RETRY_AFTER = 10  #: seconds; what a caller is told to wait for the picture store

#: A stranger's bytes, served so that they can do nothing but be looked at.
_HARMLESS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_FOR_EVER = "private, max-age=31536000, immutable"  #: a settled job's picture never changes

Thumbnail = Annotated[bool, Query(description="A small one instead: WebP, at most 320 pixels wide and high.")]


class LinkRequest(BaseModel):
    """The body of `POST /jobs/{id}/images/{index}/link`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"expires_in": 86400}]})

    expires_in: Annotated[
        StrictInt, Field(ge=1, le=int(LONGEST.total_seconds()), description="Seconds; at most seven days."), WHOLE
    ]


class LinkView(BaseModel):
    url: str = Field(description="Opens the picture for anybody who has it; add `&thumbnail=1` for the small one.")
    expires_at: datetime


@router.get(
    "",
    summary="A job's picture",
    response_class=Response,
    responses={
        200: {"content": {name: {} for name in EXTENSIONS}, "description": "The archived picture."},
        206: {"description": "The range of it that was asked for."},
        304: {"description": "The caller has it already."},
        307: {"description": "It is not archived (yet): to where the upstream keeps it."},
        **problem_responses(416, 503, "picture_store_unavailable"),
    },
)
@router.head("", include_in_schema=False)
async def show_image(request: Request, looked: LookedAtPicture, thumbnail: Thumbnail = False) -> Response:
    """The archived picture with its own type, a strong `ETag` and single ranges; it never changes. Until it is archived, or
    where the gateway archives nothing, this leads to the upstream's. A signed link needs no key."""
    archive, picture = request.state.gateway.archive, looked.stored
    if archive is None or picture is None:
        return _to_the_upstream(looked)
    try:
        if thumbnail and picture.has_thumbnail:
            return await _thumbnail(request, looked, picture, archive.store)
        return await _whole(request, looked, picture, archive.store)
    except ImageMissingError:
        archive.restore(looked.job_id, picture)
        return _to_the_upstream(looked)
    except ImageStoreUnavailableError as error:
        log.error("picture store unavailable", reason=str(error))
        raise Problem.of("picture_store_unavailable", headers={"Retry-After": str(RETRY_AFTER)}) from None


@router.post(
    "/link",
    response_model=LinkView,
    summary="A link to a picture that needs no key",
    responses=problem_responses(408, 413, 415, 422),
    openapi_extra=body_of(LinkRequest),
)
async def make_link(request: Request, looked: KeyedLook) -> Response:
    """Anybody who has the link may look at the picture until it expires; it cannot be taken back. Nothing is stored."""
    body = await read_model(request, LinkRequest, limit=BODY_MAX)
    links = request.state.gateway.picture_links
    expires_at = links.clock().replace(microsecond=0) + timedelta(seconds=body.expires_in)
    url = links.signed_url(base_url(request), looked.job_id, looked.index, expires_at)
    return json_answer(LinkView(url=url, expires_at=expires_at))


def _to_the_upstream(looked: LookedAt) -> Response:
    """Not to be remembered: the next look may find it archived."""
    return RedirectResponse(looked.source_url, 307, {"Cache-Control": "no-store"})


async def _whole(request: Request, looked: LookedAt, picture: Picture, store: ImageStore) -> Response:
    sha256, media_type, size = picture.sha256 or "", picture.media_type or "", picture.bytes or 0
    extension = EXTENSIONS[media_type]
    part = requested_part(request.method, request.headers, etag=f'"{sha256}"', size=size)
    headers = _headers(sha256, f"{looked.job_id}-{looked.index}.{extension}") | {"Accept-Ranges": "bytes"}
    if part.status == 304:
        return Response(status_code=304, headers=headers)
    if part.status == 416:
        raise _behind_its_end(size)
    headers |= {"Content-Length": str(part.stop - part.start)}
    if part.status == 206:
        headers |= {"Content-Range": f"bytes {part.start}-{part.stop - 1}/{size}"}
    if request.method == "HEAD":
        return Response(status_code=part.status, headers=headers, media_type=media_type)
    stored = await store.get(sha256, extension, start=part.start, stop=part.stop)
    if stored.size != size:
        raise ImageMissingError("the object is not as long as the picture was")
    return StreamingResponse(stored.pieces, part.status, headers, media_type)


def _behind_its_end(size: int) -> Problem:
    headers = {"Content-Range": f"bytes */{size}", "Cache-Control": "no-store"}
    return Problem.of("range_not_satisfiable", size=size, headers=headers)


async def _thumbnail(request: Request, looked: LookedAt, picture: Picture, store: ImageStore) -> Response:
    """Small enough to be read at once; so its `ETag` is that of its bytes, whoever made them."""
    stored = await store.get(picture.sha256 or "", THUMBNAIL)
    content = b"".join([piece async for piece in stored.pieces])
    sha256 = hashlib.sha256(content).hexdigest()
    headers = _headers(sha256, f"{looked.job_id}-{looked.index}-thumbnail.webp")
    part = requested_part("HEAD", request.headers, etag=f'"{sha256}"', size=len(content))
    if part.status == 304:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=THUMBNAIL_TYPE)


def _headers(sha256: str, name: str) -> dict[str, str]:
    disposition = f'inline; filename="{name}"'
    return {**_HARMLESS, "ETag": f'"{sha256}"', "Cache-Control": _FOR_EVER, "Content-Disposition": disposition}
