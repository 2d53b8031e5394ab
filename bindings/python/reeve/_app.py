"""App: the tasks of a program and its connection to a broker."""

from __future__ import annotations

import inspect
import logging
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, Unpack, overload

from reeve import _core
from reeve._context import Context
from reeve._durations import Duration, to_ms
from reeve._errors import InvalidError, UsageError
from reeve._inspect import DeadLetters, Inspect, QueueInfo, WorkerInfo
from reeve._job import Job, JobInfo, State
from reeve._options import TaskOptions, check_name
from reeve._task import AnyTask, AsyncTask, Task

if TYPE_CHECKING:
    import asyncio

    from reeve._inline import Inline
    from reeve._sender import Sender
    from reeve.worker import Worker, WorkerOptions

P = ParamSpec("P")
R = TypeVar("R")

_log = logging.getLogger("reeve.core")
_LEVELS = {1: logging.ERROR, 2: logging.WARNING, 3: logging.INFO, 4: logging.DEBUG}


def core_log(level: int, line: str) -> None:
    """Takes a line of the core to the logger ``reeve.core``."""
    _log.log(_LEVELS.get(level, logging.INFO), "%s", line)


def _core_level() -> int:
    level = _log.getEffectiveLevel()
    if level <= logging.DEBUG:
        return 4
    return 3 if level <= logging.INFO else 2


def default_url() -> str:
    """REEVE_URL, or an SQLite file in the user's state directory (XDG_STATE_HOME)."""
    url = os.environ.get("REEVE_URL")
    if url:
        return url
    from urllib.parse import quote

    base = os.environ.get("XDG_STATE_HOME")
    state = Path(base) if base and Path(base).is_absolute() else Path.home() / ".local" / "state"
    folder = state / "reeve"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise OSError(
            error.errno,
            f"no folder for the default broker's file ({error.strerror}); set REEVE_URL or "
            "XDG_STATE_HOME",
            str(folder),
        ) from None
    return "sqlite://" + quote(os.fsencode(folder / "reeve.db"))


def _checked_url(url: object) -> str:
    """Raises TypeError, InvalidError, UnsupportedError. Says nothing of the URL itself, which may
    hold a password, but where it is wrong."""
    if not isinstance(url, str):
        raise TypeError(f"url must be a string, not {type(url).__name__}")
    if "\0" in url:
        raise InvalidError(f"url has a NUL character at {url.index(chr(0))}")
    try:
        url.encode()
    except UnicodeEncodeError as error:
        raise InvalidError(f"url is not valid UTF-8 at {error.start}") from None
    _core.check_url(url)
    return url


