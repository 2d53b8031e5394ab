"""The worker: takes deliveries from the core in batches, runs handlers, gives outcomes back.

``async def`` handlers run on one event loop, plain ones on a pool of threads. The core claims,
keeps leases and settles on threads of its own that never take the GIL: a handler that blocks the
loop delays its neighbours but never costs a lease.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue as queues_
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, Unpack

from reeve import _core, _outcome
from reeve._durations import Duration, to_ms
from reeve._errors import Error, InvalidError, StateError
from reeve._options import check_name, check_names
from reeve._outcome import Outcome
from reeve._runner import run_async, run_sync

if TYPE_CHECKING:
    from reeve._app import App
    from reeve._task import AnyTask

_log = logging.getLogger("reeve.worker")

Order = Literal["weighted", "strict"]

_POLL_COUNT = 1024

#: Cancellations that are the job's own failure; its handler may never say so.
_OVERRUN = {
    _core.CANCEL_TIMEOUT: "ran past its timeout",
    _core.CANCEL_DEADLINE: "ran past its deadline",
}

Completion: TypeAlias = tuple[
    _core.Delivery, int, bytes | None, int, bytes | None, bytes | None, bytes | None
]


class WorkerOptions(TypedDict, total=False):
    """What a worker takes."""

    concurrency: int  #: jobs at a time, 1 … 10000; default 10
    queues: Mapping[str, int] | None  #: name → weight; default: the queues of the app's tasks
    order: Order  #: "weighted" (default) or "strict": first queue first
    lease: Duration | None  #: default 30 s
    grace: Duration | None  #: a stop waits this long for handlers; default 25 s
    ageing: Duration | None  #: strict: a passed-over queue is served once in this; default 1 s
    id: str | None  #: unique among live workers; default: a new UUID


_OPTION_NAMES = frozenset(WorkerOptions.__annotations__)


def check_worker_options(options: Mapping[str, Any]) -> None:
    """Unknown names raise TypeError, bad values InvalidError."""
    check_names(options, _OPTION_NAMES, "worker")
    concurrency = options.get("concurrency", 10)
    if isinstance(concurrency, bool) or not isinstance(concurrency, int):
        raise TypeError("concurrency must be an integer")
    if not 1 <= concurrency <= 10_000:
        raise InvalidError(f"concurrency is {concurrency}; it must be 1 to 10000")
    if options.get("order", "weighted") not in ("weighted", "strict"):
        raise InvalidError(f"order is {options['order']!r}; one of 'weighted', 'strict'")
    if options.get("id") is not None:
        check_name(options["id"], "worker id")


def queue_weights(app: App, given: Mapping[str, int] | None) -> tuple[tuple[str, int], ...]:
    """Queues to work on: those given, or those that the app's tasks name."""
    if given is None:
        names = {task.queue for task in app.tasks.values()} or {"default"}
        return tuple((name, 1) for name in sorted(names))
    if not isinstance(given, Mapping):
        raise TypeError(f"queues must map names to weights, not {type(given).__name__}")
    if not given:
        raise InvalidError("queues is empty; name at least one")
    for name, weight in given.items():
        check_name(name, "queue")
        if isinstance(weight, bool) or not isinstance(weight, int):
            raise TypeError(f"weight of queue {name} must be an integer")
        if not 1 <= weight <= 1000:
            raise InvalidError(f"weight of queue {name} is {weight}; it must be 1 to 1000")
    return tuple(given.items())


def shown_url(url: str) -> str:
    """The broker for a log line: without user, password and options."""
    scheme, slashes, rest = url.partition("://")
    if scheme.startswith("redis"):
        rest = rest.rpartition("@")[2]
    return scheme + slashes + rest.partition("?")[0]


def make_core(app: App, options: Mapping[str, Any], *, manual: bool = False) -> _core.Worker:
    """The core's worker for these options."""
    check_worker_options(options)

    def span(name: str) -> int:
        value = options.get(name)
        return 0 if value is None else to_ms(value, name, least_ms=1)

    return _core.Worker(
        app.url,
        app.env,
        queue_weights(app, options.get("queues")),
        prefix=app.prefix,
        id=options.get("id"),
        order=1 if options.get("order") == "strict" else 0,
        concurrency=options.get("concurrency", 10),
        lease_ms=span("lease"),
        ageing_ms=span("ageing"),
        grace_ms=span("grace"),
        manual=manual,
    )


