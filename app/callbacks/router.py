"""`POST /callbacks/{token}`: the webhook endpoint, where the upstream calls back."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.answers import problem_responses
from app.bodies import take_body
from app.callbacks.receive import CallbackReceiver
from app.problems import not_found
from app.storage.receipts import CallbackOutcome

BODY_MAX = 1024 * 1024  #: bytes
BODY_SECONDS = 5.0

router = APIRouter(tags=["upstream"])


@router.post(
    "/callbacks/{token:path}",  # with slashes in it too: the 404 of such a token is that of any other
    status_code=204,
    summary="Receive a callback of the upstream",
    responses={204: {"description": "It is written down."}, **problem_responses(404, 408, 413, 503, thing="callback")},
    openapi_extra={
        "requestBody": {"description": "Whatever the upstream sends.", "content": {"application/json": {"schema": {}}}}
    },
)
async def receive_callback(request: Request, token: str) -> Response:
    """Any content type, any body: it is written down, and causes a check.

    Unknown, malformed and old tokens get one and the same 404, after the body was read and for the same work.
    """
    receiver: CallbackReceiver = request.state.gateway.callbacks
    if not await receiver.knows(token):
        receiver.turned_away(await take_body(request, _drop, limit=BODY_MAX, seconds=BODY_SECONDS))
        raise not_found("callback")
    with receiver.bodies.one_more() as body:
        await take_body(request, body.add, limit=BODY_MAX, seconds=BODY_SECONDS)
        outcome = await receiver.receive(token, request.headers.get("content-type"), body.handed_on())
    if outcome is CallbackOutcome.UNKNOWN:  # its time ended meanwhile
        raise not_found("callback")
    return Response(status_code=204)


def _drop(_piece: bytes) -> None:
    return None
