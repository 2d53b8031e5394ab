"""Options are checked by name, type and bound where they are written; nothing is stored."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reeve import App, InvalidError, NotFound, Retry, UnsupportedError, UsageError
from reeve.worker import Worker

AWARE = datetime(2026, 1, 1, tzinfo=UTC)
LONG = "x" * 129

BAD_ANYWHERE: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"queue": ""}, InvalidError, "queue is ''"),
    ({"queue": "a b"}, InvalidError, "queue is 'a b'"),
    ({"queue": "a\n"}, InvalidError, "queue"),
    ({"queue": "ä"}, InvalidError, "queue"),
    ({"queue": LONG}, InvalidError, "1 to 128"),
    ({"queue": 5}, TypeError, "queue must be a string, not int"),
    ({"priority": 10}, InvalidError, "priority is 10; it must be 0 to 9"),
    ({"priority": -1}, InvalidError, "priority is -1"),
    ({"priority": "high"}, TypeError, "priority must be an integer"),
    ({"priority": True}, TypeError, "priority must be an integer"),
    ({"retry": -1}, InvalidError, "retry is -1"),
    ({"retry": "3"}, TypeError, "retry must be a Retry or an integer"),
    ({"retry": True}, TypeError, "retry must be"),
    ({"timeout": 0}, InvalidError, "timeout is 0"),
    ({"timeout": -5}, InvalidError, "timeout is -5"),
    ({"timeout": "soon"}, InvalidError, "timeout is 'soon'"),
    ({"timeout": object()}, TypeError, "timeout must be"),
    ({"expires": 0}, InvalidError, "expires is 0"),
    ({"retention": "always"}, InvalidError, "retention is 'always'"),
    ({"retention": -1}, InvalidError, "retention is -1"),
    ({"retention": "4000d"}, InvalidError, "ten years"),
    ({"lease": "0s"}, InvalidError, "lease"),
    ({"max_crashes": 0}, InvalidError, "max_crashes is 0"),
    ({"max_crashes": 1.5}, TypeError, "max_crashes must be an integer"),
]
BAD_TASK: list[tuple[dict[str, Any], type[Exception], str]] = [
    *BAD_ANYWHERE,
    ({"name": "a b"}, InvalidError, "task name is 'a b'"),
    ({"name": 5}, TypeError, "task name must be a string"),
    ({"executor": "process"}, InvalidError, "does not exist yet"),
    ({"executor": "fiber"}, InvalidError, "executor is 'fiber'"),
    ({"executor": "async"}, InvalidError, "needs an async def"),
    ({"quue": "mail"}, TypeError, "task has no option 'quue'; did you mean 'queue'"),
    ({"wibble": 1}, TypeError, "known are executor, expires"),
    ({"tags": {}}, TypeError, "tags are not supported"),
    ({"delay": 5}, TypeError, "no option 'delay'"),
]
BAD_ENQUEUE: list[tuple[dict[str, Any], type[Exception], str]] = [
    *BAD_ANYWHERE,
    ({"delay": -1}, InvalidError, "delay is -1"),
    ({"delay": 1, "at": AWARE}, InvalidError, "delay or at, not both"),
    ({"at": datetime(2026, 1, 1)}, InvalidError, "without a time zone"),
    ({"at": "noon"}, TypeError, "at must be a datetime"),
    ({"deadline": 5}, TypeError, "deadline must be a datetime"),
    ({"deadline": AWARE, "expires": 5}, InvalidError, "expires or deadline, not both"),
    ({"id": "a b"}, InvalidError, "id is 'a b'"),
    ({"id": 7}, TypeError, "id must be a string"),
    ({"idempotency_key": ""}, InvalidError, "1 to 128 bytes"),
    ({"idempotency_key": "é" * 65}, InvalidError, "1 to 128 bytes"),
    ({"idempotency_key": b"x"}, TypeError, "must be a string"),
    ({"headers": []}, TypeError, "headers must be a mapping"),
    ({"headers": {"a": 1}}, TypeError, "strings to strings"),
    ({"headers": {"": "x"}}, InvalidError, "empty name"),
    ({"headers": {str(i): "" for i in range(65)}}, InvalidError, "at most 64"),
    ({"retry": Retry(never=(KeyError,))}, InvalidError, "belong to the task"),
    ({"name": "x"}, TypeError, r"using\(\) has no option 'name'"),
    ({"dealy": 5}, TypeError, "did you mean 'delay'"),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD_TASK, ids=str)
def test_task_refuses(
    mem_app: App, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):

        @mem_app.task(**options)
        def handler() -> None: ...

    assert not mem_app.tasks


@pytest.mark.parametrize(("options", "error", "message"), BAD_ENQUEUE, ids=str)
def test_using_refuses(
    mem_app: App, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    @mem_app.task
    def handler() -> None: ...

    with pytest.raises(error, match=message):
        handler.using(**options)
    with pytest.raises(error, match=message):
        mem_app.enqueue("handler", {}, **options)
    assert mem_app.queues() == []


def test_a_task_that_expires_before_it_is_due_is_refused(mem_app: App) -> None:
    @mem_app.task
    def handler() -> None: ...

    with pytest.raises(InvalidError, match=r"delay_ms 10800000 .* deadline_at_ms"):
        handler.using(delay="3h", expires="1h").enqueue()
    with pytest.raises(InvalidError, match=r"due_at_ms .* deadline_at_ms"):
        handler.using(at=AWARE, deadline=AWARE).enqueue()
    assert mem_app.queues() == []
    handler.using(delay="1h", expires="3h").enqueue()
    handler.using(deadline=datetime(2001, 1, 1, tzinfo=UTC)).enqueue()


def test_async_cannot_run_in_a_thread(mem_app: App) -> None:
    with pytest.raises(InvalidError, match="needs a plain function"):

        @mem_app.task(executor="thread")
        async def handler() -> None: ...


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_attempts": 0}, InvalidError, "max_attempts is 0"),
        ({"max_attempts": "5"}, TypeError, "max_attempts must be an integer or None"),
        ({"backoff": "cubic"}, InvalidError, "backoff is 'cubic'; one of exponential"),
        ({"jitter": "some"}, InvalidError, "jitter is 'some'"),
        ({"base": 0}, InvalidError, "base is 0"),
        ({"cap": "x"}, InvalidError, "cap is 'x'"),
        ({"factor": 0.5}, InvalidError, "factor is 0.5; it must be 1 to 100"),
        ({"factor": float("nan")}, InvalidError, "factor is nan"),
        ({"factor": "2"}, InvalidError, "factor is '2'"),
        ({"max_elapsed": -1}, InvalidError, "max_elapsed"),
        ({"delays": []}, InvalidError, "delays has 0 entries"),
        ({"delays": [1] * 33}, InvalidError, "delays has 33 entries"),
        ({"delays": ["x"]}, InvalidError, r"delays\[0\] is 'x'"),
        ({"on": "ValueError"}, TypeError, "on must be a tuple of exception classes"),
        ({"never": (5,)}, TypeError, "never must be"),
        ({"tries": 5}, TypeError, "tries"),
    ],
    ids=str,
)
def test_retry_refuses(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Retry(**options)


def test_retry_reads_what_people_write(mem_app: App) -> None:
    @mem_app.task(retry=3)
    def three() -> None: ...

    assert three.retry == Retry(max_attempts=4)
    assert Retry(on=ValueError).on == (ValueError,)  # type: ignore[arg-type]
    assert Retry(base="2s", cap=timedelta(minutes=1), max_attempts=None).to_core() == (
        1,
        0,
        -1,
        2000,
        60_000,
        2.0,
        0,
        (),
    )
    assert Retry(delays=[1, "5s"], jitter="none").to_core()[0] == 4


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"concurrency": 0}, InvalidError, "concurrency is 0"),
        ({"prefetch": 0}, InvalidError, "prefetch is 0; it must be 1 to 1000, 'auto' or 'none'"),
        ({"prefetch": 1001}, InvalidError, "prefetch is 1001; it must be 1 to 1000"),
        ({"prefetch": "most"}, InvalidError, "prefetch is 'most'; it must be 1 to 1000"),
        ({"prefetch": True}, TypeError, "prefetch must be an integer, 'auto' or 'none', not True"),
        ({"prefetch": 1.5}, TypeError, "prefetch must be an integer"),
        ({"archive": 0}, InvalidError, "archive is 0; it must not be less than 1 ms"),
        ({"archive_count": 0}, InvalidError, "archive_count is 0; it must be 1 to 2147483647"),
        ({"archive_count": "5"}, TypeError, "archive_count must be an integer"),
        ({"settle_count": 2000}, InvalidError, "settle_count is 2000; it must be 1 to 1024"),
        ({"settle_delay": "2h"}, InvalidError, "settle_delay"),
        ({"concurrency": 10_001}, InvalidError, "concurrency is 10001"),
        ({"concurrency": "5"}, TypeError, "concurrency must be an integer"),
        ({"order": "random"}, InvalidError, "order is 'random'"),
        ({"queues": {}}, InvalidError, "queues is empty"),
        ({"queues": "mail"}, TypeError, "queues must map names to weights, not str"),
        ({"queues": {"a": 0}}, InvalidError, "weight of queue a is 0"),
        ({"queues": {"a": 1001}}, InvalidError, "weight of queue a is 1001"),
        ({"queues": {"a b": 1}}, InvalidError, "queue is 'a b'"),
        ({"lease": "50ms"}, InvalidError, "lease"),
        ({"lease": -1}, InvalidError, "lease"),
        ({"grace": "x"}, InvalidError, "grace is 'x'"),
        ({"grace": 10**400}, InvalidError, "grace is an integer of 1329 bits; the longest"),
        ({"grace": "x" * 10**6}, InvalidError, "grace is 'xxxx"),
        ({"id": "a b"}, InvalidError, "worker id is 'a b'"),
        ({"concurency": 5}, TypeError, "did you mean 'concurrency'"),
    ],
    ids=str,
)
def test_worker_refuses(
    mem_app: App, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Worker(mem_app, **options)


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        (5, TypeError, "url must be a string"),
        ("localhost", InvalidError, "url has no scheme"),
        ("ftp://localhost", InvalidError, "unknown broker scheme ftp://"),
        ("redis://host:99999", InvalidError, "port"),
        ("redis+sentinel://host/main", UnsupportedError, "not in this version"),
        ("sqlite://relative.db", InvalidError, "must be absolute"),
        ("mem://x?y=1", InvalidError, "takes no options"),
        ("mem://x\0", InvalidError, "NUL character at 7"),
        ("mem://\udcff", InvalidError, "not valid UTF-8 at 6"),
    ],
    ids=str,
)
def test_bad_urls(url: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        App(url)
    app = App("mem://x")
    with pytest.raises(error):
        app.rebase(url)
    assert app.url == "mem://x"


def test_no_folder_for_the_default_broker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("REEVE_URL", raising=False)
    taken = tmp_path / "taken"
    taken.write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(taken))
    with pytest.raises(OSError, match=r"set REEVE_URL or XDG_STATE_HOME.*taken/reeve"):
        App().inspect.queues()


def test_default_broker_in_a_folder_that_is_no_utf8(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("REEVE_URL", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", os.fsdecode(bytes(tmp_path) + b"/\xff"))
    app = App()
    assert app.url.endswith("%FF/reeve/reeve.db")
    assert app.inspect.queues() == []


def test_bad_prefix_and_timeout() -> None:
    with pytest.raises(InvalidError, match="prefix"):
        App("mem://x", prefix="a b")
    with pytest.raises(InvalidError, match="timeout"):
        App("mem://x", timeout=0)


def test_bad_arguments_of_other_calls(mem_app: App) -> None:
    inspect = mem_app.inspect
    with pytest.raises(InvalidError, match="id is"):
        mem_app.job("a b")
    with pytest.raises(InvalidError, match="queue is"):
        mem_app.job("a", queue="b c")
    with pytest.raises(TypeError, match="args must be a mapping"):
        mem_app.enqueue("t", [1])  # type: ignore[arg-type]
    with pytest.raises(InvalidError, match="limit is 0"):
        mem_app.jobs("q", limit=0)
    with pytest.raises(ValueError, match="unknown task state 'lost'"):
        mem_app.jobs("q", "lost")  # type: ignore[arg-type]
    with pytest.raises(InvalidError, match="weight is 1001"):
        inspect.set_weight("q", 1001)
    with pytest.raises(TypeError, match="weight must be an integer"):
        inspect.set_weight("q", "6")  # type: ignore[arg-type]
    with pytest.raises(InvalidError, match="queue"):
        inspect.pause("a b")
    with pytest.raises(NotFound):
        inspect.queue("nowhere")
    with pytest.raises(NotFound):
        mem_app.dead.retry("q", "nothing")
    with pytest.raises(TypeError, match="args must be a dict"):
        inspect.edit("q", "id", [])  # type: ignore[arg-type]


def test_the_same_name_twice(mem_app: App) -> None:
    @mem_app.task(name="one")
    def first() -> None: ...

    with pytest.raises(UsageError, match="task one exists already"):

        @mem_app.task(name="one")
        def second() -> None: ...

    with pytest.raises(UsageError, match="is a task already"):
        mem_app.task(first)


@pytest.mark.parametrize(
    "what", [5, int, functools.partial(print, 1), staticmethod(print), object()], ids=str
)
def test_what_is_no_function(mem_app: App, what: Any) -> None:
    with pytest.raises(TypeError, match="must be a function"):
        mem_app.task(what)


def test_generators_are_no_tasks(mem_app: App) -> None:
    def one() -> Iterator[int]:
        yield 1

    async def other() -> AsyncIterator[int]:
        yield 1

    for generator in (one, other):
        with pytest.raises(TypeError, match="is a generator"):
            mem_app.task(generator)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factor": 10**400}, "factor is an integer of 1329 bits; it must be 1 to 100"),
        ({"backoff": []}, "backoff is []; one of"),
        ({"jitter": []}, "jitter is []; one of"),
        ({"delays": 5}, "delays must be a list of spans, not 5"),
        ({"base": -(10**400)}, "base is an integer of 1329 bits; it must not be less than 1 ms"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_retry_refuses_the_odd(options: dict[str, Any], message: str) -> None:
    with pytest.raises((InvalidError, TypeError), match=re.escape(message)):
        Retry(**options)


@pytest.mark.parametrize("options", [{"idempotency_key": "\ud800"}, {"headers": {"a": "\ud800"}}])
def test_half_a_character_is_no_text(mem_app: App, options: dict[str, Any]) -> None:
    task = mem_app.task(name="t")(lambda: None)
    with pytest.raises(InvalidError, match="no Unicode text: surrogates not allowed"):
        task.using(**options)


def test_parameters_may_have_any_name(mem_app: App) -> None:
    @mem_app.task
    def odd(a: int, self: int, args: int) -> None:
        """A name that a method's own could hide."""

    assert odd.enqueue(1, self=2, args=3).info().args == {"a": 1, "self": 2, "args": 3}
