"""The worker: takes deliveries from the core in batches, runs handlers, gives outcomes back.

``async def`` handlers run on one event loop, plain ones on a pool of threads. The core claims,
keeps leases and settles on threads of its own that never take the GIL: a handler that blocks the
loop delays its neighbours but never costs a lease.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
import os
import signal
import sys
import threading
import uuid
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias, TypedDict, Unpack

from reeve import _core, _outcome
from reeve._durations import Duration, to_ms
from reeve._errors import Error, ForkedError, InvalidError, StateError
from reeve._options import check_name, check_names
from reeve._outcome import Outcome
from reeve._runner import run_async, run_sync

if TYPE_CHECKING:
    from reeve._app import App
    from reeve._task import AnyTask

_log = logging.getLogger("reeve.worker")

Order = Literal["weighted", "strict"]
Prefetch = int | Literal["auto", "none"]

_POLL_COUNT = 1024

Completion: TypeAlias = tuple[_core.Delivery, Outcome]


class WorkerOptions(TypedDict, total=False):
    """What a worker takes."""

    concurrency: int  #: jobs at a time, 1 … 10000; default 10
    queues: Mapping[str, int] | None  #: name → weight; default: the queues of the app's tasks
    prefetch: Prefetch  #: jobs claimed beyond those that run; "auto" (default), "none", 1 … 1000
    order: Order  #: "weighted" (default) or "strict": first queue first
    lease: Duration | None  #: default 30 s
    grace: Duration | None  #: a stop waits this long for handlers; default 25 s
    ageing: Duration | None  #: strict: a passed-over queue is served once in this; default 1 s
    archive: Duration | None  #: dead letters are kept so long; default 90 days
    archive_count: int | None  #: and at most so many a queue; default 100 000
    settle_delay: Duration | None  #: outcomes wait so long for others; 0: none; default 5 ms
    settle_count: int | None  #: or until they are so many, 1 … 1024; default 64
    id: str | None  #: unique among live workers; default: a new UUID


#: How often this process came out of a fork.
_fork_count = 0


def _count_fork() -> None:
    global _fork_count
    _fork_count += 1


os.register_at_fork(after_in_child=_count_fork)

_OPTION_NAMES = frozenset(WorkerOptions.__annotations__)


def check_worker_options(options: Mapping[str, Any]) -> None:
    """Unknown names raise TypeError, bad values InvalidError."""
    check_names(options, _OPTION_NAMES, "worker")
    concurrency = options.get("concurrency", 10)
    if isinstance(concurrency, bool) or not isinstance(concurrency, int):
        raise TypeError("concurrency must be an integer")
    if not 1 <= concurrency <= 10_000:
        raise InvalidError(f"concurrency is {concurrency}; it must be 1 to 10000")
    _check_prefetch(options.get("prefetch", "auto"))
    for name, most in (("archive_count", 2**31 - 1), ("settle_count", 1024)):
        _check_count(options.get(name), name, most)
    if options.get("order", "weighted") not in ("weighted", "strict"):
        raise InvalidError(f"order is {options['order']!r}; one of 'weighted', 'strict'")
    if options.get("id") is not None:
        check_name(options["id"], "worker id")


def _check_count(value: object, name: str, most: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if not 1 <= value <= most:
        raise InvalidError(f"{name} is {value}; it must be 1 to {most}")


def _settle_delay_ms(value: Duration | None) -> int:
    if value is None:
        return 0
    return to_ms(value, "settle_delay") or _core.NEVER


def _check_prefetch(value: object) -> None:
    if value in ("auto", "none"):
        return
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TypeError(f"prefetch must be an integer, 'auto' or 'none', not {value!r}")
    if isinstance(value, str) or not 1 <= value <= 1000:
        raise InvalidError(f"prefetch is {value!r}; it must be 1 to 1000, 'auto' or 'none'")


def _core_prefetch(value: Prefetch) -> int:
    return {"auto": 0, "none": _core.NEVER}[value] if isinstance(value, str) else value


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


def make_core(
    app: App, options: Mapping[str, Any], *, manual: bool = False, url: str | None = None
) -> _core.Worker:
    """The core's worker for these options; on the app's broker unless another is given."""
    check_worker_options(options)

    def span(name: str) -> int:
        value = options.get(name)
        return 0 if value is None else to_ms(value, name, least_ms=1)

    return _core.Worker(
        url or app.url,
        app.env,
        queue_weights(app, options.get("queues")),
        prefix=app.prefix,
        id=options.get("id"),
        order=1 if options.get("order") == "strict" else 0,
        concurrency=options.get("concurrency", 10),
        prefetch=_core_prefetch(options.get("prefetch", "auto")),
        lease_ms=span("lease"),
        ageing_ms=span("ageing"),
        grace_ms=span("grace"),
        archive_ms=span("archive"),
        archive_count=options.get("archive_count") or 0,
        settle_delay_ms=_settle_delay_ms(options.get("settle_delay")),
        settle_count=options.get("settle_count") or 0,
        manual=manual,
    )


def check_worker(app: App, options: Mapping[str, Any]) -> None:
    """Raises what a worker with these options would raise, without a connection."""
    for task in app.tasks.values():
        task.arguments.resolve()
    make_core(app, options, url=f"mem://{uuid.uuid4().hex}")


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
        self._core.serve(
            tuple((name, task, not task.is_async) for name, task in self._tasks.items()),
            self._start_thread,
        )
        self._has_threads = any(not task.is_async for task in self._tasks.values())
        self._thread_names = itertools.count(1)
        self._running: dict[int, asyncio.Task[None]] = {}  # by serial
        self._done: list[Completion] = []
        self._flush_due = False
        self._taking = False
        self._context = contextvars.Context()  # what a run sets is not for the next
        self._stops = 0
        self._fork_count = _fork_count
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
        self._context = contextvars.copy_context()
        self._fork_count = _fork_count
        self._finished = loop.create_future()
        fds = [fd for fd in (self._core.fd(), self._app.env.log_fd()) if fd >= 0]
        loop.add_reader(fds[0], self._wake)
        if len(fds) > 1:
            loop.add_reader(fds[1], self._app.env.flush)
        signals = self._catch_signals(loop)
        try:
            self._core.start()
            if self._has_threads:
                self._start_thread()
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
            self._core.close()
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
        while self._take_events() == _POLL_COUNT:
            pass

    def _take_events(self) -> int:
        events = self._core.poll(_POLL_COUNT, 0)
        self._taking = True  # coroutines may run here and now, and end
        for event in events:
            if type(event) is _core.Delivery:
                self._begin(event)
            elif event is None:
                self._end()
            else:
                self._cancel(*event)
        self._taking = False
        return len(events)

    def _begin(self, delivery: _core.Delivery) -> None:
        task = delivery.task
        if task is None:
            self._give(delivery, _outcome.unknown_task(delivery.type))
        else:
            self._spawn(self._run_coroutine(task, delivery), delivery)

    def _spawn(self, coroutine: Coroutine[Any, Any, None], delivery: _core.Delivery) -> None:
        assert self._loop is not None
        context = self._context.copy()
        if sys.version_info >= (3, 12):
            running = asyncio.Task(coroutine, loop=self._loop, eager_start=True, context=context)
            if running.done():
                return
        else:
            running = self._loop.create_task(coroutine, context=context)
        self._running[delivery.serial] = running

    async def _run_coroutine(self, task: AnyTask, delivery: _core.Delivery) -> None:
        try:
            outcome = await run_async(task, delivery)
            if _fork_count != self._fork_count:
                self._end_child()
        except asyncio.CancelledError:
            # the core has settled it already (timeout, lost lease) or wants it back (stop)
            outcome = _outcome.REQUEUE
        self._running.pop(delivery.serial, None)
        self._give(delivery, outcome)
        if not self._running and not self._taking:
            self._flush()  # nobody is left to wait for

    def _cancel(self, reason: int, serial: int) -> None:
        running = self._running.get(serial)
        if running is not None:  # else a thread's, which looks for itself
            running.cancel()
        _log.debug("run %d is told to end, reason %d", serial, reason)

    def _give(self, delivery: _core.Delivery, outcome: Outcome) -> None:
        """Completes it in this iteration of the loop, with its neighbours."""
        self._done.append((delivery, outcome))
        if not self._flush_due:
            self._flush_due = True
            assert self._loop is not None
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        done, self._done = self._done, []
        if not done:
            return
        try:
            self._core.complete_many(done)
        except Error:
            _log.exception("worker %s could not give %d outcomes back", self._id, len(done))
        self._take_events()  # the core may have waited for these slots

    # Threads

    def _start_thread(self) -> bool:
        """For the core, which calls it when every thread is busy: one shall always wait for news.
        A handler that was told to end but does not keeps its thread and costs nobody's place."""
        name = f"reeve-{next(self._thread_names)}"
        try:
            threading.Thread(target=self._work, name=name, daemon=True).start()
        except RuntimeError as error:
            _log.warning("worker %s: %s; its handlers wait for one another", self._id, error)
            return False
        return True

    def _work(self) -> None:
        """A thread: runs what the core gives it until there is no more need for it."""
        delivery = self._core.take()
        while delivery is not None:
            # a context of its own: what a handler sets must not be seen by the next
            outcome = contextvars.Context().run(run_sync, delivery.task, delivery)
            delivery = self._give_and_take(delivery, outcome)

    def _give_and_take(self, delivery: _core.Delivery, outcome: Outcome) -> _core.Delivery | None:
        try:
            return self._core.take(delivery, outcome)
        except ForkedError:
            self._end_child()
        except Error:
            _log.exception("worker %s could not give job %s back", self._id, delivery.id)
        return self._core.take()

    def _end_child(self) -> NoReturn:
        """A handler that forked and came back twice: its child must not go on here. It would wait
        for work for ever, on descriptors that it shares with the worker."""
        _log.error("a handler's child process %d returned; it must end by itself", os.getpid())
        os._exit(1)

    def _end(self) -> None:
        self._flush()
        if self._finished is not None and not self._finished.done():
            self._finished.set_result(None)
