"""Tests without a server and without waiting.

    with harness(app) as h:
        welcome.enqueue("a@b.c")
        h.assert_enqueued(welcome, to="a@b.c")
        h.run_until_idle()
        h.clock.advance("2h")

Inside, the app uses a memory broker of its own — the same state machine as in production — with a
virtual clock and a worker that runs only when it is told to.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import uuid
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from reeve import _codec, _core, _outcome
from reeve._app import core_log
from reeve._context import from_ms
from reeve._durations import Duration, to_ms
from reeve._errors import StateError
from reeve._job import JobInfo, State
from reeve._outcome import Outcome
from reeve._runner import run_async, run_sync
from reeve.worker import make_core

if TYPE_CHECKING:
    from reeve._app import App
    from reeve._task import AnyTask

__all__ = ["Clock", "Harness", "harness"]

#: 2026-01-01T00:00:00Z: where a virtual clock starts.
START_AT_MS: Final = 1_767_225_600_000
_STATES: Final[tuple[State, ...]] = (
    "pending",
    "active",
    "scheduled",
    "retry",
    "completed",
    "archived",
)
#: A job that goes on for ever must fail the test, not hang it.
_RUNS_MAX: Final = 100_000


class Clock:
    """The harness's clock; moves only by ``advance``."""

    def __init__(self, env: _core.Env) -> None:
        self._env = env

    @property
    def now(self) -> datetime:
        """The virtual time, UTC."""
        return from_ms(self._env.now_at_ms())

    def advance(self, by: Duration) -> None:
        """Moves forward. Nothing runs until the harness is told to run."""
        self._env.advance(to_ms(by, "by"))


