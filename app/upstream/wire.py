"""The upstream's JSON: what we send, and what its answers mean. Pure functions; none of the readers ever raises.

Source: the upstream's API document. Every answer of it is an *envelope*, `{"code": 200, "message": "…", "data": …}`.

What an answer to a submit means. The first row that fits decides, so HTTP status and `code` may disagree:

    a readable task id                                                → Accepted   the job runs, whatever else is wrong
    HTTP 3xx, 502, 503, 504                                           → Unproven   said by something in between
    a body that is no envelope                                        → Unproven   whatever the status: see below
    401, 402, 403, 429, 500 in HTTP status or `code`                  → Refused    in this order of precedence
    404, 405 in HTTP status or `code`                                 → Refused    SERVER_ERROR: our base URL is wrong
    400, 413, 415, 422 in HTTP status or `code`                       → Rejected   the request itself is at fault
    anything else: 200 without a task id, 408, 501, 520, …            → Unproven

A body that is no envelope is not the application's. A 403 or 429 in HTML is mostly what it says, sent by a firewall or a rate
limiter before the application was reached; but one that filters *answers* says the same after the task was made, and then
sending again would pay twice.

What an answer to a check means, again the first row that fits:

    401 in HTTP status or `code`                                      → NoAnswer   unauthorized
    HTTP 3xx, or a body that is no envelope                           → NoAnswer   a proxy's 404 must not lose a task
    HTTP 404 or 2xx, and `code` 404                                   → NotFound
    HTTP 404, and a `code` which the document does not know           → NotFound
    any other HTTP status or `code` than 2xx and 200                  → NoAnswer   429 and 503 with their Retry-After
    `data` is about another task, or shows no status                  → NoAnswer
    PENDING, IN_PROGRESS, any unknown word, SUCCESS without a picture → StillGoing
    SUCCESS                                                           → Succeeded
    FAILED                                                            → TaskFailed
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from app.lifecycle.answers import (
    Accepted,
    NoAnswer,
    NotFound,
    Reading,
    Refusal,
    Refused,
    Rejected,
    StillGoing,
    SubmitAnswer,
    Succeeded,
    TaskFailed,
    Unproven,
)
from app.lifecycle.gate import PAUSE_MOST
from app.lifecycle.request import GenerationRequest
from app.retry_after import retry_after

MESSAGE_MAX = 1000  #: characters kept of a message of the upstream
STATUS_WORD_MAX = 40  #: characters kept of a status word
TASK_ID_MAX = 200  #: characters; a longer one is not readable
IMAGES_MAX = 16  #: addresses kept of one answer
URL_MAX = 4096  #: characters; a longer address is no picture
ECHO_MAX = 4096  #: characters kept of an echoed prompt or callback address
CREDITS_MAX = 1_000_000  #: a larger figure is no price
RETRY_AFTER_MAX = PAUSE_MOST

_NOT_ACCEPTED = {
    401: Refusal.UNAUTHORIZED,
    402: Refusal.NO_CREDITS,
    403: Refusal.FORBIDDEN,
    429: Refusal.THROTTLED,
    500: Refusal.SERVER_ERROR,
    404: Refusal.SERVER_ERROR,  # not of the task, for a submit names none: nobody serves this address
    405: Refusal.SERVER_ERROR,  # likewise
}
_AT_FAULT = (400, 413, 415, 422)
_IN_BETWEEN = (502, 503, 504)
_DOCUMENTED = frozenset({200, 400, 401, 404, 500})
_PATIENCE = (429, 503)
_KNOWN_STATUSES = frozenset({"PENDING", "IN_PROGRESS", "SUCCESS", "FAILED"})
_TASK_ID_KEYS = ("task_id", "taskId")
_OWN_TASK_ID = re.compile(r"[!-~]+")  #: in our own answer: any printable ASCII without blanks
_FOREIGN_TASK_ID = re.compile(r"[A-Za-z0-9._:-]+")  #: in a callback, which anybody can send
_DEEPEST = 6  #: levels below `data` in which a task id is looked for
_WHOLE_NUMBER = re.compile(r"([+-]?[0-9]{1,15})(?:\.0*)?")


def generate_body(request: GenerationRequest, callback_url: str | None) -> dict[str, Any]:
    """The body of `POST /api/generate`, every field spelled out; `callback_url` only when there is one."""
    body: dict[str, Any] = {
        "prompt": request.prompt,
        "size": request.size,
        "seed": request.seed,
        "output_format": request.output_format,
    }
    if callback_url is not None:
        body["callback_url"] = callback_url
    return body


def read_submit(status: int, headers: Mapping[str, str], body: bytes, *, hide: Sequence[str] = ()) -> SubmitAnswer:
    """What the answer to a submit proves; the table is in the module's docstring.

    `hide` names the texts (key, callback address) that no message may repeat, should the upstream echo them.
    """
    root = _json_object(body)
    if (task_id := _own_task_id(root)) is not None:
        return Accepted(task_id, _status_word(_object(root.get("data"))))
    envelope = _envelope(root)
    said = _said(status, envelope, hide)
    if envelope is None or 300 <= status < 400 or status in _IN_BETWEEN:
        return Unproven(said)
    for number, reason in _NOT_ACCEPTED.items():
        if number in (status, envelope.code):
            return Refused(reason, said, _patience(headers))
    if status in _AT_FAULT or envelope.code in _AT_FAULT:
        return Rejected(_text(envelope.message, MESSAGE_MAX, hide) or said)
    return Unproven(said)


def read_status(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    task_id: str,
    *,
    hide: Sequence[str] = (),
) -> Reading:
    """What the answer to a check says of the task `task_id`; the table is in the module's docstring.

    `hide` as in `read_submit`.
    """
    envelope = _envelope(_json_object(body))
    said = _said(status, envelope, hide)
    code = envelope.code if envelope is not None else None
    if 401 in (status, code):
        return NoAnswer(said, unauthorized=True)
    patience = _patience(headers) if status in _PATIENCE or code in _PATIENCE else None
    if envelope is None or 300 <= status < 400:
        return NoAnswer(said, retry_after=patience)
    fine = 200 <= status < 300
    if code == 404 and (fine or status == 404):
        return NotFound()
    if status == 404 and code not in _DOCUMENTED:
        return NotFound()
    if not fine or code != 200:
        return NoAnswer(said, retry_after=patience)
    return _read_task(_object(envelope.data), task_id, hide)


def read_callback(body: bytes) -> str | None:
    """The task id that a callback names: `[A-Za-z0-9._:-]`, at most 200 characters; None when none is readable.

    The document shows no body of a callback, so an envelope, a bare object and a form are all understood.
    """
    root = _json_object(body)
    for place in (_object(root.get("data")), root):
        for key in _TASK_ID_KEYS:
            if (task_id := _task_id(place.get(key), _FOREIGN_TASK_ID)) is not None:
                return task_id
    if root:
        return None
    return _form_task_id(body)


def _read_task(data: dict[str, Any], task_id: str, hide: Sequence[str]) -> Reading:
    named = next((data[key] for key in _TASK_ID_KEYS if data.get(key) is not None), None)
    if named is not None and not _names(named, task_id):
        return NoAnswer("answered for another task")
    word = _status_word(data)
    if word is None:
        return NoAnswer("the answer shows no status")
    request = _object(data.get("request"))
    callback_url, prompt = _echo(request.get("callback_url")), _echo(request.get("prompt"))
    if word == "FAILED":
        hide = (*hide, callback_url) if callback_url else hide
        message = _text(data.get("error_message"), MESSAGE_MAX, hide)
        return TaskFailed(message, _credits(data.get("consumed_credits")), callback_url, prompt)
    if word == "SUCCESS" and (images := _images(data.get("response"))):
        return Succeeded(images, _credits(data.get("consumed_credits")), callback_url, prompt)
    told = _credits(data.get("consumed_credits")) if word == "SUCCESS" else None
    return StillGoing(word, callback_url, prompt, told)


def _names(told: Any, task_id: str) -> bool:
    return isinstance(told, (str, int)) and str(told).strip() == task_id


@dataclass(frozen=True, slots=True)
class _Envelope:
    code: int
    message: Any
    data: Any


def _envelope(root: dict[str, Any]) -> _Envelope | None:
    code = _whole_number(root.get("code"))
    return None if code is None else _Envelope(code, root.get("message"), root.get("data"))


def _said(status: int, envelope: _Envelope | None, hide: Sequence[str]) -> str:
    if envelope is None:
        # Nothing of a foreign body is repeated: it is some proxy's page.
        return f"HTTP {status}, and the body is not the upstream's envelope"
    message = _text(envelope.message, MESSAGE_MAX, hide)
    return f"HTTP {status}, code {envelope.code}" + (f": {message}" if message else "")


def _json_object(body: bytes) -> dict[str, Any]:
    # A byte that is not UTF-8 in some message must not hide a task id.
    return _object(_json(body.decode("utf-8-sig", "replace")))


def _object(value: Any) -> dict[str, Any]:
    """`value` if it is an object, or a string that holds one as JSON; else an empty object."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = _json(value)
    return value if isinstance(value, dict) else {}


