"""The vault: what must be read again later is kept encrypted, with the keys of GATEWAY_SECRET_KEY.

The setting is a comma-separated list. The first key is current: it encrypts, and what is derived from it signs. The others
still open and verify what was made before, so a key is exchanged without a pause: put the new one in front, let everything
be encrypted anew, then take the old one off.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.errors import GatewayError, SettingsError

_SHAPE = re.compile(r"[\x21-\x7e]{32,500}")
_OTHERS = 0o007  #: the group is the deployer's: a volume may be given to one, as Kubernetes does with `fsGroup`


class NoKeyFitsError(GatewayError):
    """No key of GATEWAY_SECRET_KEY opens this secret: it was encrypted with a key that is not listed, or changed since."""


class Vault:
    """Encrypts small secrets for the database (Fernet: AES-128-CBC and HMAC-SHA256), and derives keys for other purposes."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = tuple(key.encode() for key in keys)
        ciphers = [Fernet(base64.urlsafe_b64encode(_derived(key, "encrypt"))) for key in self._keys]
        self._current, self._any = ciphers[0], MultiFernet(ciphers)

    @classmethod
    def from_setting(cls, text: str) -> Vault:
        """The vault of GATEWAY_SECRET_KEY.

        Raises:
            ValueError: a key of the list is too short, too long, or has characters that are lost in a shell; none is repeated.
        """
        keys = [key.strip() for key in text.split(",")]
        for number, key in enumerate(keys, 1):
            if not _SHAPE.fullmatch(key):
                which = f"key {number} of {len(keys)}: " if len(keys) > 1 else ""
                raise ValueError(f"{which}use 32 to 500 visible ASCII characters without a comma (openssl rand -base64 32)")
        return cls(keys)

    def encrypt(self, secret: bytes) -> bytes:
        """The secret, readable with the current key alone. ASCII; never twice the same."""
        return self._current.encrypt(secret)

    def decrypt(self, encrypted: bytes) -> bytes:
        """The secret that `encrypt` was given, by whichever listed key it was.

        Raises:
            NoKeyFitsError: by none of them, or it was changed since.
        """
        try:
            return self._any.decrypt(encrypted)
        except InvalidToken:
            raise NoKeyFitsError from None

    def needs_reencryption(self, encrypted: bytes) -> bool:
        """Whether it would be lost with the older keys: then store `encrypt(decrypt(…))` instead.

        Raises:
            NoKeyFitsError: it is lost already.
        """
        try:
            self._current.decrypt(encrypted)
        except InvalidToken:
            self.decrypt(encrypted)
            return True
        return False

    def derive(self, purpose: str) -> tuple[bytes, ...]:
        """A key of 32 bytes for each listed one, current first: sign with the first, verify with any. No two purposes share."""
        return tuple(_derived(key, f"derive/{purpose}") for key in self._keys)


def make_key() -> str:
    """A new key: 256 bits of chance, 44 characters."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def key_beside(database_path: Path) -> str:
    """The text of `<database>.key`, which is made once; any number of processes that start at the same time get the same.

    Raises:
        SettingsError: it cannot be read or made, holds no key, or everybody on the machine may open it.
    """
    path = database_path.with_name(database_path.name + ".key")
    try:
        if not path.exists():
            _make(path)
        return _read(path)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read or made ({error.strerror}); or set GATEWAY_SECRET_KEY") from None


def _make(path: Path) -> None:
    """Writes the key under another name first: where it bears its own, it is whole and on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.") as draft:  # mode 0600
        draft.write(make_key() + "\n")
        draft.flush()
        os.fsync(draft.fileno())
        try:
            os.link(draft.name, path)
        except FileExistsError:
            return  # another process was first; its key counts
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path) -> str:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & _OTHERS:
            raise SettingsError(f"{path} is open to every user of this machine; say: chmod 600 {path}")
        text = file.read(10_000).decode("ascii", "replace").strip()
    try:
        Vault.from_setting(text)
    except ValueError as error:
        raise SettingsError(f"{path} holds no key: {error}; restore it, or set GATEWAY_SECRET_KEY") from None
    return text


def _derived(key: bytes, purpose: str) -> bytes:
    """HKDF (RFC 5869): 32 bytes that tell nothing of the key, nor of what other purposes get."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"gateway/v1/{purpose}".encode()).derive(key)
