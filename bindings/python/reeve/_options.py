"""Options of tasks and of single enqueues, checked by name, type and bound when they are given."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, TypedDict

from reeve import _core
from reeve._durations import Duration, shown, to_ms, to_unix_ms
from reeve._errors import InvalidError
from reeve._retry import CoreRetry, Retry, retry_of

Executor = Literal["auto", "async", "thread"]

_NAME = re.compile(r"[A-Za-z0-9_\-.:/@+]{1,128}", re.ASCII)


class TaskOptions(TypedDict, total=False):
    """What ``@app.task(...)`` takes."""

    name: str  #: type in the queue; default "module.qualname"
    queue: str  #: default "default"
    priority: int  #: 0 … 9, higher first; default 5
    retry: Retry | int | None  #: policy, or number of retries; None = the default policy
    timeout: Duration | None  #: longest run; None = no limit
    expires: Duration | None  #: not started or retried later than this after the enqueue
    retention: Duration | Literal["forever"] | None  #: keep job and result when done
    lease: Duration | None  #: lease of a claim; None = the worker's
    max_crashes: int | None  #: dead workers before the dead letter; default 3, None = no limit
    executor: Executor  #: "auto": async def on the loop, def in a thread


class EnqueueOptions(TypedDict, total=False):
    """What ``task.using(...)`` takes; each overrides the task's."""

    queue: str
    priority: int
    retry: Retry | int | None
    timeout: Duration | None
    expires: Duration | None
    deadline: datetime  #: not started or retried after this moment
    retention: Duration | Literal["forever"] | None
    lease: Duration | None
    max_crashes: int | None
    delay: Duration  #: start that much later
    at: datetime  #: or at this moment
    id: str  #: the job's id; TaskExists when it is taken
    idempotency_key: str  #: a repeated call with the same key gives the first one's job
    idempotency_ttl: Duration  #: how long that is remembered; default 1 day
    headers: Mapping[str, str]  #: carried beside the arguments


TASK_NAMES = frozenset(TaskOptions.__annotations__)
ENQUEUE_NAMES = frozenset(EnqueueOptions.__annotations__)


def check_names(given: Iterable[str], known: frozenset[str], where: str) -> None:
    """Raises TypeError for an unknown option, with the nearest known one."""
    for name in given:
        if name in known:
            continue
        if name == "tags":
            raise TypeError(f"{where}: tags are not supported; use headers")
        near = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(known))}"
        raise TypeError(f"{where} has no option {name!r}{hint}")


def check_name(value: object, what: str) -> str:
    """A queue name, task name or id. Raises TypeError, InvalidError."""
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a string, not {type(value).__name__}")
    if not _NAME.fullmatch(value):
        shown = value if len(value) <= 140 else value[:137] + "..."
        raise InvalidError(
            f"{what} is {shown!r}; it must be 1 to 128 of the characters A-Z a-z 0-9 _ - . : / @ +"
        )
    return value