def _json(text: str) -> Any:
    try:
        return json.loads(text, strict=False, parse_int=_integer)
    except (ValueError, RecursionError):
        return None


def _integer(digits: str) -> int | None:
    # Python refuses to read thousands of digits; one silly number must not make the whole answer unreadable.
    return int(digits) if len(digits) <= 100 else None


def _own_task_id(root: dict[str, Any]) -> str | None:
    """The task id nearest to the top of `data`, or else beside it."""
    level: list[Any] = [_object(root.get("data")) or root.get("data")]
    for _ in range(_DEEPEST):
        below: list[Any] = []
        for place in level:
            if isinstance(place, dict):
                if (task_id := _first_own_task_id(place)) is not None:
                    return task_id
                below.extend(place.values())
            elif isinstance(place, list):
                below.extend(place)
        level = below
    return _first_own_task_id(root)


def _first_own_task_id(place: dict[str, Any]) -> str | None:
    found = (_task_id(place.get(key), _OWN_TASK_ID) for key in _TASK_ID_KEYS)
    return next((task_id for task_id in found if task_id is not None), None)


def _task_id(value: Any, pattern: re.Pattern[str]) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return None
    value = value.strip()
    return value if len(value) <= TASK_ID_MAX and pattern.fullmatch(value) else None


def _form_task_id(body: bytes) -> str | None:
    try:
        fields = parse_qsl(body.decode("utf-8", "replace"), max_num_fields=100)
    except ValueError:
        return None
    found = (_task_id(value, _FOREIGN_TASK_ID) for key, value in fields if key in _TASK_ID_KEYS)
    return next((task_id for task_id in found if task_id is not None), None)


