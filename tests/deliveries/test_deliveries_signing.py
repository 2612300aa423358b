"""Signatures: the published vectors, the reference library as the judge, and what must be refused."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from app.deliveries.signing import TOLERANCE, UnverifiedDeliveryError, sign, verify
from app.lifecycle.signing_secret import new_secret, secret_bytes

NOW = datetime(2026, 11, 5, 12, 0, tzinfo=UTC)
BODY = '{"type":"job.succeeded","data":{"prompt":"Grüße aus Köln"}}'.encode()
OLD, NEW, FOREIGN = ("whsec_" + base64.b64encode(letter * 32).decode() for letter in (b"a", b"b", b"c"))
SECOND = timedelta(seconds=1)

#: Standard Webhooks, libraries/python/tests/test_webhooks.py and libraries/rust/src/lib.rs.
VECTORS = [
    (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ),
    (
        "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
        1649367553,
        b'{"email":"test@example.com","username":"test_user"}',
        "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
    ),
]


def signed(*secrets: str, body: bytes = BODY, at: datetime = NOW) -> dict[str, str]:
    return sign(secrets or (NEW,), "msg_1", at, body)


@pytest.mark.parametrize(("secret", "webhook_id", "seconds", "body", "signature"), VECTORS)
def test_the_published_vectors_are_signed_and_verified(
    secret: str, webhook_id: str, seconds: int, body: bytes, signature: str
) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    headers = {"webhook-id": webhook_id, "webhook-timestamp": str(seconds), "webhook-signature": signature}
    assert sign([secret], webhook_id, at, body) == headers
    assert verify([secret], headers, body, now=at) == webhook_id


@given(st.text(max_size=200), st.binary(min_size=24, max_size=64))
def test_the_reference_library_verifies_what_is_signed(body: str, key: bytes) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    headers = sign([secret], "msg_1", datetime.now(UTC), body.encode())
    Webhook(secret).verify(body.encode(), headers, json_parse=False)


def test_while_a_secret_rotates_the_reference_library_verifies_with_either() -> None:
    headers = sign([NEW, OLD], "msg_1", datetime.now(UTC), BODY)
    assert headers["webhook-signature"].count("v1,") == 2
    for secret in (NEW, OLD):
        assert Webhook(secret).verify(BODY, headers)["type"] == "job.succeeded"


def test_the_hour_of_another_time_zone_is_the_same_instant() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=9)))
    assert signed(at=elsewhere) == signed(at=NOW)


def test_a_part_of_a_second_does_not_count() -> None:
    assert signed(at=NOW + timedelta(microseconds=999_999)) == signed(at=NOW)
    assert signed()["webhook-timestamp"] == str(int(NOW.timestamp()))


def test_every_attempt_keeps_the_id_and_has_a_signature_of_its_own() -> None:
    first, second = signed(at=NOW), signed(at=NOW + SECOND)
    assert first["webhook-id"] == second["webhook-id"]
    assert first["webhook-signature"] != second["webhook-signature"]


@pytest.mark.parametrize("known", [(NEW,), (OLD,), (OLD, NEW), (FOREIGN, NEW)])
def test_one_common_secret_is_enough(known: tuple[str, ...]) -> None:
    assert verify(known, signed(NEW, OLD), BODY, now=NOW) == "msg_1"


def test_names_of_headers_may_have_any_case() -> None:
    shouted = {name.upper(): value for name, value in signed().items()}
    assert verify([NEW], shouted, BODY, now=NOW) == "msg_1"


def test_a_signature_that_cannot_be_read_does_not_hide_a_good_one() -> None:
    headers = signed()
    good = headers["webhook-signature"]
    for strange in ("v1", "v1,a,b", "v1a,AAAA", ",", "v2," + good[3:], "v1,ä", "\ud800", ""):
        assert verify([NEW], headers | {"webhook-signature": f"{strange} {good}"}, BODY, now=NOW) == "msg_1"


@pytest.mark.parametrize("away", [TOLERANCE, -TOLERANCE])
def test_the_clocks_may_be_five_minutes_apart_and_no_more(away: timedelta) -> None:
    assert verify([NEW], signed(), BODY, now=NOW + away) == "msg_1"
    with pytest.raises(UnverifiedDeliveryError, match="too far from now"):
        verify([NEW], signed(), BODY, now=NOW + away + (SECOND if away > timedelta(0) else -SECOND))


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-id": "msg_2"},
        {"webhook-id": ""},
        {"webhook-id": "msg.1"},
        {"webhook-id": "msg_1\n"},
        {"webhook-timestamp": str(int(NOW.timestamp()) + 1)},
        {"webhook-timestamp": f"{NOW.timestamp()}"},
        {"webhook-timestamp": f"0{int(NOW.timestamp())}"},
        {"webhook-timestamp": "١٦١٤٢٦٥٣٣٠"},
        {"webhook-timestamp": "9" * 5000},
        {"webhook-timestamp": "nan"},
        {"webhook-timestamp": ""},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1," + "A" * 43 + "="},
        {"webhook-signature": signed(FOREIGN)["webhook-signature"]},
        {"webhook-signature": signed()["webhook-signature"].removeprefix("v1,")},
        {"webhook-signature": signed()["webhook-signature"].replace("v1,", "v1a,")},
        {"webhook-signature": signed()["webhook-signature"][:-4]},
    ],
)
def test_a_changed_header_is_refused(changed: dict[str, str]) -> None:
    with pytest.raises(UnverifiedDeliveryError):
        verify([NEW], signed() | changed, BODY, now=NOW)


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_refused(missing: str) -> None:
    headers = {name: value for name, value in signed().items() if name != missing}
    with pytest.raises(UnverifiedDeliveryError):
        verify([NEW], headers, BODY, now=NOW)


@pytest.mark.parametrize("body", [b"", BODY + b" ", BODY[:-1], BODY.replace(b"succeeded", b"failed"), b"\xff" + BODY])
def test_a_changed_body_is_refused(body: bytes) -> None:
    with pytest.raises(UnverifiedDeliveryError):
        verify([NEW], signed(), body, now=NOW)


def test_a_part_of_the_id_cannot_pass_for_the_timestamp() -> None:
    """What is signed is the same text either way; only the dot that an id may not have tells the two apart."""
    seconds = int(NOW.timestamp())
    headers = signed(body=f"{seconds}.{BODY.decode()}".encode(), at=NOW - timedelta(days=1))
    moved = headers | {"webhook-id": f"msg_1.{headers['webhook-timestamp']}", "webhook-timestamp": str(seconds)}
    with pytest.raises(UnverifiedDeliveryError):
        verify([NEW], moved, BODY, now=NOW)


@pytest.mark.parametrize("secrets", [[], [FOREIGN], ["whsec_"], ["no secret"], [NEW.removeprefix("whsec_")]])
def test_without_the_right_secret_nothing_is_genuine(secrets: list[str]) -> None:
    with pytest.raises(UnverifiedDeliveryError) as raised:
        verify(secrets, signed(), BODY, now=NOW)
    assert "no secret" not in str(raised.value)


any_header = st.text(max_size=40) | st.sampled_from(sorted(signed().values())) | st.just("v1,")
header_sets = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("webhook-id", "webhook-timestamp", "webhook-signature", "Webhook-Id", "other"), any_header)
)
surrogates = st.text(st.characters(categories=["Cs", "Nd", "Lu"]), max_size=10)


@given(
    st.lists(st.sampled_from([OLD, FOREIGN, "whsec_", "whsec_=", "whsec_ä", "\ud800"]) | st.text(max_size=20), max_size=3),
    header_sets | st.dictionaries(st.text(max_size=20), surrogates, max_size=4),
    st.binary(max_size=50) | st.just(BODY),
)
@example([OLD], signed() | {"webhook-signature": "\ud800"}, BODY)
def test_whatever_arrives_verify_knows_one_error_only(secrets: list[str], headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(UnverifiedDeliveryError):
        verify(secrets, headers, body, now=NOW)


def test_a_new_secret_holds_32_bytes_of_chance() -> None:
    secrets = {new_secret() for _ in range(20)}
    assert len(secrets) == 20
    assert {len(secret_bytes(secret)) for secret in secrets} == {32}


@pytest.mark.parametrize("size", [24, 64])
def test_secrets_of_24_to_64_bytes_are_taken(size: int) -> None:
    assert secret_bytes("whsec_" + base64.b64encode(b"k" * size).decode()) == b"k" * size


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_" + base64.b64encode(b"k" * 23).decode(),
        "whsec_" + base64.b64encode(b"k" * 65).decode(),
        base64.b64encode(b"k" * 32).decode(),
        "whsk_" + base64.b64encode(b"k" * 32).decode(),
        NEW + "!",
        NEW[:-1],
        NEW + "\n",
        "whsec_" + "ä" * 44,
    ],
)
def test_a_secret_that_is_none_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(ValueError, match="24 to 64 bytes") as raised:
        secret_bytes(secret)
    assert secret.removeprefix("whsec_") == "" or secret not in str(raised.value)
    with pytest.raises(ValueError, match="24 to 64 bytes"):
        signed(secret)


def test_nothing_is_signed_without_a_secret_an_instant_and_a_plain_id() -> None:
    for secrets, webhook_id, at in (
        ([], "msg_1", NOW),
        ([NEW], "msg.1", NOW),
        ([NEW], "", NOW),
        ([NEW], "msg 1", NOW),
        ([NEW], "msg_1", NOW.replace(tzinfo=None)),
    ):
        with pytest.raises(ValueError, match="signing takes"):
            sign(secrets, webhook_id, at, BODY)


def test_a_body_that_is_no_text_is_not_signed() -> None:
    with pytest.raises(ValueError, match="utf-8"):
        signed(body=b"\xff")