class Harness:
    """An app on a memory broker with a virtual clock; made by ``harness(app)``."""

    def __init__(self, app: App, env: _core.Env, concurrency: int) -> None:
        self.app = app
        self.clock = Clock(env)
        self._env = env
        self._concurrency = concurrency
        self._workers: dict[frozenset[str], _core.Worker] = {}
        self._claimer: _core.Worker | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # Running

    def run_once(self) -> int:
        """Runs one round: of what is due now, as many jobs as the harness's ``concurrency``,
        each once. What is left, and what they enqueue, is for the next round. How many runs."""
        return self._finish([(d, self._run(d)) for d in self._claim()])

    def run_until_idle(self) -> int:
        """Runs until nothing is due at the present virtual time; how many runs."""
        total = 0
        while count := self.run_once():
            total = self._count(total, count)
        return total

    def run_to_end(self) -> int:
        """Runs everything, also what is due later: the clock jumps to the next due time."""
        total = self.run_until_idle()
        while (due_at_ms := self._next_due()) is not None:
            self._env.advance(max(0, due_at_ms - self._env.now_at_ms()))
            total = self._count(total, self.run_until_idle())
        return total

    async def arun_once(self) -> int:
        """``run_once`` on the running event loop."""
        return self._finish([(d, await self._arun(d)) for d in self._claim()])

    async def arun_until_idle(self) -> int:
        """``run_until_idle`` on the running event loop."""
        total = 0
        while count := await self.arun_once():
            total = self._count(total, count)
        return total

    async def arun_to_end(self) -> int:
        """``run_to_end`` on the running event loop."""
        total = await self.arun_until_idle()
        while (due_at_ms := self._next_due()) is not None:
            self._env.advance(max(0, due_at_ms - self._env.now_at_ms()))
            total = self._count(total, await self.arun_until_idle())
        return total

    def kill_worker(self) -> None:
        """The worker dies with what it claims now: its jobs wait for their leases to lapse, and
        each counts a crash. The next run uses a new worker."""
        worker = self._worker()
        worker.step()
        # never completed: as a dead process would not
        _abandoned.append((worker, [e for e in worker.poll(4096, 0) if e is not None]))
        self._workers.clear()

    # Looking

    def jobs(self, queue: str | None = None, state: State | None = None) -> list[JobInfo]:
        """Stored jobs, of all queues and states unless told otherwise."""
        queues = [queue] if queue is not None else [q.name for q in self.app.queues()]
        states = (state,) if state is not None else _STATES
        return [info for q in queues for s in states for info in self.app.inspect.iter_jobs(q, s)]

    def enqueued(self, task: AnyTask) -> list[JobInfo]:
        """Jobs of a task that have not finished."""
        waiting = ("pending", "active", "scheduled", "retry")
        return [i for i in self.jobs() if i.task == task.name and i.state in waiting]

    def assert_enqueued(self, task: AnyTask, *, count: int | None = None, **arguments: Any) -> None:
        """Fails unless jobs of this task wait that have these arguments (others may have any
        value); ``count`` asks for exactly so many. Raises TypeError for what is no parameter of
        the task."""
        for name in arguments.keys() - task.arguments.names:
            raise TypeError(f"{task.name} has no parameter {name!r}")
        want = _codec.loads(_codec.dumps(arguments))
        waiting = self.enqueued(task)
        found = [i for i in waiting if _fits(i.args, want)]
        if (count is None and not found) or (count is not None and len(found) != count):
            asked = "at least one" if count is None else str(count)
            seen = "; ".join(str(i.args) for i in waiting) or "none"
            raise AssertionError(
                f"{task.name}: {asked} enqueued with {want} expected, found {len(found)}; "
                f"waiting are: {seen}"
            )

    # Inside

    def _worker(self) -> _core.Worker:
        names = frozenset(q.name for q in self.app.queues())
        names |= {t.queue for t in self.app.tasks.values()} | {"default"}
        worker = self._workers.get(names)
        if worker is None:
            weights = dict.fromkeys(sorted(names), 1)
            options = {"concurrency": self._concurrency, "queues": weights}
            worker = make_core(self.app, options, manual=True)
            worker.start()
            self._workers[names] = worker
        return worker

    def _claim(self) -> list[_core.Delivery]:
        worker = self._worker()
        worker.step()
        events = worker.poll(4096, 0)
        self._claimer = worker
        return [e for e in events if isinstance(e, _core.Delivery)]

    def _finish(self, done: list[tuple[_core.Delivery, Outcome]]) -> int:
        if done:
            assert self._claimer is not None
            self._claimer.complete_many(done)
            self._claimer.step()
        return len(done)

    def _run(self, delivery: _core.Delivery) -> Outcome:
        task = self.app.tasks.get(delivery.type)
        if task is None:
            return _outcome.unknown_task(delivery.type)
        if task.is_async:
            return self._run_loop(self._arun(delivery))
        return contextvars.copy_context().run(run_sync, task, delivery)

    def _run_loop(self, coroutine: Coroutine[Any, Any, Outcome]) -> Outcome:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            coroutine.close()
            raise StateError("an event loop runs here: await arun_until_idle() instead")
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(coroutine)

    async def _arun(self, delivery: _core.Delivery) -> Outcome:
        task = self.app.tasks.get(delivery.type)
        if task is None:
            return _outcome.unknown_task(delivery.type)
        if task.is_async:
            return await asyncio.create_task(run_async(task, delivery))
        return await asyncio.to_thread(run_sync, task, delivery)

    def _next_due(self) -> int | None:
        due = [
            row["due_at_ms"]
            for q in self.app.queues()
            for state in ("scheduled", "retry")
            for row in self.app.inspector.tasks(q.name, state, 0, 1)[0]
        ]
        return min(due) if due else None

    @staticmethod
    def _count(total: int, count: int) -> int:
        total += count
        if total > _RUNS_MAX:
            raise AssertionError(f"still busy after {_RUNS_MAX} runs: does a task enqueue itself?")
        return total

    def close(self) -> None:
        """Frees what the harness holds."""
        self._workers.clear()
        if self._loop is not None:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()
            self._loop = None


def _fits(args: Any, want: dict[str, Any]) -> bool:
    return isinstance(args, dict) and all(
        name in args and args[name] == value for name, value in want.items()
    )


#: Workers that tests killed, with what they held: never completed, never freed.
_abandoned: list[tuple[_core.Worker, list[object]]] = []

_lock = threading.Lock()


@contextmanager
def harness(app: App, *, concurrency: int = 10, random_seed: int = 1) -> Iterator[Harness]:
    """Moves an app to a memory broker with a virtual clock, and back at the end."""
    env = _core.Env(
        log=core_log, log_level=2, random_seed=random_seed, virtual_now_at_ms=START_AT_MS
    )
    with _lock:
        if app._harnessed:
            raise StateError("the app is in a harness already")
        app._harnessed = True
    saved = (app._url, app._env, app._client, app._inspector)
    app._url, app._env = f"mem://test-{uuid.uuid4().hex}", env
    app._client = app._inspector = None
    h = Harness(app, env, concurrency)
    try:
        yield h
    finally:
        h.close()
        app.close()
        app._url, app._env, app._client, app._inspector = saved
        app._harnessed = False
