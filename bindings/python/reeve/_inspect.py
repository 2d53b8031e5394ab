"""The operator's view of an app: queues, jobs, workers, and the dead letter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from reeve import _codec, _core
from reeve._context import from_ms
from reeve._errors import InvalidError, NotFound, ServerError
from reeve._job import JobInfo, State, info_of
from reeve._options import check_name

if TYPE_CHECKING:
    from reeve._app import App

_PAGE = 200


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """Counts of one queue at one moment."""

    name: str
    pending: int
    active: int
    scheduled: int
    retry: int
    completed: int
    archived: int
    done_total: int
    failed_total: int
    latency_ms: int
    size_bytes: int
    paused: bool
    weight: int
    #: Why its numbers, all 0, are not known: its keys are damaged. Empty when they are.
    error: str = ""

    @property
    def backlog(self) -> int:
        """Jobs that are not finished."""
        return self.pending + self.active + self.scheduled + self.retry


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A live worker as it last reported itself."""

    id: str
    host: str
    pid: int
    started_at: datetime
    beat_at: datetime
    concurrency: int
    active: int
    done: int
    failed: int
    quiet: bool
    queues: str


class DeadLetters:
    """The archive of one app: jobs that failed for good."""

    __slots__ = ("_inspect",)

    def __init__(self, inspect: Inspect) -> None:
        self._inspect = inspect

    def list(self, queue: str, limit: int = 50) -> list[JobInfo]:
        """The oldest dead jobs of a queue."""
        return self._inspect.jobs(queue, "archived", limit)

    def retry(self, queue: str, id: str | None = None) -> int:
        """Runs one again, or all; how many."""
        return self._act(queue, id, _core.ACTION_RUN)

    def purge(self, queue: str, id: str | None = None) -> int:
        """Deletes one, or all; how many."""
        return self._act(queue, id, _core.ACTION_DELETE)

    def edit(self, queue: str, id: str, args: dict[str, Any]) -> None:
        """Replaces the arguments of a job and makes it pending."""
        self._inspect.edit(queue, id, args)

    def _act(self, queue: str, id: str | None, action: int) -> int:
        if id is None:
            return self._inspect.act_all(queue, "archived", action)
        core = self._inspect.core
        row = core.find(queue, id)
        if row is None or row["state"] != "archived":
            raise NotFound(f"job {id} is not in the dead letter of queue {queue}")
        core.act(queue, id, action)
        return 1


class Inspect:
    """Looks at the broker and acts on it. Calls block for a round trip."""

    __slots__ = ("_app", "dead")

    def __init__(self, app: App) -> None:
        self._app = app
        self.dead = DeadLetters(self)

    @property
    def core(self) -> _core.Inspector:
        """The core's inspector."""
        return self._app.inspector

    def queues(self) -> list[QueueInfo]:
        """All queues, by name."""
        return [QueueInfo(**row) for row in self.core.queues()]

    def queue(self, name: str) -> QueueInfo:
        """One queue. Raises NotFound; ServerError when its keys are damaged."""
        for info in self.queues():
            if info.name == name and info.error:
                raise ServerError(f"queue {name} is damaged: {info.error}")
            if info.name == name:
                return info
        raise NotFound(f"there is no queue {name}")

    def jobs(self, queue: str, state: State = "pending", limit: int = 50) -> list[JobInfo]:
        """The first jobs of a queue in one state, in the order they would run."""
        if limit < 1:
            raise InvalidError(f"limit is {limit}; it must be 1 or more")
        found: list[JobInfo] = []
        for info in self.iter_jobs(queue, state, page=min(limit, _PAGE)):
            found.append(info)
            if len(found) == limit:
                break
        return found

    def iter_jobs(self, queue: str, state: State, page: int = _PAGE) -> Iterator[JobInfo]:
        """All jobs of a queue in one state, read in pages."""
        check_name(queue, "queue")
        cursor = 0
        while True:
            rows, cursor = self.core.tasks(queue, state, cursor, page)
            for row in rows:
                yield info_of(row)
            if cursor == 0:
                return

    def workers(self) -> list[WorkerInfo]:
        """Workers that reported themselves lately."""
        return [
            WorkerInfo(
                row["id"],
                row["host"],
                row["pid"],
                from_ms(row["started_at_ms"]),
                from_ms(row["beat_at_ms"]),
                row["concurrency"],
                row["active"],
                row["done"],
                row["failed"],
                row["quiet"],
                row["queues"],
            )
            for row in self.core.workers()
        ]

    def act_all(self, queue: str, state: State, action: int) -> int:
        """Acts on every job in a state, in bounded steps; how many it moved.

        Jobs that come into the state meanwhile are left alone.
        """
        total = cursor = 0
        while True:
            count, cursor = self.core.act_page(queue, state, action, cursor)
            total += count
            if cursor == 0:
                return total

    def delete_all(self, queue: str, state: State) -> int:
        """Deletes every job in a state (not active); how many."""
        return self.act_all(queue, state, _core.ACTION_DELETE)

    def edit(self, queue: str, id: str, args: dict[str, Any]) -> None:
        """Replaces the arguments of a job that is not active, and makes it pending."""
        if not isinstance(args, dict):
            raise TypeError("args must be a dict by parameter name")
        self.core.edit(queue, id, _codec.dumps(args))

    def pause(self, queue: str) -> None:
        """Nothing is claimed from it until ``resume``."""
        self.core.pause(check_name(queue, "queue"), True)

    def resume(self, queue: str) -> None:
        """Claims from it again."""
        self.core.pause(check_name(queue, "queue"), False)

    def drop(self, queue: str) -> None:
        """Forgets a queue that has no jobs in any state: its counters, pause and weight.

        Raises NotFound, StateError. Fencing tokens of a new queue of that name go on growing.
        """
        self.core.drop(check_name(queue, "queue"))

    def set_weight(self, queue: str, weight: int) -> None:
        """Weight of a queue on all workers, at once; 0 = each worker's own."""
        if isinstance(weight, bool) or not isinstance(weight, int):
            raise TypeError("weight must be an integer")
        if not 0 <= weight <= 1000:
            raise InvalidError(f"weight is {weight}; it must be 0 to 1000")
        self.core.weight(check_name(queue, "queue"), weight)

    def quiet(self, worker: str = "", quiet: bool = True) -> None:
        """Tells a worker (default: all) to stop claiming, or to claim again."""
        self.core.quiet(worker, quiet)

    def reclaim_worker(self, worker: str) -> int:
        """Hands back the tasks of a worker that is known to be dead; how many."""
        return self.core.reclaim_worker(worker)
