"""The keys, and the credits each has left and has consumed: the books by which the gateway is judged."""

from collections.abc import Mapping
from dataclasses import dataclass

#: Price of one generation, in credits (the document's price list).
PRICE = 5

_SCHEME = "Bearer "


class UnknownKey(KeyError):
    """No such key was ever issued."""


@dataclass(slots=True)
class Purse:
    """One key's credits."""

    credits_left: int
    #: Charged and not refunded, over the key's whole life.
    consumed: int = 0
    #: False once the key was withdrawn; its books stay.
    valid: bool = True


class Ledger:
    """Every key's purse."""

    def __init__(self, keys: Mapping[str, int]) -> None:
        self._purses = {key: Purse(amount) for key, amount in keys.items()}

    def key_of(self, authorization: str | None) -> str | None:
        """The valid key an ``Authorization: Bearer …`` header carries, or ``None``."""
        if authorization is None or not authorization.startswith(_SCHEME):
            return None
        key = authorization.removeprefix(_SCHEME)
        purse = self._purses.get(key)
        return key if purse is not None and purse.valid else None

    def charge(self, key: str) -> bool:
        """Take one generation's price; False, and nothing taken, when there is too little."""
        purse = self._purses[key]
        if purse.credits_left < PRICE:
            return False
        purse.credits_left -= PRICE
        purse.consumed += PRICE
        return True

    def refund(self, key: str) -> None:
        """Give one generation's price back."""
        purse = self._purses[key]
        purse.credits_left += PRICE
        purse.consumed -= PRICE

    def issue(self, key: str, credits_left: int) -> None:
        """Make a key valid with so many credits left; what it consumed earlier stays in its books."""
        purse = self._purses.setdefault(key, Purse(0))
        purse.credits_left, purse.valid = credits_left, True

    def withdraw(self, key: str) -> None:
        """Make a key invalid: requests with it are answered 401. Raises ``UnknownKey``."""
        self._purse(key).valid = False

    def set_credits(self, key: str, credits_left: int) -> None:
        """Set the credits a key has left. Raises ``UnknownKey``."""
        self._purse(key).credits_left = credits_left

    def describe(self) -> dict[str, object]:
        """Every key's books, withdrawn keys included."""
        return {
            key: {"credits_left": purse.credits_left, "consumed": purse.consumed, "valid": purse.valid}
            for key, purse in self._purses.items()
        }

    def _purse(self, key: str) -> Purse:
        try:
            return self._purses[key]
        except KeyError:
            raise UnknownKey(key) from None
