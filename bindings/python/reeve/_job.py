"""A handle on one enqueued task: look at it, read its result, act on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

from reeve import _codec, _core
from reeve._context import from_ms
from reeve._errors import Error, NotDone, NotFound

if TYPE_CHECKING:
    from reeve._app import App
    from reeve._signature import Arguments

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

State = Literal[
    "scheduled",
    "pending",
    "active",
    "retry",
    "blocked",
    "aggregating",
    "waiting",
    "completed",
    "archived",
]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One failed run, as it was recorded."""

    at: datetime
    attempt: int
    crash: bool
    worker: str
    error_type: str
    error_message: str
    traceback: str


@dataclass(frozen=True, slots=True)
class JobInfo:
    """All that is stored about a job, at one moment. Times are UTC."""

    id: str
    queue: str
    task: str
    state: State
    payload: bytes
    priority: int
    attempts: int
    max_attempts: int | None
    crashes: int
    enqueued_at: datetime
    due_at: datetime | None
    settled_at: datetime | None
    expires_at: datetime | None
    has_result: bool
    result: bytes
    reason: str
    token: int
    worker: str
    headers: dict[str, str]
    history: tuple[Attempt, ...]
    timeout: timedelta | None
    deadline: datetime | None
    lease: timedelta | None  #: None: its worker's
    retention: timedelta | None  #: None: it is gone when it is done; timedelta.max: for ever
    max_crashes: int | None  #: None: no limit

    @property
    def args(self) -> Any:
        """The payload as plain JSON; None when it is not JSON."""
        try:
            return _codec.loads(self.payload)
        except ValueError:
            return None

    @property
    def error(self) -> str | None:
        """The last failure in one line, if any."""
        if not self.history:
            return None
        last = self.history[-1]
        if last.crash:
            return "the worker died"
        return f"{last.error_type}: {last.error_message}"


class JobFailed(Error):
    """The job is in the dead letter. Carries what the worker reported."""

    slug = "job-failed"

    def __init__(self, info: JobInfo) -> None:
        last = info.history[-1] if info.history else None
        self.info = info
        self.error_type = last.error_type if last else ""
        self.error_message = last.error_message if last else ""
        self.traceback = last.traceback if last else ""
        self.attempts = info.attempts
        self.reason = info.reason
        what = info.error or info.reason or "unknown reason"
        super().__init__(f"job {info.id} of {info.task} failed: {what} ({info.reason})")


async def _off_loop(call: Callable[[], R]) -> R:
    import asyncio  # a producer without a loop never needs it

    return await asyncio.to_thread(call)


def _moment(at_ms: int) -> datetime | None:
    return from_ms(at_ms) if at_ms > 0 else None


def _span(ms: int) -> timedelta | None:
    return timedelta(milliseconds=ms) if ms > 0 else None


def attempt_of(row: _core.AttemptRow) -> Attempt:
    """From the core's row."""
    return Attempt(
        from_ms(row["at_ms"]),
        row["attempt"],
        row["crash"],
        row["worker"],
        row["error_type"],
        row["error_message"],
        row["error_trace"],
    )


def info_of(row: _core.TaskRow) -> JobInfo:
    """From the core's row."""
    limit = row["max_attempts"]
    return JobInfo(
        id=row["id"],
        queue=row["queue"],
        task=row["type"],
        state=cast(State, row["state"]),
        payload=row["payload"],
        priority=row["priority"],
        attempts=row["attempts"],
        max_attempts=None if limit < 0 else limit,
        crashes=row["crashes"],
        enqueued_at=from_ms(row["enqueued_at_ms"]),
        due_at=_moment(row["due_at_ms"]),
        settled_at=_moment(row["settled_at_ms"]),
        expires_at=_moment(row["expires_at_ms"]),
        has_result=row["has_result"],
        result=row["result"],
        reason=row["reason"],
        token=row["token"],
        worker=row["worker"],
        headers=dict(row["headers"]),
        history=tuple(attempt_of(a) for a in row["history"]),
        timeout=_span(row["timeout_ms"]),
        deadline=_moment(row["deadline_at_ms"]),
        lease=_span(row["lease_ms"]),
        retention=timedelta.max if row["retention_ms"] < 0 else _span(row["retention_ms"]),
        max_crashes=None if row["max_crashes"] < 0 else row["max_crashes"],
    )