class _Threads:
    """Daemon threads for plain handlers, started when needed. Not a ThreadPoolExecutor: that costs
    a future a job and joins stuck threads at exit.

    A handler that was told to end (timeout, lost lease) has lost its slot in the core but may keep
    its thread for ever: it is replaced, and ends its thread when it does return.
    """

    def __init__(
        self,
        limit: int,
        run: Callable[[AnyTask, _core.Delivery], int],
        note_overrun: Callable[[_core.Delivery, int], None],
    ) -> None:
        self._limit = limit
        self._run = run  # gives the reason for which the run was told to end
        self._note_overrun = note_overrun
        self._jobs: queues_.SimpleQueue[tuple[AnyTask, _core.Delivery] | None] = (
            queues_.SimpleQueue()
        )
        self._idle = threading.Semaphore(0)
        self._count = 0
        self._names = 0
        self._runs: dict[int, _core.Delivery] = {}  # by serial, queued or running
        self._overran: set[int] = set()
        self._lock = threading.Lock()  # for _limit, _count and _overran

    def put(self, task: AnyTask, delivery: _core.Delivery) -> None:
        """Runs it in an idle thread, or in a new one."""
        self._runs[delivery.serial] = delivery
        self._jobs.put((task, delivery))
        if not self._idle.acquire(blocking=False):
            with self._lock:
                self._start()

    def overrun(self, serial: int, reason: int) -> None:
        """This run was told to end: another may start beside it."""
        with self._lock:
            delivery = self._runs.get(serial)
            if delivery is None:
                return
            self._overran.add(serial)
            self._limit += 1
            if not self._jobs.empty():
                self._start()
        self._note_overrun(delivery, reason)

    def close(self) -> None:
        """Threads end after what they run."""
        for _ in range(self._count):
            self._jobs.put(None)

    def _start(self) -> None:
        if self._count >= self._limit:
            return
        self._count += 1
        self._names += 1
        name = f"reeve-{self._names}"
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            delivery = job[1]
            reason = self._run(*job)
            self._runs.pop(delivery.serial, None)
            if delivery.was_cancelled:
                if self._is_replaced(delivery.serial):
                    return
                self._note_overrun(delivery, reason)  # it ended before we heard of it
            del job, delivery
            self._idle.release()

    def _is_replaced(self, serial: int) -> bool:
        with self._lock:
            if serial not in self._overran:
                return False
            self._overran.discard(serial)
            self._limit -= 1
            self._count -= 1
            return True


