"""Secrets at rest, their keys, and the change of keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.vault import NoKeyFitsError, Vault, make_key

OLD, NEW, FOREIGN = (letter * 40 for letter in "abc")
#: SECRET under NEW, as the first version encrypted it.
STORED = (
    b"gAAAAABrA0ulXtdgiFVkDGHP0zos2z5k3XlIw2gKxiUHgvwAo1W1THTEMuKxXncexE4CjA7ZKQ2fD6l9ADW-GFfg3R"
    b"BCRDuUM7FZHowz1GoGkWyBm9a4-dvURpxU2iFjTScpwDQeIYSQ"
)
SECRET = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def vault(*keys: str) -> Vault:
    return Vault.from_setting(",".join(keys))


@given(st.binary(max_size=200))
def test_what_was_encrypted_can_be_read_again(secret: bytes) -> None:
    assert vault(NEW).decrypt(vault(NEW).encrypt(secret)) == secret


def test_what_is_stored_does_not_show_the_secret_and_is_never_twice_the_same() -> None:
    first, second = vault(NEW).encrypt(SECRET), vault(NEW).encrypt(SECRET)
    assert SECRET not in first
    assert first != second
    assert first.isascii()


def test_an_older_key_still_opens_and_says_what_must_be_encrypted_anew() -> None:
    stored = vault(OLD).encrypt(SECRET)
    both = vault(NEW, OLD)
    assert both.decrypt(stored) == SECRET
    assert both.needs_reencryption(stored)


def test_what_was_encrypted_anew_outlives_the_older_key() -> None:
    both = vault(NEW, OLD)
    stored = both.encrypt(both.decrypt(vault(OLD).encrypt(SECRET)))
    assert not both.needs_reencryption(stored)
    assert vault(NEW).decrypt(stored) == SECRET


def test_the_older_key_alone_does_not_open_what_the_current_one_encrypted() -> None:
    with pytest.raises(NoKeyFitsError):
        vault(OLD).decrypt(vault(NEW, OLD).encrypt(SECRET))


def test_a_foreign_key_opens_nothing_and_the_error_names_the_setting_and_no_secret() -> None:
    stored = vault(FOREIGN).encrypt(SECRET)
    for ask in (vault(NEW, OLD).decrypt, vault(NEW, OLD).needs_reencryption):
        with pytest.raises(NoKeyFitsError, match="GATEWAY_SECRET_KEY") as raised:
            ask(stored)
        assert NEW not in str(raised.value)
        assert stored.decode() not in str(raised.value)


def test_a_change_of_any_byte_is_noticed() -> None:
    stored = vault(NEW).encrypt(SECRET)
    for place in range(len(stored.rstrip(b"="))):
        changed = bytearray(stored)
        changed[place] = ord("A") if stored[place] != ord("A") else ord("Q")
        with pytest.raises(NoKeyFitsError):
            vault(NEW).decrypt(bytes(changed))


@given(st.binary(max_size=200))
def test_what_was_never_encrypted_is_refused_by_that_one_error(stored: bytes) -> None:
    with pytest.raises(NoKeyFitsError):
        vault(NEW).decrypt(stored)


def test_a_derived_key_belongs_to_its_purpose_and_the_current_key_comes_first() -> None:
    links, sessions = vault(NEW, OLD).derive("links"), vault(NEW, OLD).derive("sessions")
    assert [len(key) for key in links] == [32, 32]
    assert len({*links, *sessions}) == 4
    assert links == (*vault(NEW).derive("links"), *vault(OLD).derive("links"))


def test_derived_keys_are_the_same_in_every_version() -> None:
    [key] = vault(NEW).derive("links")
    assert key.hex() == "03fc521502e3baabf06e3cdcc9030d3909c46db789deb56a9c7da4288112d528"


def test_what_an_earlier_version_stored_can_still_be_read() -> None:
    assert vault(NEW).decrypt(STORED) == SECRET


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("", "use 32 to 500"),
        ("k" * 31, "use 32 to 500"),
        ("k" * 501, "use 32 to 500"),
        (f"{NEW},", "key 2 of 2: "),
        (f"{NEW},{OLD[:31]},{OLD}", "key 2 of 3: "),
        (f"{NEW} {OLD}", "use 32 to 500"),
        (f"{NEW}\n{OLD}", "use 32 to 500"),
        ("ö" * 32, "use 32 to 500"),
        (f"{NEW}\x00", "use 32 to 500"),
    ],
)
def test_a_key_that_is_none_is_refused_in_one_line_that_does_not_repeat_it(setting: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as raised:
        Vault.from_setting(setting)
    message = str(raised.value)
    assert "\n" not in message
    assert not any(key in message for key in setting.replace(",", " ").split())


def test_spaces_around_the_keys_do_not_count() -> None:
    assert Vault.from_setting(f" {NEW} , {OLD}\n").derive("links") == vault(NEW, OLD).derive("links")


def test_keys_of_32_and_of_500_characters_are_taken() -> None:
    assert len(vault("k" * 32, "k" * 500).derive("links")) == 2


def test_a_made_key_is_taken_and_is_never_made_twice() -> None:
    made = {make_key() for _ in range(20)}
    assert len(made) == 20
    assert all(len(vault(key).derive("links")) == 1 for key in made)


def test_a_vault_does_not_show_its_keys() -> None:
    assert NEW not in repr(vault(NEW))