def _status_word(data: dict[str, Any]) -> str | None:
    word = data.get("status")
    if not isinstance(word, str):
        return None
    word = _text(word, STATUS_WORD_MAX).strip()
    return word.upper() if word.upper() in _KNOWN_STATUSES else word or None


def _images(response: Any) -> tuple[str, ...]:
    if isinstance(response, str) and response.lstrip()[:1] in ("[", "{", '"'):
        response = _json(response)
    items = response if isinstance(response, list) else [response]
    return tuple(_addresses(items))[:IMAGES_MAX]


def _addresses(items: Iterable[Any]) -> Iterable[str]:
    for item in items:
        address = item.get("url") if isinstance(item, dict) else item
        if isinstance(address, str) and _is_address(address := address.strip()):
            yield address


def _is_address(text: str) -> bool:
    # isprintable() is false for control characters and lone surrogates.
    if len(text) > URL_MAX or not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _credits(value: Any) -> int | None:
    number = _whole_number(value)
    return number if number is not None and 0 <= number <= CREDITS_MAX else None


def _whole_number(value: Any) -> int | None:
    """5, 5.0, "5" and " 5.0 " are 5; anything else is None, and so is what no code or price can be."""
    if isinstance(value, str) and (match := _WHOLE_NUMBER.fullmatch(value.strip())):
        return int(match[1])
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if abs(value) < 10**15 and value == int(value) else None  # NaN fails the first comparison


def _echo(value: Any) -> str | None:
    return _text(value, ECHO_MAX) if isinstance(value, str) else None


def _text(value: Any, limit: int, hide: Sequence[str] = ()) -> str:
    """`value` as text that every store and terminal can hold: no NUL, no lone surrogates, at most `limit` characters."""
    text = value if isinstance(value, str) else _dumped(value)
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "")
    # Before the cut, which could leave half a secret that no longer matches.
    for secret in hide:
        if secret:
            text = text.replace(secret, "[hidden]")
    return text[:limit]


def _dumped(value: Any) -> str:
    if value is None:
        return ""
    try:
        return json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        return type(value).__name__


def _patience(headers: Mapping[str, str]) -> timedelta | None:
    """What the answer asks for, an hour at most. A date beside no `Date` says nothing: no clock is asked here."""
    asked = retry_after(headers)
    return min(asked, RETRY_AFTER_MAX) if asked is not None else None
