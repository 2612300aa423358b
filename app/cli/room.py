"""For how many connections a process has descriptors."""

from __future__ import annotations

import resource

import structlog

log = structlog.get_logger(__name__)

OTHER_DESCRIPTORS = 600  #: for 503s, and for what a process opens itself: to the database, upstream, receivers, stores; files


def room(connections: int, *, at_least: int) -> int:
    """As many connections as this process may have descriptors for, once it has asked for more.

    Args:
        connections: the most that are wanted.
        at_least: the least that it is run with, however few descriptors it may have.
    """
    wanted = connections + OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY != soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    short = 0 if soft == resource.RLIM_INFINITY else max(wanted - soft, 0)
    if short:
        log.warning("few descriptors are allowed to this process (ulimit -n)", allowed=soft, connections=connections - short)
    return max(connections - short, at_least)
