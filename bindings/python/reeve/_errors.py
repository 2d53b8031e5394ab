"""The tree of errors: one class for each code of the core, and what the package adds.

``Error`` is the root. Where Python has a class that people already catch, the error is one of
those too: bad values are ``ValueError``, network failures ``ConnectionError``, and so on.
"""

from __future__ import annotations

import builtins


class Error(Exception):
    """Anything that reeve reports. ``slug`` is stable and fit for logs and scripts."""

    slug = "error"
    #: True when the same call may succeed later.
    transient = False

    @property
    def message(self) -> str:
        """The text alone."""
        return str(self)


class UsageError(Error):
    """The library is used wrongly; the calling code must change."""

    slug = "usage"


class InvalidError(UsageError, ValueError):
    """A value is out of its bounds or malformed; the message names both."""

    slug = "invalid"


class TooBigError(InvalidError):
    """A value exceeds its size bound."""

    slug = "too-big"


class UnsupportedError(UsageError):
    """This broker or this build cannot do that."""

    slug = "unsupported"


class StateError(UsageError):
    """Not possible in the object's present state."""

    slug = "state"


class OutOfMemory(Error, MemoryError):
    """The core ran out of memory."""

    slug = "no-memory"


class ForkedError(Error):
    """The object was made before a fork and cannot be used after it."""

    slug = "forked"


class SystemFailure(Error):
    """The operating system refused something."""

    slug = "system"


class NetworkError(Error, ConnectionError):
    """The broker cannot be reached, or the connection broke. The outcome may be unknown."""

    slug = "network"
    transient = True


class TimeoutError(Error, builtins.TimeoutError):
    """The broker did not answer in time. The outcome is unknown."""

    slug = "timeout"
    transient = True


class BusyError(Error):
    """The server or the file is busy; try again."""

    slug = "busy"
    transient = True


class AuthError(Error):
    """The server refused the credentials."""

    slug = "auth"


class TLSError(Error):
    """TLS could not be established or verified."""

    slug = "tls"


class ServerError(Error):
    """The server refused the command."""

    slug = "server"


class UnsafeServerError(ServerError):
    """The server is set up in a way that loses data."""

    slug = "unsafe"


class TaskExists(Error):
    """A task with this id is stored already."""

    slug = "exists"


class NotFound(Error, LookupError):
    """There is no such task, queue or result."""

    slug = "not-found"


class LeaseLost(Error):
    """The lease is no longer ours; another worker has the task."""

    slug = "lease-lost"


class CorruptData(Error):
    """Stored data cannot be read."""

    slug = "corrupt"


class Cancelled(Error):
    """Cancelled on request."""

    slug = "cancelled"


class Stopped(Error):
    """Stopped on request."""

    slug = "stopped"


class NotDone(StateError):
    """The job has not finished, so it has no result yet."""

    slug = "not-done"


class PayloadMismatch(Error):
    """A stored payload does not fit the task's signature."""

    slug = "payload-mismatch"


class EncodeError(Error, TypeError, ValueError):
    """An argument has no JSON form; nothing was stored."""

    slug = "encode"


BY_SLUG: dict[str, type[Error]] = {
    cls.slug: cls
    for cls in (
        UsageError,
        InvalidError,
        TooBigError,
        UnsupportedError,
        StateError,
        OutOfMemory,
        ForkedError,
        SystemFailure,
        NetworkError,
        TimeoutError,
        BusyError,
        AuthError,
        TLSError,
        ServerError,
        UnsafeServerError,
        TaskExists,
        NotFound,
        LeaseLost,
        CorruptData,
        Cancelled,
        Stopped,
    )
}