def _integer(value: object, what: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{what} must be an integer, not {type(value).__name__}")
    if not low <= value <= high:
        raise InvalidError(f"{what} is {value}; it must be {low} to {high}")
    return value


def _span(options: Mapping[str, Any], name: str) -> int:
    value = options.get(name)
    return 0 if value is None else to_ms(value, name, least_ms=1)


def _priority(options: Mapping[str, Any]) -> int:
    value = options.get("priority")
    if value is None:
        return 0
    level = _integer(value, "priority", 0, 9)
    return _core.PRIORITY_LOWEST if level == 0 else level


def _max_crashes(options: Mapping[str, Any]) -> int:
    if "max_crashes" not in options:
        return 0
    value = options["max_crashes"]
    return _core.NEVER if value is None else _integer(value, "max_crashes", 1, 1_000_000)


def _retention(options: Mapping[str, Any]) -> int:
    value = options.get("retention")
    if value == "forever":
        return _core.NEVER
    return 0 if value is None else to_ms(value, "retention")


def _headers(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping):
        raise TypeError(f"headers must be a mapping, not {type(value).__name__}")
    if len(value) > 64:
        raise InvalidError(f"headers has {len(value)} entries; at most 64")
    for name, text in value.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise TypeError(f"headers must map strings to strings; {name!r} does not")
        if not name:
            raise InvalidError("headers has an empty name")
        _utf8(name, "a header's name")
        _utf8(text, f"header {shown(name)}")
    return tuple(value.items())


def _key(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"idempotency_key must be a string, not {type(value).__name__}")
    if not 1 <= _utf8(value, "idempotency_key") <= 128:
        raise InvalidError(f"idempotency_key is {shown(value)}; it must be 1 to 128 bytes")
    return value


def _utf8(text: str, what: str) -> int:
    """How many bytes it is."""
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidError(f"{what} is {shown(text)}, no Unicode text: {error.reason}") from None


def _due(options: Mapping[str, Any]) -> tuple[int, int]:
    delay, at = options.get("delay"), options.get("at")
    if delay is not None and at is not None:
        raise InvalidError("give delay or at, not both")
    return (
        0 if delay is None else to_ms(delay, "delay"),
        0 if at is None else to_unix_ms(at, "at"),
    )


def _deadline(options: Mapping[str, Any]) -> tuple[int, int]:
    expires, deadline = options.get("expires"), options.get("deadline")
    if expires is not None and deadline is not None:
        raise InvalidError("give expires or deadline, not both")
    return (
        0 if expires is None else to_ms(expires, "expires", least_ms=1),
        0 if deadline is None else to_unix_ms(deadline, "deadline"),
    )


def _retry(options: Mapping[str, Any]) -> CoreRetry | None:
    policy = retry_of(options.get("retry"))
    return None if policy is None else policy.to_core()


def make_template(type_: str, options: Mapping[str, Any]) -> _core.Template:
    """The options in the core's form. Raises TypeError, InvalidError naming the option."""
    delay_ms, due_at_ms = _due(options)
    expires_ms, deadline_at_ms = _deadline(options)
    job_id = options.get("id")
    key = options.get("idempotency_key")
    return _core.Template(
        type_,
        check_name(options.get("queue", "default"), "queue"),
        None if job_id is None else check_name(job_id, "id"),
        None if key is None else _key(key),
        _headers(options.get("headers", {})),
        idempotency_ttl_ms=_span(options, "idempotency_ttl"),
        delay_ms=delay_ms,
        due_at_ms=due_at_ms,
        timeout_ms=_span(options, "timeout"),
        deadline_at_ms=deadline_at_ms,
        expires_ms=expires_ms,
        lease_ms=_span(options, "lease"),
        retention_ms=_retention(options),
        priority=_priority(options),
        max_crashes=_max_crashes(options),
        retry=_retry(options),
    )


def check_task_options(options: Mapping[str, Any], is_async: bool) -> None:
    """What make_template does not look at."""
    check_names(options, TASK_NAMES, "task")
    executor = options.get("executor", "auto")
    if executor == "process":
        raise InvalidError(
            "executor 'process' does not exist yet; use 'thread' and more worker processes"
        )
    if executor not in ("auto", "async", "thread"):
        raise InvalidError(f"executor is {executor!r}; one of 'auto', 'async', 'thread'")
    if executor == "async" and not is_async:
        raise InvalidError("executor 'async' needs an async def function")
    if executor == "thread" and is_async:
        raise InvalidError("executor 'thread' needs a plain function, not async def")


def check_enqueue_options(options: Mapping[str, Any]) -> None:
    """Unknown names, and retry classes that only the task may set."""
    check_names(options, ENQUEUE_NAMES, "using()")
    retry = options.get("retry")
    if isinstance(retry, Retry) and (retry.on != (Exception,) or retry.never):
        raise InvalidError("retry classes (on, never) belong to the task, not to using()")
