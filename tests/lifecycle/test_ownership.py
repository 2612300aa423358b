"""Whether a task that a callback named is ours."""

from __future__ import annotations

import pytest

from app.lifecycle.answers import StillGoing, Succeeded, TaskFailed
from app.lifecycle.ownership import hash_token, is_ours, new_token
from app.lifecycle.request import GenerationRequest

OURS = GenerationRequest("a lighthouse")
TOKEN = "q3J9vXcW0pZ7hR2mT5yK8sL1nB4dF6gAeUiOxCzVbNk"
HASH = hash_token(TOKEN)
URL = f"https://gateway.test/callbacks/{TOKEN}"


def _readings(callback_url: str | None, prompt: str | None) -> list[StillGoing | Succeeded | TaskFailed]:
    return [
        StillGoing("PENDING", callback_url, prompt),
        Succeeded(("https://pictures.test/1.png",), 5, callback_url, prompt),
        TaskFailed("no", 0, callback_url, prompt),
    ]


@pytest.mark.parametrize("reading", _readings(URL, "another prompt"), ids=lambda r: type(r).__name__)
def test_an_echoed_callback_url_with_our_token_decides(reading: StillGoing) -> None:
    assert is_ours(reading, OURS, HASH)


@pytest.mark.parametrize("url", [URL + "x", URL[:-1], "", "https://gateway.test/callbacks/", TOKEN[::-1], "/\ud800"])
def test_an_echoed_callback_url_without_our_token_decides_too(url: str) -> None:
    assert not any(is_ours(reading, OURS, HASH) for reading in _readings(url, OURS.prompt))


def test_without_a_callback_url_the_prompt_must_be_ours() -> None:
    assert all(is_ours(reading, OURS, HASH) for reading in _readings(None, OURS.prompt))
    assert not any(is_ours(reading, OURS, HASH) for reading in _readings(None, "a lighthouse "))


def test_with_nothing_echoed_nothing_is_believed() -> None:
    assert not any(is_ours(reading, OURS, HASH) for reading in _readings(None, None))


def test_tokens_are_unguessable_fit_a_path_and_are_known_by_their_hash() -> None:
    tokens = {new_token() for _ in range(100)}

    assert len(tokens) == 100
    for token, known_as in tokens:
        assert len(token) == 43
        assert token.replace("-", "").replace("_", "").isalnum()
        assert hash_token(token) == known_as
        assert len(known_as) == 32
        assert token.encode() not in known_as
