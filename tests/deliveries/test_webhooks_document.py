"""docs/webhooks.md, taken at its word: its code is run by the languages it is written in, its tables are those of the code.

Needs `node`, `bash` and `openssl`; without them these tests fail, because then nobody has run that code.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.deliveries.signing import TOLERANCE, sign
from app.lifecycle.delivery import JITTER, PAUSES

PAGE = (Path(__file__).parents[2] / "docs/webhooks.md").read_text()
PLAIN_PYTHON, LIBRARY_PYTHON, JAVASCRIPT, SHELL = re.findall(
    r"<!-- A test runs this block\. -->\n```[a-z]+\n(.*?)```", PAGE, re.DOTALL
)
Verifier = Callable[[str, Mapping[str, str], bytes, Path], bool]

SECRET, OTHER, FOREIGN = ("whsec_" + base64.b64encode(letter * 32).decode() for letter in (b"a", b"b", b"\xff"))
BODY = '{"type":"job.succeeded","data":{"prompt":"Grüße, $(date) `id` %s \\\\"}}\n\n'.encode()

PYTHON_TAIL = """
import json, sys
case = json.load(open("case.json"))
print(is_genuine(case["secret"], case["headers"], open("body", "rb").read()))
"""
JAVASCRIPT_TAIL = """
const fs = require("node:fs");
const { secret, headers } = JSON.parse(fs.readFileSync("case.json"));
console.log(isGenuine(secret, headers, fs.readFileSync("body")) ? "True" : "False");
"""
SHELL_TAIL = """
if is_genuine "$@" body; then echo True; else echo False; fi
"""


def run(command: list[str], secret: str, headers: Mapping[str, str], body: bytes, folder: Path) -> bool:
    """What the code says of this delivery. Anything but a plain yes or no fails the test."""
    (folder / "case.json").write_text(json.dumps({"secret": secret, "headers": dict(headers)}))
    (folder / "body").write_bytes(body)
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout in ("True\n", "False\n"), ended.stdout + ended.stderr
    return ended.stdout == "True\n"


def plain_python(secret: str, headers: Mapping[str, str], body: bytes, folder: Path) -> bool:
    return run([sys.executable, "-I", "-c", PLAIN_PYTHON + PYTHON_TAIL], secret, headers, body, folder)


def library_python(secret: str, headers: Mapping[str, str], body: bytes, folder: Path) -> bool:
    return run([sys.executable, "-I", "-c", LIBRARY_PYTHON + PYTHON_TAIL], secret, headers, body, folder)


def javascript(secret: str, headers: Mapping[str, str], body: bytes, folder: Path) -> bool:
    return run(["node", "-e", JAVASCRIPT + JAVASCRIPT_TAIL], secret, headers, body, folder)


def shell(secret: str, headers: Mapping[str, str], body: bytes, folder: Path) -> bool:
    said = [headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature")]
    return run(["bash", "-c", SHELL + SHELL_TAIL, "bash", secret, *said], secret, headers, body, folder)


@pytest.fixture(params=[plain_python, library_python, javascript, shell], ids=lambda verifier: verifier.__name__)
def verifier(request: pytest.FixtureRequest) -> Verifier:
    found: Verifier = request.param
    return found


def signed(*secrets: str, age: timedelta = timedelta(0)) -> dict[str, str]:
    return sign(secrets or (SECRET,), "msg_1", datetime.now(UTC) - age, BODY)


def test_a_good_delivery_is_accepted(verifier: Verifier, tmp_path: Path) -> None:
    assert verifier(SECRET, signed(), BODY, tmp_path)


@pytest.mark.parametrize("known", [SECRET, OTHER], ids=["new", "old"])
def test_while_the_secret_rotates_either_one_is_enough(verifier: Verifier, known: str, tmp_path: Path) -> None:
    assert verifier(known, signed(SECRET, OTHER), BODY, tmp_path)


@pytest.mark.parametrize("forged", [BODY.replace(b"succeeded", b"failed"), BODY[:-1], BODY + b"\n", b""])
def test_a_forged_body_is_refused(verifier: Verifier, forged: bytes, tmp_path: Path) -> None:
    assert not verifier(SECRET, signed(), forged, tmp_path)


@pytest.mark.parametrize("age", [timedelta(minutes=10), timedelta(minutes=-10)], ids=["old", "of the future"])
def test_a_timestamp_of_another_hour_is_refused(verifier: Verifier, age: timedelta, tmp_path: Path) -> None:
    assert not verifier(SECRET, signed(age=age), BODY, tmp_path)


def test_a_timestamp_of_four_minutes_ago_is_accepted(verifier: Verifier, tmp_path: Path) -> None:
    assert verifier(SECRET, signed(age=timedelta(minutes=4)), BODY, tmp_path)


def test_an_old_delivery_with_a_fresh_timestamp_is_refused(verifier: Verifier, tmp_path: Path) -> None:
    fresh = {"webhook-timestamp": signed()["webhook-timestamp"]}
    assert not verifier(SECRET, signed(age=timedelta(minutes=10)) | fresh, BODY, tmp_path)


def test_a_wrong_secret_is_refused(verifier: Verifier, tmp_path: Path) -> None:
    assert not verifier(FOREIGN, signed(), BODY, tmp_path)


@pytest.mark.parametrize("signature", ["", "v1,", "v1, v1,", "*", "v1,*", "x"])
def test_a_signature_that_is_none_is_refused(verifier: Verifier, signature: str, tmp_path: Path) -> None:
    assert not verifier(SECRET, signed() | {"webhook-signature": signature}, BODY, tmp_path)


@pytest.mark.parametrize("timestamp", ["", "soon", "0+x[$(touch${IFS}pwned)]", "-1", "9" * 40])
def test_a_timestamp_that_is_none_is_refused(verifier: Verifier, timestamp: str, tmp_path: Path) -> None:
    """Not even when the signature fits."""
    headers = signed() | {"webhook-timestamp": timestamp}
    assert not verifier(SECRET, headers | {"webhook-signature": signature_with(b"a" * 32, headers)}, BODY, tmp_path)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("secret", ["", "whsec_"])
def test_a_secret_that_somebody_forgot_to_set_opens_no_door(verifier: Verifier, secret: str, tmp_path: Path) -> None:
    """Signed by a stranger with the empty key, which is all that an empty secret would ask for."""
    headers = signed()
    assert not verifier(secret, headers | {"webhook-signature": signature_with(b"", headers)}, BODY, tmp_path)


def test_the_page_tells_the_schedule_and_the_window_as_they_are() -> None:
    told = re.findall(r"^\| (\d) \| (at once|\d+ (?:s|min|h)) \|$", PAGE, re.MULTILINE)
    assert [int(attempt) for attempt, _ in told] == list(range(1, len(PAUSES) + 2))
    assert [seconds(pause) for _, pause in told[1:]] == [pause.total_seconds() for pause in PAUSES]
    assert f"up to {JITTER:.0%}".replace("%", " %") in PAGE
    assert timedelta(minutes=5) == TOLERANCE


def seconds(words: str) -> int:
    number, unit = words.split()
    return int(number) * {"s": 1, "min": 60, "h": 3600}[unit]


def signature_with(key: bytes, headers: Mapping[str, str]) -> str:
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + BODY
    return "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
