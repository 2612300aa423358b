"""What a call to a stranger's address may end in, named by what the one who called can do.

OutboundError
├── ForbiddenAddressError   we do not call this address; the same again will be refused again
├── UnreachableError        no answer, or not in time; try again later
├── UnreadableError         something answered, but nothing that we accept; try again later
└── TooLargeError           the answer is longer than allowed; the same again will be too

The messages may be shown to whoever named the address: none of them tells where a host name leads.
"""

from __future__ import annotations

from app.errors import GatewayError


class OutboundError(GatewayError):
    """The call was not made, or brought nothing usable."""


class ForbiddenAddressError(OutboundError):
    """This address is not one that the gateway calls."""


class UnreachableError(OutboundError):
    """No answer came, or not in time."""


class UnreadableError(OutboundError):
    """Something answered, but nothing that we accept."""


class TooLargeError(OutboundError):
    """The answer is longer than allowed."""