class Job(Generic[R_co]):
    """A job: ``id`` and ``queue`` name it. Every other access asks the broker, and has an ``a…``
    twin that does so without blocking the event loop."""

    __slots__ = ("_app", "_arguments", "existing", "id", "queue")

    def __init__(
        self,
        app: App,
        id: str,
        queue: str,
        arguments: Arguments | None = None,
        existing: bool = False,
    ) -> None:
        self._app = app
        self._arguments = arguments
        self.id = id
        self.queue = queue
        #: True when an idempotency key gave an earlier job.
        self.existing = existing

    def find(self) -> JobInfo | None:
        """What is stored, or None: done without retention, expired, or deleted."""
        row = self._app.inspector.find(self.queue, self.id)
        return None if row is None else info_of(row)

    def info(self) -> JobInfo:
        """What is stored. Raises NotFound."""
        info = self.find()
        if info is None:
            raise NotFound(
                f"job {self.id} is not in queue {self.queue}: "
                "done without retention, deleted, or never enqueued"
            )
        return info

    @property
    def state(self) -> str | None:
        """The state now, one of State; None when it is not stored any more. Typed ``str``: a type
        checker would otherwise take the first comparison for the state from then on."""
        info = self.find()
        return None if info is None else info.state

    def result(self) -> R_co:
        """The stored result.

        Raises JobFailed (dead letter), NotDone (still on its way), NotFound (no longer stored, or
        the task has no retention).
        """
        info = self.info()
        if info.state == "archived":
            raise JobFailed(info)
        if info.state != "completed":
            raise NotDone(f"job {self.id} has no result yet: its state is {info.state}")
        if not info.has_result:
            raise NotFound(f"job {self.id} is done but kept no result")
        if self._arguments is not None:
            return cast(R_co, self._arguments.decode_result(info.result))
        return cast(R_co, _codec.loads(info.result))

    def retry(self) -> None:
        """Makes it pending now: scheduled, waiting for a retry, dead, or completed. Raises
        NotFound, StateError."""
        self._app.inspector.act(self.queue, self.id, _core.ACTION_RUN)

    def archive(self) -> None:
        """Puts it into the dead letter. Raises NotFound, StateError."""
        self._app.inspector.act(self.queue, self.id, _core.ACTION_ARCHIVE)

    def delete(self) -> None:
        """Removes it, in any state but active. Raises NotFound, StateError."""
        self._app.inspector.act(self.queue, self.id, _core.ACTION_DELETE)

    async def afind(self) -> JobInfo | None:
        """``find`` off the event loop."""
        return await _off_loop(self.find)

    async def ainfo(self) -> JobInfo:
        """``info`` off the event loop."""
        return await _off_loop(self.info)

    async def astate(self) -> State | None:
        """``state`` off the event loop."""
        info = await self.afind()
        return None if info is None else info.state

    async def aresult(self) -> R_co:
        """``result`` off the event loop."""
        return await _off_loop(self.result)

    async def aretry(self) -> None:
        """``retry`` off the event loop."""
        await _off_loop(self.retry)

    async def aarchive(self) -> None:
        """``archive`` off the event loop."""
        await _off_loop(self.archive)

    async def adelete(self) -> None:
        """``delete`` off the event loop."""
        await _off_loop(self.delete)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Job):
            return NotImplemented
        return self.id == other.id and self.queue == other.queue and self._app is other._app

    def __hash__(self) -> int:
        return hash((self.id, self.queue))

    def __repr__(self) -> str:
        return f"<Job {self.id} in {self.queue}>"
