"""How commands end. Source: the public contract, "Command line"."""

from __future__ import annotations

FAILED = 1
USAGE = 2  #: usage or settings
NOT_FOUND = 3
CONFLICT = 4
OUT_OF_REACH = 5  #: the database, the gateway or the upstream
PIPE_CLOSED = 141  #: nobody reads any more (128 + SIGPIPE), as other programs end of it