class TaskDecorator:
    """``@app.task(...)`` with options, waiting for its function."""

    __slots__ = ("_app", "_options")

    def __init__(self, app: App, options: Mapping[str, Any]) -> None:
        self._app = app
        self._options = options

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, fn: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, fn: Callable[Concatenate[Context, P], R], /) -> Task[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Task[P, R]: ...
    def __call__(self, fn: Callable[..., Any], /) -> AnyTask:
        return self._app._register(fn, self._options)


class App:
    """Tasks and a broker.

    ``url``: ``redis://``, ``rediss://``, ``redis+unix://``, ``sqlite:///path`` or ``mem://name``;
    by default the environment variable REEVE_URL, else an SQLite file in the user's state
    directory. A bad one is refused at once; nothing is opened before the first call that needs
    the broker. Safe to share between threads, and across fork.

    ``prefix`` is put before every key in Redis; ``timeout`` bounds one call to the broker,
    reconnects included.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        prefix: str | None = None,
        timeout: Duration = 5.0,
    ) -> None:
        self._url = None if url is None else _checked_url(url)
        self._prefix = None if prefix is None else check_name(prefix, "prefix")
        self._timeout_ms = to_ms(timeout, "timeout", least_ms=1)
        self._tasks: dict[str, AnyTask] = {}
        self._lock = threading.Lock()
        self._env: _core.Env | None = None
        self._client: _core.Client | None = None
        self._inspector: _core.Inspector | None = None
        self._senders: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Sender] = (
            weakref.WeakKeyDictionary()
        )
        self._inline: Inline | None = None
        self._harnessed = False
        self.inspect = Inspect(self)

    # Tasks

    @overload
    def task(  # type: ignore[overload-overlap]
        self, fn: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def task(self, fn: Callable[Concatenate[Context, P], R], /) -> Task[P, R]: ...
    @overload
    def task(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def task(self, fn: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(self, /, **options: Unpack[TaskOptions]) -> TaskDecorator: ...
    def task(
        self, fn: Callable[..., Any] | None = None, /, **options: Unpack[TaskOptions]
    ) -> AnyTask | TaskDecorator:
        """Makes a task of a function: ``@app.task`` or ``@app.task(queue="mail", …)``.

        Bad or unknown options raise here, when the module is imported.
        """
        if fn is None:
            return TaskDecorator(self, options)
        return self._register(fn, options)

    def _register(self, fn: Callable[..., Any], options: Mapping[str, Any]) -> AnyTask:
        if isinstance(fn, (Task, AsyncTask)):
            raise UsageError(f"{fn.name} is a task already")
        odd = isinstance(fn, (type, staticmethod, classmethod)) or not callable(fn)
        if odd or not hasattr(fn, "__qualname__"):
            raise TypeError(f"a task must be a function, not {type(fn).__name__}")
        if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
            raise TypeError(f"{fn.__qualname__} is a generator; a task must return its result")
        task: AnyTask
        if inspect.iscoroutinefunction(fn):
            task = AsyncTask(self, fn, options)
        else:
            task = Task(self, fn, options)
        if task.name in self._tasks:
            raise UsageError(f"task {task.name} exists already; give one of them a name=")
        self._tasks[task.name] = task
        return task

    @property
    def tasks(self) -> Mapping[str, AnyTask]:
        """Tasks by name."""
        return dict(self._tasks)

    # Connections

    @property
    def url(self) -> str:
        """The broker's URL, with the default filled in."""
        if self._url is None:
            self._url = _checked_url(default_url())
        return self._url

    def rebase(self, url: str, *, prefix: str | None = None) -> None:
        """Uses another broker from now on; what was open is closed."""
        url = _checked_url(url)
        self.close()
        self._url = url
        if prefix is not None:
            self._prefix = check_name(prefix, "prefix")

    @property
    def prefix(self) -> str | None:
        """Prefix of every key in Redis; None = "reeve"."""
        return self._prefix

    @property
    def env(self) -> _core.Env:
        """The core's environment: clock and log."""
        if self._env is None:
            self._env = _core.Env(log=core_log, log_level=_core_level())
        return self._env

    @property
    def client(self) -> _core.Client:
        """The producer's connection, opened when first used."""
        client = self._client
        if client is None:
            with self._lock:
                if self._client is None:
                    self._client = _core.Client(
                        self.url, self.env, prefix=self._prefix, timeout_ms=self._timeout_ms
                    )
                client = self._client
        return client

    @property
    def inspector(self) -> _core.Inspector:
        """The operator's connection, opened when first used."""
        inspector = self._inspector
        if inspector is None:
            with self._lock:
                if self._inspector is None:
                    self._inspector = _core.Inspector(
                        self.url, self.env, prefix=self._prefix, timeout_ms=self._timeout_ms
                    )
                inspector = self._inspector
        return inspector

    def _asender(self) -> Sender:
        import asyncio

        loop = asyncio.get_running_loop()
        sender = self._senders.get(loop)
        if sender is None:
            from reeve._sender import Sender

            # not a bound property: an app whose connection is swapped must be followed
            sender = self._senders[loop] = Sender(lambda: self.client)
        return sender

    def close(self) -> None:
        """Closes the connections; the next call opens new ones."""
        with self._lock:
            client, self._client = self._client, None
            inspector, self._inspector = self._inspector, None
            senders = list(self._senders.values())
            self._senders.clear()
        for sender in senders:
            sender.close()
        if client is not None:
            client.close()
        if inspector is not None:
            inspector.close()

    def __enter__(self) -> App:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # Jobs and queues

    def job(self, id: str, queue: str = "default") -> Job[Any]:
        """A handle on a job that is known by its id."""
        return Job(self, check_name(id, "id"), check_name(queue, "queue"))

    def enqueue(
        self, task: str, args: Mapping[str, Any], *, queue: str = "default", **options: Any
    ) -> Job[Any]:
        """Enqueues by name: for handlers that live in another program or language.

        ``args`` is a JSON object by parameter name; options are those of ``using``.
        """
        from reeve import _codec
        from reeve._options import check_enqueue_options, make_template

        if not isinstance(args, Mapping):
            raise TypeError(f"args must be a mapping by name, not {type(args).__name__}")
        given: dict[str, Any] = {**options, "queue": queue}
        check_enqueue_options(given)
        template = make_template(check_name(task, "task name"), given)
        _, id, _, _, existing = self.client.enqueue(template, _codec.dumps(dict(args)))
        return Job(self, id, queue, None, bool(existing))

    def queues(self) -> list[QueueInfo]:
        """All queues with their counts."""
        return self.inspect.queues()

    def jobs(self, queue: str, state: State = "pending", limit: int = 50) -> list[JobInfo]:
        """The first jobs of a queue in one state."""
        return self.inspect.jobs(queue, state, limit)

    def workers(self) -> list[WorkerInfo]:
        """Live workers."""
        return self.inspect.workers()

    @property
    def dead(self) -> DeadLetters:
        """The dead letter."""
        return self.inspect.dead

    # Running

    def worker(self, **options: Unpack[WorkerOptions]) -> Worker:
        """A worker for this app's tasks in this process; see ``reeve.worker.Worker``."""
        from reeve.worker import Worker

        return Worker(self, **options)

    def inline(self) -> AbstractContextManager[None]:
        """Inside ``with app.inline():`` an enqueue runs the task at once, through the same
        encoding, retries and outcomes as a worker; for tests and scripts."""
        from reeve._inline import inline

        return inline(self)

    def __repr__(self) -> str:
        url = self._url or "(default)"
        scheme, _, rest = url.partition("://")
        host = rest.rpartition("@")[2]
        return f"<App {scheme}://{host} with {len(self._tasks)} tasks>"
