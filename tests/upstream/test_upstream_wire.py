"""What the upstream's answers mean, as tables; and that no bytes at all make a reader raise."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from app.lifecycle.request import GenerationRequest
from app.upstream.wire import (
    ECHO_MAX,
    IMAGES_MAX,
    MESSAGE_MAX,
    URL_MAX,
    generate_body,
    read_callback,
    read_status,
    read_submit,
)

HTML = b"<html><title>task_id</title></html>"
DEEP = b'{"data":' * 100_000
DEEP_LIST = b'{"code": 200, "data": ' + b"[" * 100_000
PICTURE = "https://cdn.example.com/image.png"


def body(code: Any = 200, data: Any = None, message: Any = "success") -> bytes:
    return json.dumps({"code": code, "message": message, "data": data}).encode()


# The request


def test_a_request_is_spelled_as_the_document_spells_it() -> None:
    request = GenerationRequest("A lake", size="1024*768", seed=0, output_format="webp")
    fields = {"prompt": "A lake", "size": "1024*768", "seed": 0, "output_format": "webp"}
    assert generate_body(request, None) == fields
    assert generate_body(request, "https://g.example/c") == {**fields, "callback_url": "https://g.example/c"}


def test_a_random_seed_is_sent_too() -> None:
    assert generate_body(GenerationRequest("a"), None)["seed"] == -1


# A submit: a task id wins over everything

DOCUMENTED = {"task_id": "n43abc123def456qwenimg", "status": "IN_PROGRESS"}
TASK = Accepted("n43abc123def456qwenimg", "IN_PROGRESS")


@pytest.mark.parametrize("status", [200, 201, 302, 400, 401, 402, 403, 404, 429, 500, 502, 503, 504, 520])
@pytest.mark.parametrize("code", [200, 400, 401, 402, 403, 429, 500, "strange", None])
def test_a_task_id_means_accepted_whatever_else_is_wrong(status: int, code: Any) -> None:
    assert read_submit(status, {}, body(code, DOCUMENTED)) == TASK


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (body(200, {"task_id": "a"}), Accepted("a")),
        (body(200, {"taskId": "a"}), Accepted("a")),
        (body(200, {"task_id": " a ", "status": " pending "}), Accepted("a", "PENDING")),
        (body(200, {"task_id": 17}), Accepted("17")),
        (body(200, {"task_id": "a/b=+~"}), Accepted("a/b=+~")),
        (body(200, {"task_id": "a" * 200}), Accepted("a" * 200)),
        (body(200, {"task_id": None, "taskId": "b"}), Accepted("b")),
        (body(200, {"task": {"task_id": "a"}}), Accepted("a")),
        (body(200, [{"task_id": "a"}, {"task_id": "b"}]), Accepted("a")),
        (body(200, json.dumps({"task_id": "a"})), Accepted("a")),
        (b'{"task_id": "a"}', Accepted("a")),
        (b'\xef\xbb\xbf {"code":200,"data":{"task_id":"a"}}', Accepted("a")),
        (b'{"message":"\xc7\xeb","data":{"task_id":"a"}}', Accepted("a")),
        (b'{"message":"a\x00\nb","data":{"task_id":"a"}}', Accepted("a")),
        (b'{"code":' + b"9" * 5000 + b',"data":{"task_id":"a"}}', Accepted("a")),
        (b'{"x":NaN,"data":{"task_id":"a"}}', Accepted("a")),
        (body(200, {"task_id": "a", "status": "Weird\0" + "x" * 99}), Accepted("a", "Weird" + "x" * 35)),
    ],
)
def test_a_task_id_is_found_where_it_may_hide(raw: bytes, expected: SubmitAnswer) -> None:
    assert read_submit(200, {}, raw) == expected


@pytest.mark.parametrize(
    "task_id", ["", " ", "a b", "a" * 201, "é", "a\0", "a\n b", None, True, 1.5, [], {}, "\ud800", 10**250]
)
def test_a_task_id_that_is_not_readable_proves_nothing(task_id: Any) -> None:
    assert isinstance(read_submit(200, {}, json.dumps({"code": 200, "data": {"task_id": task_id}}).encode()), Unproven)


# A submit: HTTP status against envelope

U = Unproven
J = Rejected
UNAUTHORIZED, NO_CREDITS, FORBIDDEN, THROTTLED, SERVER_ERROR = (
    Refusal.UNAUTHORIZED,
    Refusal.NO_CREDITS,
    Refusal.FORBIDDEN,
    Refusal.THROTTLED,
    Refusal.SERVER_ERROR,
)

# HTTP status: (no envelope, code 200, 400, 401, 402, 403, 404, 429, 500, 503, 999), never with a task id
CODES = (None, 200, 400, 401, 402, 403, 404, 429, 500, 503, 999)
FOUR = (UNAUTHORIZED, NO_CREDITS, FORBIDDEN)
GRID: dict[int, tuple[Any, ...]] = {
    200: (U, U, J, *FOUR, SERVER_ERROR, THROTTLED, SERVER_ERROR, U, U),
    202: (U, U, J, *FOUR, SERVER_ERROR, THROTTLED, SERVER_ERROR, U, U),
    302: (U, U, U, U, U, U, U, U, U, U, U),
    400: (U, J, J, *FOUR, SERVER_ERROR, THROTTLED, SERVER_ERROR, J, J),
    401: (U, *[UNAUTHORIZED] * 10),
    402: (U, NO_CREDITS, NO_CREDITS, UNAUTHORIZED, *[NO_CREDITS] * 7),
    403: (U, FORBIDDEN, FORBIDDEN, UNAUTHORIZED, NO_CREDITS, *[FORBIDDEN] * 6),
    404: (U, SERVER_ERROR, SERVER_ERROR, *FOUR, SERVER_ERROR, THROTTLED, *[SERVER_ERROR] * 3),
    405: (U, SERVER_ERROR, SERVER_ERROR, *FOUR, SERVER_ERROR, THROTTLED, *[SERVER_ERROR] * 3),
    408: (U, U, J, *FOUR, SERVER_ERROR, THROTTLED, SERVER_ERROR, U, U),
    413: (U, J, J, *FOUR, SERVER_ERROR, THROTTLED, SERVER_ERROR, J, J),
    415: (U, J, J, *FOUR, SERVER_ERROR, THROTTLED, SERVER_ERROR, J, J),
    422: (U, J, J, *FOUR, SERVER_ERROR, THROTTLED, SERVER_ERROR, J, J),
    429: (U, THROTTLED, THROTTLED, *FOUR, *[THROTTLED] * 5),
    500: (U, SERVER_ERROR, SERVER_ERROR, *FOUR, SERVER_ERROR, THROTTLED, *[SERVER_ERROR] * 3),
    501: (U, U, J, *FOUR, SERVER_ERROR, THROTTLED, SERVER_ERROR, U, U),
    502: (U,) * 11,
    503: (U,) * 11,
    504: (U,) * 11,
    520: (U, U, J, *FOUR, SERVER_ERROR, THROTTLED, SERVER_ERROR, U, U),
}


@pytest.mark.parametrize("status", GRID)
def test_status_and_envelope_together_decide(status: int) -> None:
    def kind(code: int | None) -> Any:
        answer = read_submit(status, {}, HTML if code is None else body(code))
        return answer.reason if isinstance(answer, Refused) else type(answer)

    assert tuple(kind(code) for code in CODES) == GRID[status]


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b" ", b"null", b"[]", b"5", b'"x"', b"{", b"{}", b"\xff\xfe\x00", b"\0", HTML, DEEP, DEEP_LIST),
        *(b'{"message": "no"}', b'{"code": null}', b'{"code": true}', b'{"code": "x"}', b'{"code": [200]}'),
        *(b'{"code": 1.5}', b'{"code": NaN}', b'{"code": 1e999}', b'{"code": 1e300}', '{"code": "５００"}'.encode()),
    ],
    ids=lambda raw: repr(raw[:20]),
)
@pytest.mark.parametrize("status", [200, 204, 400, 500, 502])
def test_a_body_that_is_no_envelope_proves_nothing(status: int, raw: bytes) -> None:
    answer = read_submit(status, {}, raw)
    assert answer == Unproven(f"HTTP {status}, and the body is not the upstream's envelope")


@pytest.mark.parametrize("code", [500, 500.0, "500", " 500 ", "500.0"])
def test_a_code_may_be_spelled_as_text(code: Any) -> None:
    assert read_submit(200, {}, body(code)) == Refused(SERVER_ERROR, f"HTTP 200, code {500}: success")


def test_the_upstreams_message_reaches_the_caller_of_a_rejected_request() -> None:
    said = "Bad Request: 'prompt' is required."
    assert read_submit(400, {}, body(400, None, said)) == Rejected(said)
    assert read_submit(200, {}, body(400, None, said)) == Rejected(said)
    assert read_submit(400, {}, body(400, None, None)) == Rejected("HTTP 400, code 400")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("x" * 5000, "x" * MESSAGE_MAX),
        ({"prompt": ["提示"]}, '{"prompt": ["提示"]}'),
        ("a\0b", "ab"),
        ("a\ud800b", "a\ufffdb"),
        ("\U0001f304", "\U0001f304"),
        (12, "12"),
    ],
)
def test_a_message_of_any_kind_becomes_text_that_can_be_stored(message: Any, expected: str) -> None:
    assert read_submit(400, {}, body(400, None, message)) == Rejected(expected)


def test_a_secret_is_hidden_even_where_the_message_is_cut() -> None:
    message = "x" * (MESSAGE_MAX - 5) + "my-secret-key"
    answer = read_submit(400, {}, body(400, None, message), hide=("my-secret-key", ""))
    assert answer == Rejected("x" * (MESSAGE_MAX - 5) + "[hidd")
    for status, code in ((500, 500), (200, 200), (502, 502)):
        assert "my-secret" not in repr(read_submit(status, {}, body(code, None, "my-secret-key"), hide=("my-secret-key",)))
    assert "my-secret" not in repr(read_status(500, {}, body(500, None, "my-secret-key"), "task-1", hide=("my-secret-key",)))


# Retry-After


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7),
        ({"retry-after": " 0 "}, 0),
        ({"retry-after": "3601"}, 3600),
        ({"retry-after": "9" * 5000}, 3600),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "１"}, None),
        ({"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT", "date": "Fri, 31 Dec 1999 23:59:29 GMT"}, 30),
        ({"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT", "Date": "Fri, 31 Dec 1999 20:00:00 GMT"}, 3600),
        ({"retry-after": "Fri, 31 Dec 1999 23:00:00 GMT", "date": "Fri, 31 Dec 1999 23:59:29 GMT"}, 0),
        ({"retry-after": "Fri, 31 Dec 1999 23:00:00 GMT"}, None),
        ({"retry-after": "Fri, 31 Dec 1999 23:00:00 GMT", "date": "x"}, None),
        ({"retry-after": "Fri, 31 Dec 99999 23:00:00 GMT", "date": "Fri, 31 Dec 1999 23:59:29 GMT"}, None),
    ],
)
def test_retry_after_is_understood_and_bounded(headers: dict[str, str], seconds: int | None) -> None:
    wait = None if seconds is None else timedelta(seconds=seconds)
    for status, raw in ((429, body(429)), (200, body(429)), (500, body(500)), (402, body(402))):
        answer = read_submit(status, headers, raw)
        assert isinstance(answer, Refused)
        assert answer.retry_after == wait
    for status, raw in ((429, HTML), (503, HTML), (503, body(503)), (200, body(429))):
        reading = read_status(status, headers, raw, "task-1")
        assert isinstance(reading, NoAnswer)
        assert reading.retry_after == wait
    assert read_status(500, headers, body(500), "task-1") == NoAnswer("HTTP 500, code 500: success")


# A check


def task(**fields: Any) -> dict[str, Any]:
    return {
        "task_id": "t1",
        "status": "IN_PROGRESS",
        "consumed_credits": 5,
        "error_message": None,
        "created_at": "2024-12-19T10:00:00Z",
        "request": {},
        "response": None,
    } | fields


def reading(**fields: Any) -> Reading:
    return read_status(200, {}, body(200, task(**fields)), "t1")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, StillGoing("IN_PROGRESS")),
        ({"status": "PENDING"}, StillGoing("PENDING")),
        ({"status": " in_progress\n"}, StillGoing("IN_PROGRESS")),
        ({"status": "Queued"}, StillGoing("Queued")),
        ({"status": "x" * 99}, StillGoing("x" * 40)),
        ({"status": "SUCCESS", "response": [PICTURE]}, Succeeded((PICTURE,), 5)),
        ({"status": "success ", "response": [PICTURE]}, Succeeded((PICTURE,), 5)),
        ({"status": "SUCCESS"}, StillGoing("SUCCESS", credits=5)),
        ({"status": "FAILED", "consumed_credits": 0, "error_message": "policy"}, TaskFailed("policy", 0)),
        ({"status": "failed", "error_message": None}, TaskFailed("", 5)),
        ({"status": "FAILED", "error_message": {"a": [1]}}, TaskFailed('{"a": [1]}', 5)),
        ({"status": "FAILED", "error_message": "x\0\ud800" + "y" * 2000}, TaskFailed("x\ufffd" + "y" * 998, 5)),
        ({"status": "FAILED", "response": [PICTURE]}, TaskFailed("", 5)),
        ({"task_id": None}, StillGoing("IN_PROGRESS")),
        ({"task_id": " t1 "}, StillGoing("IN_PROGRESS")),
        ({"task_id": "t2"}, NoAnswer("answered for another task")),
        ({"task_id": "T1"}, NoAnswer("answered for another task")),
        ({"task_id": {}}, NoAnswer("answered for another task")),
        ({"status": None}, NoAnswer("the answer shows no status")),
        ({"status": 3}, NoAnswer("the answer shows no status")),
        ({"status": " \0 "}, NoAnswer("the answer shows no status")),
        ({"unknown": [{}]}, StillGoing("IN_PROGRESS")),
    ],
)
def test_a_task_is_read(fields: dict[str, Any], expected: Reading) -> None:
    assert reading(**fields) == expected


@pytest.mark.parametrize("data", [None, [], "x", 5, True, [task()]])
def test_an_envelope_without_a_task_says_nothing(data: Any) -> None:
    assert read_status(200, {}, body(200, data), "t1") == NoAnswer("the answer shows no status")


def test_a_task_packed_as_text_is_read() -> None:
    assert read_status(200, {}, body("200", json.dumps(task())), "t1") == StillGoing("IN_PROGRESS")


@pytest.mark.parametrize(
    ("response", "images"),
    [
        ([PICTURE], 1),
        (PICTURE, 1),
        (f" {PICTURE} ", 1),
        (json.dumps([PICTURE, PICTURE]), 2),
        (json.dumps([{"url": PICTURE}]), 1),
        (json.dumps(PICTURE), 1),
        ({"url": PICTURE}, 1),
        ([{"url": PICTURE, "seed": 1}, PICTURE], 2),
        ([PICTURE] * 40, IMAGES_MAX),
        (["HTTPS://CDN.example/a"], 1),
        (["http://cdn.example/图.png?a=1"], 1),
        ([None, 5, {}, [], {"url": None}, PICTURE], 1),
        (["https://h/" + "a" * (URL_MAX - 10)], 1),
        (["https://h/" + "a" * (URL_MAX - 9)], 0),
        (["ftp://h/a", "javascript:alert(1)", "data:image/png;base64,AA", "file:///etc/passwd", "//h/a", "h/a"], 0),
        (["https://", "https:///a", "http://[", "https://h/a b", "https://h/\0", "https://h/\ud800", "https://h/\na"], 0),
        ([], 0),
        ("", 0),
        ("[", 0),
        ("[" * 50_000, 0),
        ("null", 0),
        (None, 0),
        (5, 0),
        (True, 0),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_only_addresses_of_pictures_are_kept(response: Any, images: int) -> None:
    answer = reading(status="SUCCESS", response=response)
    if images:
        assert isinstance(answer, Succeeded)
        assert len(answer.images) == images
    else:
        assert answer == StillGoing("SUCCESS", credits=5)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (5, 5),
        (0, 0),
        ("5", 5),
        (5.0, 5),
        ("5.0", 5),
        (-1, None),
        ("-5", None),
        (5.5, None),
        ("five", None),
        (True, None),
        (None, None),
        ([], None),
        (float("nan"), None),
        (float("inf"), None),
        (1e300, None),
        (10**6, 10**6),
        (10**6 + 1, None),
        (10**90, None),
        ("9" * 5000, None),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_credits_are_a_small_whole_number_or_unknown(told: Any, expected: int | None) -> None:
    assert reading(status="SUCCESS", response=[PICTURE], consumed_credits=told) == Succeeded((PICTURE,), expected)
    assert reading(status="FAILED", consumed_credits=told) == TaskFailed("", expected)


def test_missing_credits_are_unknown() -> None:
    data = {"status": "FAILED"}
    assert read_status(200, {}, body(200, data), "t1") == TaskFailed("", None)


ECHO = {"prompt": "山", "callback_url": "https://g.example/c/1"}


@pytest.mark.parametrize("request_", [ECHO, json.dumps(ECHO), {**ECHO, "size": []}])
def test_the_echo_of_our_request_is_kept(request_: Any) -> None:
    echo = ("https://g.example/c/1", "山")
    assert reading(request=request_) == StillGoing("IN_PROGRESS", *echo)
    assert reading(status="SUCCESS", request=request_) == StillGoing("SUCCESS", *echo, 5)
    assert reading(status="SUCCESS", request=request_, response=[PICTURE]) == Succeeded((PICTURE,), 5, *echo)
    assert reading(status="FAILED", request=request_) == TaskFailed("", 5, *echo)


@pytest.mark.parametrize("request_", [None, [], "x", "{", "{" * 9, {"prompt": 5, "callback_url": None}, 7])
def test_an_echo_that_is_not_there_is_none(request_: Any) -> None:
    assert reading(request=request_) == StillGoing("IN_PROGRESS")


def test_an_echo_is_bounded_and_clean() -> None:
    answer = reading(request={"prompt": "\0\ud800" + "x" * 9000})
    assert answer == StillGoing("IN_PROGRESS", None, "\ufffd" + "x" * (ECHO_MAX - 1))


def test_a_failure_does_not_repeat_the_callback_address() -> None:
    answer = reading(status="FAILED", request=ECHO, error_message="cannot call https://g.example/c/1")
    assert isinstance(answer, TaskFailed)
    assert answer.message == "cannot call [hidden]"


@pytest.mark.parametrize(
    ("status", "raw", "expected"),
    [
        (404, body(404), NotFound),
        (200, body(404), NotFound),
        (200, body("404"), NotFound),
        (404, body(40401), NotFound),
        (404, body(200, task()), NoAnswer),
        (404, body(500), NoAnswer),
        (500, body(404), NoAnswer),
        (503, body(404), NoAnswer),
        (302, body(404), NoAnswer),
        (404, HTML, NoAnswer),
        (404, b"", NoAnswer),
        (404, b'{"detail": "Not Found"}', NoAnswer),
        (410, body(410), NoAnswer),
        (200, body(400), NoAnswer),
        (400, body(400), NoAnswer),
        (200, body(0, task()), NoAnswer),
        (500, body(200, task()), NoAnswer),
        (302, body(200, task()), NoAnswer),
        (200, HTML, NoAnswer),
        (200, DEEP, NoAnswer),
        (200, DEEP_LIST, NoAnswer),
        (204, b"", NoAnswer),
        (206, body(200, task()), StillGoing),
    ],
)
def test_a_check_that_failed_is_never_news_of_the_task(status: int, raw: bytes, expected: type) -> None:
    answer = read_status(status, {}, raw, "t1")
    assert type(answer) is expected
    if isinstance(answer, NoAnswer):
        assert not answer.unauthorized


@pytest.mark.parametrize(
    ("status", "raw"), [(401, HTML), (401, b""), (401, body(401)), (200, body(401)), (500, body(401)), (401, body(404))]
)
def test_a_bad_key_is_told_apart(status: int, raw: bytes) -> None:
    answer = read_status(status, {}, raw, "t1")
    assert isinstance(answer, NoAnswer)
    assert answer.unauthorized


# A callback


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (body(200, {"task_id": "n43:a-b_c.D"}), "n43:a-b_c.D"),
        (body(500, {"taskId": "a"}), "a"),
        (body(200, json.dumps({"task_id": "a"})), "a"),
        (b'{"task_id": "a"}', "a"),
        (b'{"taskId": " a "}', "a"),
        (b'{"task_id": 17}', "17"),
        (b'\xef\xbb\xbf{"task_id": "a"}', "a"),
        (b'{"task_id": "a", "x": "\xff\x00"}', "a"),
        (b'{"task_id": "b/d", "taskId": "a"}', "a"),
        (b'{"data": {"x": 1}, "task_id": "a"}', "a"),
        (b'{"n": ' + b"9" * 5000 + b', "task_id": "a"}', "a"),
        (b"task_id=a", "a"),
        (b"status=SUCCESS&taskId=a%3Ab", "a:b"),
        (b"task_id=&task_id=a", "a"),
        (b'{"task_id": "' + b"a" * 200 + b'"}', "a" * 200),
        (b'{"task_id": "' + b"a" * 201 + b'"}', None),
        (b'{"task_id": "a/b"}', None),
        (b'{"task_id": "a b"}', None),
        (b'{"task_id": "\\ud800"}', None),
        (b'{"task_id": "a\\u0000"}', None),
        ('{"task_id": "ａ"}'.encode(), None),
        (b'{"task_id": true}', None),
        (b'{"task_id": null}', None),
        (b'{"task_id": ["a"]}', None),
        (b'{"task_id": ' + b"9" * 5000 + b"}", None),
        (b'[{"task_id": "a"}]', None),
        (b'{"x": "&task_id=a&"}', None),
        (b"task_id=a%2Fb", None),
        (b"&" * 5000 + b"task_id=a", None),
        (b"", None),
        (b"\0", None),
        (b"\xff\xfe\xfd", None),
        (HTML, None),
        (DEEP, None),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_callback_names_its_task_if_it_can_be_read(raw: bytes, expected: str | None) -> None:
    assert read_callback(raw) == expected


# Any bytes


@pytest.mark.parametrize("depth", [10, 100, 300, 450, 480, 500, 900, 960, 980, 990])
@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_nesting_of_any_depth_makes_no_reader_raise(depth: int, brackets: str) -> None:
    nested = "[" * depth + "]" * depth if brackets == "[]" else '{"a":' * depth + "1" + "}" * depth
    for where in ("code", "message", "data", "task_id", "status", "response", "request", "error_message"):
        fields = {"task_id": '"t1"', "status": '"FAILED"', where: nested}
        data = ",".join(f'"{name}":{value}' for name, value in fields.items())
        outer = {"code": "200", "data": "{" + data + "}"} | ({where: nested} if where in ("code", "message", "data") else {})
        raw = ("{" + ",".join(f'"{name}":{value}' for name, value in outer.items()) + "}").encode()
        assert isinstance(read_submit(400, {}, raw), SubmitAnswer)
        assert isinstance(read_status(200, {}, raw, "t1"), Reading)
        read_callback(raw)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([200, 400, 404, 429, "200", "SUCCESS", "FAILED", "t1", PICTURE, "{}", "[", "\ud800", "\0"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["code", "message", "data", "task_id", "taskId", "status", "response", "request", "url", "prompt"])
            | st.text(max_size=5),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)
ENVELOPES = st.fixed_dictionaries({"code": st.sampled_from([200, 404, "200", 5e2]) | JSON, "data": JSON})
BODIES = (
    st.binary()
    | (JSON | ENVELOPES).map(lambda value: json.dumps(value).encode())
    | st.text().map(lambda text: f"task_id={text}".encode("utf-8", "surrogatepass"))
)
HEADERS = st.dictionaries(st.sampled_from(["retry-after", "Date", "DATE", "x"]), st.text() | st.from_regex(r"[0-9]{1,12}"))
STATUSES = st.sampled_from([200, 400, 401, 404, 429, 500, 503]) | st.integers(0, 1000)


@given(STATUSES, HEADERS, BODIES)
def test_no_answer_to_a_submit_makes_its_reader_raise(status: int, headers: dict[str, str], raw: bytes) -> None:
    answer = read_submit(status, headers, raw, hide=("a",))
    assert isinstance(answer, SubmitAnswer)
    repr(answer).encode()
    if isinstance(answer, Accepted):
        assert 0 < len(answer.task_id) <= 200


@given(STATUSES, HEADERS, BODIES)
def test_no_answer_to_a_check_makes_its_reader_raise(status: int, headers: dict[str, str], raw: bytes) -> None:
    answer = read_status(status, headers, raw, "t1", hide=("a",))
    assert isinstance(answer, Reading)
    if isinstance(answer, Succeeded):
        assert 0 < len(answer.images) <= IMAGES_MAX
    if isinstance(answer, Succeeded | TaskFailed):
        assert answer.credits is None or answer.credits >= 0
    if isinstance(answer, TaskFailed):
        assert "\0" not in answer.message
        answer.message.encode()


@given(BODIES)
def test_no_callback_makes_its_reader_raise(raw: bytes) -> None:
    task_id = read_callback(raw)
    assert task_id is None or (0 < len(task_id) <= 200 and task_id.isascii())