class Worker:
    """Runs an app's tasks until it is stopped.

    ``run()`` blocks and, on the main thread, stops on SIGTERM and SIGINT: it claims no more, hands
    back what was not started, waits ``grace`` for handlers and requeues the rest; a second signal
    does so at once. ``with worker:`` runs it in a background thread instead.
    """

    def __init__(self, app: App, **options: Unpack[WorkerOptions]) -> None:
        check_worker_options(options)
        self._app = app
        self._tasks = dict(app.tasks)
        for task in self._tasks.values():
            task.arguments.resolve()
        self._queues = queue_weights(app, options.get("queues"))
        self._core = make_core(app, options)
        self._id = self._core.id()
        self._threads = _Threads(
            options.get("concurrency", 10), self._run_thread, self._note_overrun
        )
        self._running: dict[int, tuple[asyncio.Task[None], _core.Delivery]] = {}
        self._done: list[Completion] = []
        self._flush_due = False
        self._stops = 0
        self._pid = 0  # of the process that runs it
        self._loop: asyncio.AbstractEventLoop | None = None
        self._finished: asyncio.Future[None] | None = None
        self._thread: threading.Thread | None = None
        self._started = threading.Event()
        self._failure: BaseException | None = None

    @property
    def id(self) -> str:
        """Unique among live workers."""
        return self._id

    def stats(self) -> _core.WorkerStats:
        """Counters since the start."""
        return self._core.stats()

    def stop(self) -> None:
        """Asks to stop; a second call: at once. From any thread or signal handler."""
        self._stops += 1
        self._core.stop()

    def quiet(self, quiet: bool = True) -> None:
        """Stops claiming (running handlers go on), or claims again."""
        self._core.quiet(quiet)

    def run(self) -> None:
        """Works until stopped. Raises StateError when it ran before."""
        if self._loop is not None:
            raise StateError("a worker runs once; make a new one")
        asyncio.run(self._main())

    # In the background

    def start(self) -> None:
        """Works in a thread of its own until ``stop`` and ``join``."""
        if self._thread is not None:
            raise StateError("the worker was started before")
        self._thread = threading.Thread(target=self._run_caught, name="reeve-worker", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure

    def join(self, timeout: float | None = None) -> bool:
        """Waits for the end of a worker that was started; False on timeout."""
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def __enter__(self) -> Worker:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        self.join()

    def _run_caught(self) -> None:
        try:
            self.run()
        except BaseException as error:
            self._failure = error
            _log.exception("worker %s failed", self._id)
        finally:
            self._started.set()

    # The loop

    async def _main(self) -> None:
        loop = self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        self._finished = loop.create_future()
        fds = [fd for fd in (self._core.fd(), self._app.env.log_fd()) if fd >= 0]
        loop.add_reader(fds[0], self._wake)
        if len(fds) > 1:
            loop.add_reader(fds[1], self._app.env.flush)
        signals = self._catch_signals(loop)
        try:
            self._core.start()
            queues = ",".join(f"{name}={weight}" for name, weight in self._queues)
            _log.info(
                "worker %s started on %s at %s, %d tasks known",
                self._id,
                queues,
                shown_url(self._app.url),
                len(self._tasks),
            )
            self._started.set()
            await self._finished
        finally:
            for number in signals:
                loop.remove_signal_handler(number)
            for fd in fds:
                loop.remove_reader(fd)
            self._threads.close()
            self._app.env.flush()
        stats = self._core.stats()
        _log.info(
            "worker %s stopped: %d done, %d retried, %d dead, %d handed back",
            self._id,
            stats["done"],
            stats["retried"],
            stats["archived"],
            stats["requeued"],
        )

    def _catch_signals(self, loop: asyncio.AbstractEventLoop) -> tuple[signal.Signals, ...]:
        if threading.current_thread() is not threading.main_thread():
            return ()
        numbers = (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            loop.add_signal_handler(number, self._on_signal, number)
        return numbers

    def _on_signal(self, number: signal.Signals) -> None:
        if self._stops == 0:
            _log.info("worker %s: %s, finishing; again to stop at once", self._id, number.name)
        else:
            _log.warning("worker %s: %s again, stopping at once", self._id, number.name)
        self.stop()

    def _wake(self) -> None:
        """The core has events: take them all."""
        while True:
            events = self._core.poll(_POLL_COUNT, 0)
            for event in events:
                if isinstance(event, _core.Delivery):
                    self._begin(event)
                elif event is None:
                    self._end()
                    return
                else:
                    self._cancel(*event)
            if len(events) < _POLL_COUNT:
                return

    def _begin(self, delivery: _core.Delivery) -> None:
        task = self._tasks.get(delivery.type)
        if task is None:
            _log.warning("no task %s here: job %s will be retried", delivery.type, delivery.id)
            self._give(delivery, _outcome.unknown_task(delivery.type), noted=True)
        elif task.is_async:
            self._spawn(self._run_coroutine(task, delivery), delivery)
        else:
            self._threads.put(task, delivery)

    def _spawn(self, coroutine: Coroutine[Any, Any, None], delivery: _core.Delivery) -> None:
        assert self._loop is not None
        if sys.version_info >= (3, 12):
            running = asyncio.Task(coroutine, loop=self._loop, eager_start=True)
            if running.done():
                return
        else:
            running = self._loop.create_task(coroutine)
        self._running[delivery.serial] = (running, delivery)

    async def _run_coroutine(self, task: AnyTask, delivery: _core.Delivery) -> None:
        try:
            outcome = await run_async(task, delivery)
            self._end_child()
        except asyncio.CancelledError:
            # the core has settled it already (timeout, lost lease) or wants it back (stop)
            outcome = _outcome.REQUEUE
        else:
            reason = delivery.cancel_reason
            current = None if reason == 0 else asyncio.current_task()
            if current is not None and not current.cancelling():
                self._note_overrun(delivery, reason)  # it ended before we heard of it
        self._running.pop(delivery.serial, None)
        self._give(delivery, outcome)

    def _cancel(self, reason: int, serial: int) -> None:
        running, delivery = self._running.get(serial, (None, None))
        if running is None or delivery is None:
            self._threads.overrun(serial, reason)
        else:
            running.cancel()
            self._note_overrun(delivery, reason)
        _log.debug("run %d is told to end, reason %d", serial, reason)

    def _give(self, delivery: _core.Delivery, outcome: Outcome, *, noted: bool = False) -> None:
        """Completes it in this iteration of the loop, with its neighbours."""
        if not noted:
            self._note(delivery, outcome)
        self._done.append((delivery, *outcome))
        if not self._flush_due:
            self._flush_due = True
            assert self._loop is not None
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        done, self._done = self._done, []
        if done:
            self._complete(done)

    def _complete(self, done: list[Completion]) -> None:
        try:
            self._core.complete_many(done)
        except Error:
            _log.exception("worker %s could not give %d outcomes back", self._id, len(done))

    def _run_thread(self, task: AnyTask, delivery: _core.Delivery) -> int:
        outcome = run_sync(task, delivery)
        self._end_child()
        self._note(delivery, outcome)
        reason = delivery.cancel_reason
        self._complete([(delivery, *outcome)])
        return reason

    def _end_child(self) -> None:
        """A handler that forked and came back twice: its child must not go on here. It would wait
        for work for ever, on descriptors that it shares with the worker."""
        if os.getpid() != self._pid:
            _log.error("a handler's child process %d returned; it must end by itself", os.getpid())
            os._exit(1)

    def _note_overrun(self, delivery: _core.Delivery, reason: int) -> None:
        what = _OVERRUN.get(reason)
        if what is not None:
            _log.warning(
                "job %s of %s %s in attempt %d and is told to end",
                delivery.id,
                delivery.type,
                what,
                delivery.attempt,
            )

    def _note(self, delivery: _core.Delivery, outcome: Outcome) -> None:
        if outcome[0] != _core.OUTCOME_RETRY and outcome[0] != _core.OUTCOME_FATAL:
            return
        name = (outcome[3] or b"").decode("utf-8", "replace")
        text = (outcome[4] or b"").decode("utf-8", "replace")
        _log.warning(
            "job %s of %s failed in attempt %d: %s: %s",
            delivery.id,
            delivery.type,
            delivery.attempt,
            name,
            text,
        )

    def _end(self) -> None:
        self._flush()
        if self._finished is not None and not self._finished.done():
            self._finished.set_result(None)
