"""Signed links: they open one path until they expire, and nothing else."""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as some

from app.images.signed_link import sign, verify

PATH = "/jobs/0199f0a0-0000-7000-8000-000000000000/images/0"
KEY = b"the current key of this gateway"
OLD_KEY = b"the key before it"
END = datetime(2026, 12, 1, 12, 0, 0, tzinfo=UTC)
NOW = END - timedelta(hours=1)


def parts(query: str) -> tuple[str, str]:
    found = parse_qs(query, strict_parsing=True)
    assert sorted(found) == ["expires", "signature"]
    return found["expires"][0], found["signature"][0]


EXPIRES, SIGNATURE = parts(sign(PATH, END, KEY))


def test_a_link_opens_its_path_until_it_expires() -> None:
    assert verify(PATH, EXPIRES, SIGNATURE, now=NOW, keys=[KEY])
    assert verify(PATH, EXPIRES, SIGNATURE, now=END - timedelta(microseconds=1), keys=[KEY])
    assert not verify(PATH, EXPIRES, SIGNATURE, now=END, keys=[KEY])


def test_a_link_that_was_handed_out_stays_good_in_later_versions() -> None:
    assert sign(PATH, END, KEY) == "expires=1796126400&signature=f8_IBmXCOm26PiqIOBC2Jq51StrFnV2b1wQSFPLyr6A"


def test_an_instant_is_the_same_in_every_time_zone() -> None:
    assert sign(PATH, END.astimezone(timezone(timedelta(hours=5, minutes=30))), KEY) == sign(PATH, END, KEY)


def test_a_link_opens_no_other_path() -> None:
    for other in (PATH[:-1] + "1", PATH + "0", PATH + "/", PATH.upper(), "", PATH + "?thumbnail=1"):
        assert not verify(other, EXPIRES, SIGNATURE, now=NOW, keys=[KEY])


def test_a_link_cannot_be_prolonged() -> None:
    later = str(int(EXPIRES) + 1)
    assert not verify(PATH, later, SIGNATURE, now=NOW, keys=[KEY])
    for spelling in ("0" + EXPIRES, "+" + EXPIRES, EXPIRES + " ", EXPIRES + ".0", EXPIRES + "\n"):
        assert not verify(PATH, spelling, SIGNATURE, now=NOW, keys=[KEY])


def test_every_key_in_the_list_verifies_and_a_removed_one_does_not() -> None:
    old = parts(sign(PATH, END, OLD_KEY))
    assert verify(PATH, *old, now=NOW, keys=[KEY, OLD_KEY])
    assert verify(PATH, EXPIRES, SIGNATURE, now=NOW, keys=[KEY, OLD_KEY])
    assert not verify(PATH, *old, now=NOW, keys=[KEY])
    assert not verify(PATH, *old, now=NOW, keys=[])


def test_what_the_key_signed_for_another_purpose_is_no_link() -> None:
    for signed in (PATH, f"{EXPIRES}\n{PATH}", f"{PATH}\n{EXPIRES}", f"{EXPIRES}.{PATH}"):
        foreign = urlsafe_b64encode(hmac.digest(KEY, signed.encode(), hashlib.sha256)).rstrip(b"=").decode()
        assert not verify(PATH, EXPIRES, foreign, now=NOW, keys=[KEY])


def test_a_line_break_does_not_move_from_the_path_into_the_instant() -> None:
    expires, signature = parts(sign(f"5\n{PATH}", END, KEY))
    assert not verify(PATH, f"{expires}\n5", signature, now=NOW, keys=[KEY])


@given(expires=some.text(max_size=20), signature=some.text(max_size=60))
def test_whatever_is_written_instead_opens_nothing(expires: str, signature: str) -> None:
    assert not verify(PATH, expires, signature, now=NOW, keys=[KEY])
    assert not verify(PATH, EXPIRES, signature, now=NOW, keys=[KEY])
    assert not verify(PATH, expires, SIGNATURE, now=NOW, keys=[KEY]) or expires == EXPIRES


@given(at=some.integers(0, len(SIGNATURE) - 1), character=some.characters())
def test_one_changed_character_opens_nothing(at: int, character: str) -> None:
    changed = SIGNATURE[:at] + character + SIGNATURE[at + 1 :]
    assert verify(PATH, EXPIRES, changed, now=NOW, keys=[KEY]) is (changed == SIGNATURE)


def test_lone_surrogates_are_only_wrong() -> None:
    assert not verify("/jobs/\ud800", "\ud800", "\ud800", now=NOW, keys=[KEY])


@pytest.mark.parametrize("instant", [END.replace(tzinfo=None), datetime(1969, 1, 1, tzinfo=UTC)])
def test_a_link_needs_a_real_end(instant: datetime) -> None:
    with pytest.raises(ValueError, match="aware instant"):
        sign(PATH, instant, KEY)
