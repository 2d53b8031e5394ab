"""Tasks: functions that can also be enqueued, with their types kept."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeAlias, TypeVar, Unpack, cast

from reeve import _core
from reeve._context import Context, LocalRun
from reeve._errors import InvalidError
from reeve._job import Job
from reeve._options import (
    EnqueueOptions,
    check_enqueue_options,
    check_name,
    check_task_options,
    make_template,
)
from reeve._retry import Retry, retry_of
from reeve._signature import Arguments

if TYPE_CHECKING:
    from reeve._app import App

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

#: Arguments of one call in a bulk enqueue: a tuple of positional ones or a dict by name.
CallArgs: TypeAlias = Sequence[object] | Mapping[str, object]

#: Bulk enqueues go to the core in pieces of this many.
CHUNK_COUNT = 10_000


def bind_one(arguments: Arguments, item: CallArgs) -> bytes:
    """Payload of one entry of a bulk enqueue."""
    if isinstance(item, dict):
        return arguments.encode(arguments.bind(**item))
    if isinstance(item, (tuple, list)):
        return arguments.encode(arguments.bind(*item))
    raise TypeError(
        f"{arguments.task}: each entry must be a tuple of arguments or a dict by name, "
        f"not {type(item).__name__}"
    )


class BoundTask(Generic[P, R_co]):
    """A task with options for its next enqueues; made by ``task.using(...)``."""

    __slots__ = ("_app", "_arguments", "_given", "_options", "_queue", "_template")

    def __init__(
        self, app: App, arguments: Arguments, options: Mapping[str, Any], given: frozenset[str]
    ) -> None:
        self._app = app
        self._arguments = arguments
        self._options = dict(options)
        self._given = given
        self._template = make_template(arguments.task, options)
        self._queue: str = options.get("queue", "default")

    def using(self, **options: Unpack[EnqueueOptions]) -> BoundTask[P, R_co]:
        """The same task with these options on top. Unknown or bad ones raise."""
        check_enqueue_options(options)
        merged = {**self._options, **options}
        # the newer of two that exclude each other wins
        for name, other in (("delay", "at"), ("expires", "deadline")):
            if name in options and other not in options:
                merged.pop(other, None)
            if other in options and name not in options:
                merged.pop(name, None)
        return BoundTask(self._app, self._arguments, merged, frozenset(options) | self._given)

    def enqueue(self, /, *args: P.args, **kwargs: P.kwargs) -> Job[R_co]:
        """Stores the call and returns its job. Blocks for one round trip.

        Raises TypeError (arguments that do not fit) and EncodeError (one without a JSON form)
        before anything is stored, TaskExists, NetworkError, …
        """
        arguments = self._arguments
        payload = arguments.encode(arguments.bind(*args, **kwargs))
        inline = self._app._inline
        if inline is not None:
            return inline.run(self._template, self._queue, arguments, payload)
        _, id, _, _, existing = self._app.client.enqueue(self._template, payload)
        return Job(self._app, id, self._queue, arguments, bool(existing))

    def delay(self, /, *args: P.args, **kwargs: P.kwargs) -> Job[R_co]:
        """``enqueue`` under the name that Celery taught."""
        return self.enqueue(*args, **kwargs)

    async def aenqueue(self, /, *args: P.args, **kwargs: P.kwargs) -> Job[R_co]:
        """``enqueue`` without blocking the event loop; concurrent calls share round trips."""
        arguments = self._arguments
        payload = arguments.encode(arguments.bind(*args, **kwargs))
        inline = self._app._inline
        if inline is not None:
            return await inline.arun(self._template, self._queue, arguments, payload)
        id, existing = await self._app._asender().send(self._template, payload)
        return Job(self._app, id, self._queue, arguments, existing)

    def enqueue_many(self, calls: Iterable[CallArgs]) -> list[Job[R_co]]:
        """Stores many calls in few round trips; tuples of arguments, or dicts by name.

        All arguments are checked before anything is stored.
        """
        payloads = self._payloads(calls)
        return self._store_many(payloads)

    async def aenqueue_many(self, calls: Iterable[CallArgs]) -> list[Job[R_co]]:
        """``enqueue_many`` without blocking the event loop."""
        import asyncio

        payloads = self._payloads(calls)
        return await asyncio.to_thread(self._store_many, payloads)

    def _payloads(self, calls: Iterable[CallArgs]) -> list[bytes]:
        arguments = self._arguments
        bind, encode = arguments.bind, arguments.encode
        payloads = [
            encode(bind(*call)) if type(call) is tuple else bind_one(arguments, call)
            for call in calls
        ]
        if len(payloads) > 1:
            for name in ("id", "idempotency_key"):
                if self._options.get(name) is not None:
                    raise InvalidError(f"{name} names one job; it cannot be given to many")
        return payloads

    def _store_many(self, payloads: list[bytes]) -> list[Job[R_co]]:
        app, arguments, queue = self._app, self._arguments, self._queue
        inline = app._inline
        if inline is not None:
            return [inline.run(self._template, queue, arguments, p) for p in payloads]
        jobs: list[Job[R_co]] = []
        for first in range(0, len(payloads), CHUNK_COUNT):
            ids = app.client.enqueue_many(self._template, payloads[first : first + CHUNK_COUNT])
            jobs += [Job(app, id, queue, arguments) for id in ids]
        return jobs

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._arguments.task} in {self._queue}>"


class BaseTask(BoundTask[P, R_co]):
    """What tasks of both kinds share."""

    __name__: str
    __qualname__: str
    __wrapped__: Callable[..., Any]

    __slots__ = ("__dict__", "__weakref__", "fn", "is_async", "name", "queue", "retry")

    def __init__(self, app: App, fn: Callable[..., Any], options: Mapping[str, Any]) -> None:
        self.fn = fn
        self.is_async = inspect.iscoroutinefunction(fn)
        check_task_options(options, self.is_async)
        self.name = check_name(options.get("name", default_name(fn)), "task name")
        self.retry: Retry | None = retry_of(options.get("retry"))
        kept = {k: v for k, v in options.items() if k not in ("name", "executor")}
        arguments = Arguments(fn, self.name)
        super().__init__(app, arguments, kept, frozenset())
        self.queue: str = self._queue
        # what functools.update_wrapper would copy; inspect.signature follows __wrapped__
        for name in ("__module__", "__name__", "__qualname__", "__doc__"):
            setattr(self, name, getattr(fn, name, None))
        self.__wrapped__ = fn

    @property
    def arguments(self) -> Arguments:
        """Its parameters, for workers."""
        return self._arguments

    @property
    def template(self) -> _core.Template:
        """Its options in the core's form."""
        return self._template

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._arguments.wants_context:
            return self.fn(Context(LocalRun(self.name, self.queue)), *args, **kwargs)
        return self.fn(*args, **kwargs)


def default_name(fn: Callable[..., Any]) -> str:
    """``module.qualname`` with what names may not contain left out."""
    qualname: str = fn.__qualname__.replace("<locals>.", "")
    module = fn.__module__
    if module == "__main__":
        module = _main_module()
    return f"{module}.{qualname}"


def _main_module() -> str:
    """The name under which a worker imports the program: of ``-m name``, else of its file."""
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None and spec.name:
        return str(spec.name)
    return Path(file).stem if file else "__main__"


class Task(BaseTask[P, R_co]):
    """A plain function that can be enqueued. Workers run it in a thread."""

    __slots__ = ()

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Runs the function here and now; nothing is enqueued."""
        return cast(R_co, self._call(args, kwargs))


class AsyncTask(BaseTask[P, R_co]):
    """An ``async def`` function that can be enqueued. Workers run it on their event loop."""

    __slots__ = ()

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]:
        """Runs the function here and now; nothing is enqueued."""
        return cast("Coroutine[Any, Any, R_co]", self._call(args, kwargs))


#: A task of either kind, whatever its parameters.
AnyTask: TypeAlias = BaseTask[..., Any]
