"""Workers on every broker: both kinds of handlers, outcomes, timeouts, stopping."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from conftest import Counted, wait_for
from reeve import (
    App,
    Context,
    Fatal,
    JobFailed,
    NotFound,
    Retry,
    Skip,
    Snooze,
    StateError,
    current,
)
from reeve.worker import Worker, shown_url

FAST = Retry(max_attempts=3, base=0.01, jitter="none")


@dataclass
class Parcel:
    weight: float
    tags: set[str]


@pytest.fixture
def settled() -> Iterator[None]:
    """Warnings of failing handlers are wanted here."""
    logging.getLogger("reeve").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("reeve").setLevel(logging.NOTSET)


def until_state(job: Any, state: str | None) -> None:
    wait_for(lambda: job.state == state)


def test_both_kinds_with_results(app: App, calls: Counted) -> None:
    @app.task(retention="1h")
    def pack(parcel: Parcel) -> Parcel:
        calls.add(threading.current_thread().name)
        return Parcel(parcel.weight * 2, parcel.tags | {"packed"})

    @app.task(retention="1h")
    async def ship(parcel: Parcel) -> None:
        await asyncio.sleep(0)
        calls.add(threading.current_thread().name)

    with app.worker(concurrency=4) as worker:
        packed = pack.enqueue(Parcel(1.5, {"a"}))
        shipped = ship.enqueue(Parcel(1, set()))
        names = calls.wait(2)
        until_state(packed, "completed")
        until_state(shipped, "completed")
        assert worker.id in [w.id for w in app.workers()] or app.workers() == []
    assert packed.result() == Parcel(3.0, {"a", "packed"})
    assert shipped.result() is None
    assert sorted(str(n) for n in names) == ["reeve-1", "reeve-worker"]
    assert worker.stats()["done"] == 2


def test_the_dead_letter_is_bounded(app: App, settled: None) -> None:
    @app.task
    def fail(n: int) -> None:
        raise Fatal(f"number {n}")

    with app.worker(archive="1h", archive_count=2, settle_delay=0) as worker:
        jobs = [fail.enqueue(n) for n in range(5)]
        wait_for(lambda: worker.stats()["archived"] == 5)
    kept = [job.id for job in jobs if job.state == "archived"]
    assert len(kept) == 2
    assert app.inspect.queue("default").archived == 2
    info = app.job(kept[0]).info()
    assert info.expires_at is not None
    assert info.expires_at - info.history[-1].at < timedelta(hours=1, minutes=1)


def test_without_retention_a_job_is_gone_when_done(app: App, calls: Counted) -> None:
    @app.task
    async def note(n: int) -> int:
        calls.add(n)
        return n

    with app.worker():
        job = note.enqueue(5)
        calls.wait(1)
        until_state(job, None)
    with pytest.raises(NotFound):
        job.result()


def test_context_and_current(app: App, calls: Counted) -> None:
    @app.task(queue="q", retry=FAST)
    async def plain() -> None:
        await asyncio.sleep(0)
        calls.add((current().id, current().queue))

    @app.task(queue="q", retry=FAST)
    def full(ctx: Context, n: int) -> None:
        assert current() is ctx
        calls.add(
            (ctx.id, ctx.attempt, ctx.max_attempts, ctx.token > 0, ctx.headers, ctx.cancelled)
        )
        if ctx.attempt == 1:
            raise ValueError(n)

    with app.worker():
        first = plain.enqueue()
        assert calls.wait(1) == [(first.id, "q")]
        second = full.using(headers={"a": "b"}).enqueue(1)
        seen = calls.wait(3)
    assert seen[1:] == [
        (second.id, 1, 3, True, {"a": "b"}, False),
        (second.id, 2, 3, True, {"a": "b"}, False),
    ]
    with pytest.raises(StateError, match="no task is running"):
        current()


def test_failures_end_in_the_dead_letter(app: App, settled: None) -> None:
    @app.task(retry=FAST)
    def broken(a: int) -> int:
        return 1 // a

    @app.task(retry=FAST)
    async def broken_too(a: int) -> int:
        return 1 // a

    with app.worker():
        jobs = [broken.enqueue(0), broken_too.enqueue(0)]
        for job in jobs:
            until_state(job, "archived")
    for job in jobs:
        info = job.info()
        assert info.attempts == 3
        assert [a.attempt for a in info.history] == [1, 2, 3]
        assert info.history[-1].error_type == "ZeroDivisionError"
        assert "1 // a" in info.history[-1].traceback
        assert "_runner" not in info.history[-1].traceback
        with pytest.raises(JobFailed) as caught:
            job.result()
        error = caught.value
        assert (error.error_type, error.attempts) == ("ZeroDivisionError", 3)
        assert "by zero" in str(error)
        assert error.reason == "attempts exhausted"


def test_what_a_handler_may_raise(app: App, calls: Counted, settled: None) -> None:
    policy = Retry(
        max_attempts=5, base=0.01, jitter="none", on=(OSError, ValueError), never=(TimeoutError,)
    )

    @app.task(retry=policy)
    def handler(ctx: Context, what: str) -> None:
        calls.add((what, ctx.attempt))
        if what == "fatal":
            raise Fatal("no use")
        if what == "never":
            raise TimeoutError("listed in never")
        if what == "not-on":
            raise KeyError("not listed in on")
        if what == "skip":
            raise Skip
        if what == "exit":
            raise SystemExit(3)
        if len([v for v in calls.values if v[0] == what]) < 3:
            if what == "snooze":
                raise Snooze(0.01)
            raise Retry.later("busy", delay=0.01)

    with app.worker():
        jobs = {
            what: handler.enqueue(what)
            for what in ("fatal", "never", "not-on", "exit", "skip", "snooze", "later")
        }
        for what in ("fatal", "never", "not-on", "exit"):
            until_state(jobs[what], "archived")
        for what in ("skip", "snooze", "later"):
            until_state(jobs[what], None)
    attempts = {w: [a for x, a in calls.values if x == w] for w in jobs}
    assert attempts == {
        "fatal": [1],
        "never": [1],
        "not-on": [1],
        "exit": [1],
        "skip": [1],
        "snooze": [1, 1, 1],
        "later": [1, 2, 3],
    }
    assert jobs["fatal"].info().history[0].error_type == "reeve.Fatal"
    assert jobs["exit"].info().history[0].error_type == "SystemExit"


def test_payloads_that_do_not_fit_are_fatal(app: App, settled: None) -> None:
    @app.task(name="typed", retry=FAST)
    def typed(n: int) -> None: ...

    with app.worker():
        jobs = [
            app.enqueue("typed", {"m": 1}),
            app.enqueue("typed", {}),
        ]
        for job in jobs:
            until_state(job, "archived")
    info = jobs[0].info()
    assert info.attempts == 1
    assert info.history[0].error_type == "reeve.PayloadMismatch"
    assert "unknown m; missing n" in info.history[0].error_message
    assert info.reason == "fatal error"


def test_unknown_tasks_are_retried(app: App, settled: None) -> None:
    with app.worker(queues={"default": 1}):
        job = app.enqueue("from.tomorrow", {})
        until_state(job, "retry")
    assert job.info().error == "UnknownTask: this worker has no task 'from.tomorrow'"


def test_a_result_without_json_is_fatal(app: App, settled: None) -> None:
    @app.task(retention="1h")
    def handler() -> object:
        return object()

    with app.worker():
        job = handler.enqueue()
        until_state(job, "archived")
    assert "cannot be stored: object has no JSON form" in (job.info().error or "")


def test_odd_messages_of_exceptions(app: App, settled: None) -> None:
    class Nasty(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    @app.task(retry=0)
    def handler(n: int) -> None:
        if n:
            raise Nasty
        raise ValueError("lone \ud800 surrogate")

    with app.worker():
        jobs = [handler.enqueue(n) for n in (0, 1)]
        for job in jobs:
            until_state(job, "archived")
    assert "\\ud800" in (jobs[0].info().error or "")
    assert "its message raised RuntimeError" in (jobs[1].info().error or "")


def test_timeouts_reach_both_kinds(
    app: App, calls: Counted, caplog: pytest.LogCaptureFixture
) -> None:
    @app.task(timeout="100ms", retry=0)
    async def sleeps() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            calls.add("async ended")

    @app.task(timeout="100ms", retry=0)
    def spins(ctx: Context) -> None:
        while not ctx.cancelled:
            time.sleep(0.001)
        calls.add("thread ended")

    with app.worker():
        jobs = [sleeps.enqueue(), spins.enqueue()]
        assert sorted(map(str, calls.wait(2))) == ["async ended", "thread ended"]
        for job in jobs:
            until_state(job, "archived")
    for job in jobs:
        assert "TimeoutError" in (job.info().error or "")
        lines = [r.message for r in caplog.records if f"{job.id} of " in r.message]
        (line,) = lines
        assert (
            "in queue default: attempt 1 of 1, dead (attempts exhausted): TimeoutError: ran" in line
        )


def test_a_thread_that_ignores_its_timeout_is_replaced(
    app: App, calls: Counted, settled: None
) -> None:
    release = threading.Event()

    @app.task(timeout="50ms", retry=0)
    def deaf() -> None:
        calls.add("deaf")
        release.wait(30)
        calls.add("heard")

    @app.task
    def next_one(n: int) -> None:
        calls.add(n)

    with app.worker(concurrency=1):
        deaf.enqueue()
        calls.wait(1)
        next_one.enqueue_many([(n,) for n in range(3)])
        assert calls.wait(4) == ["deaf", 0, 1, 2]
        release.set()
        calls.wait(5)
        next_one.enqueue(3)
        assert calls.wait(6)[4:] == ["heard", 3]
        names = [t.name for t in threading.enumerate()]
        assert sum(name in ("reeve-1", "reeve-2") for name in names) <= 2


def test_a_handler_that_cancels_its_own_task_fails(app: App, settled: None) -> None:
    @app.task(retry=0)
    async def give_up() -> None:
        asyncio.current_task().cancel()  # type: ignore[union-attr]
        await asyncio.sleep(1)

    with app.worker():
        job = give_up.enqueue()
        until_state(job, "archived")
    assert "CancelledError" in (job.info().error or "")


def test_a_handler_that_cancels_itself_fails(app: App, settled: None) -> None:
    @app.task(retry=0)
    async def handler() -> None:
        raise asyncio.CancelledError("by itself")

    with app.worker():
        job = handler.enqueue()
        until_state(job, "archived")
    assert "CancelledError: by itself" in (job.info().error or "")


def test_deadlines(app: App, calls: Counted) -> None:
    @app.task(queue="q")
    def handler() -> None:
        calls.add()

    job = handler.using(expires="10ms").enqueue()
    deadline = job.info().enqueued_at.timestamp() + 0.01
    wait_for(lambda: time.time() > deadline + 0.01)
    with app.worker():
        until_state(job, "archived")
    assert job.info().reason == "deadline passed"
    assert calls.values == []


def test_stop_waits_for_handlers_and_hands_back_the_rest(app: App) -> None:
    started, let_go = threading.Event(), threading.Event()

    @app.task(retention="1h")
    def slow(n: int) -> None:
        started.set()
        let_go.wait(20)

    jobs = slow.enqueue_many([(n,) for n in range(5)])
    worker = app.worker(concurrency=1)
    worker.start()
    assert started.wait(20)
    worker.stop()
    assert not worker.join(0.05)
    let_go.set()
    assert worker.join(20)
    assert [job.state for job in jobs] == ["completed", *["pending"] * 4]
    with pytest.raises(StateError, match="was started before"):
        worker.start()


def test_a_second_stop_does_not_wait(app: App, calls: Counted) -> None:
    @app.task
    async def forever() -> None:
        calls.add("on")
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            calls.add("off")
            raise

    job = forever.enqueue()
    worker = app.worker()
    worker.start()
    calls.wait(1)
    worker.stop()
    worker.stop()
    assert worker.join(20)
    assert calls.values == ["on", "off"]
    assert job.state == "pending"
    assert job.info().attempts == 0


def test_grace_ends(app: App, calls: Counted) -> None:
    release = threading.Event()

    @app.task
    def stubborn() -> None:
        calls.add()
        release.wait(30)

    job = stubborn.enqueue()
    worker = app.worker(grace="50ms")
    worker.start()
    calls.wait(1)
    worker.stop()
    assert worker.join(20)
    assert job.state == "pending"
    release.set()


def test_quiet(app: App, calls: Counted) -> None:
    @app.task
    async def handler(n: int) -> None:
        calls.add(n)

    with app.worker() as worker:
        handler.enqueue(1)
        calls.wait(1)
        worker.quiet()
        job = handler.enqueue(2)
        until_state(job, "pending")  # at once, or handed back unstarted
        assert calls.values == [1]
        worker.quiet(False)
        calls.wait(2)


def test_more_jobs_than_slots(app: App, calls: Counted) -> None:
    running = 0
    most = 0

    @app.task
    async def handler(n: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        calls.add(n)

    handler.enqueue_many([(n,) for n in range(500)])
    with app.worker(concurrency=7):
        seen = calls.wait(500)
    assert sorted(seen) == list(range(500))
    assert 1 < most <= 7


def test_threads_up_to_concurrency(app: App, calls: Counted) -> None:
    barrier = threading.Barrier(3)

    @app.task
    def handler() -> None:
        barrier.wait(20)  # passes only when three run at once
        calls.add()

    handler.enqueue_many([()] * 300)
    with app.worker(concurrency=3):
        calls.wait(300)


@pytest.mark.parametrize("concurrency", [1, 7])
def test_handlers_do_not_share_what_they_set(app: App, calls: Counted, concurrency: int) -> None:
    """Context variables of a handler are its own, also when one thread runs them all."""
    told: ContextVar[int] = ContextVar("told", default=-1)

    @app.task
    def handler(n: int) -> None:
        calls.add((told.get(), current().attempt))
        told.set(n)

    @app.task
    async def ahandler(n: int) -> None:
        calls.add((told.get(), current().attempt))
        told.set(n)
        if n % 3 == 0:
            await asyncio.sleep(0)

    handler.enqueue_many([(n,) for n in range(50)])
    ahandler.enqueue_many([(n,) for n in range(50)])
    with app.worker(concurrency=concurrency):
        assert calls.wait(100) == [(-1, 1)] * 100


def test_quick_handlers_share_a_thread_and_slow_ones_do_not(app: App, calls: Counted) -> None:
    """Quick ones next to coroutines and to one that blocks; none waits for the blocked one."""
    release = threading.Event()

    @app.task
    def slow() -> None:
        calls.add("slow")
        release.wait(20)
        calls.add("end")

    @app.task
    def quick(n: int) -> None:
        calls.add(n)

    @app.task
    async def aquick(n: int) -> None:
        await asyncio.sleep(0)
        calls.add(-n)

    with app.worker(concurrency=3):
        slow.enqueue()
        calls.wait(1)
        quick.enqueue_many([(n,) for n in range(1, 101)])
        aquick.enqueue_many([(n,) for n in range(1, 101)])
        seen = calls.wait(201)
        assert sorted(seen[1:]) == [*range(-100, 0), *range(1, 101)]
        release.set()
        assert calls.wait(202)[-1] == "end"
        assert sum(t.name.startswith("reeve-") for t in threading.enumerate()) <= 6


def test_no_thread_is_left_behind(app: App, calls: Counted) -> None:
    @app.task
    def handler() -> None:
        calls.add(threading.current_thread())

    handler.enqueue_many([()] * 20)
    with app.worker(concurrency=4):
        threads = calls.wait(20)
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("prefetch", "least", "most"), [("auto", 1, 1000), (3, 1, 3), ("none", -1, 0)]
)
@pytest.mark.parametrize("is_async", [False, True], ids=["thread", "loop"])
def test_prefetch(
    mem_app: App, calls: Counted, prefetch: Any, least: int, most: int, is_async: bool
) -> None:
    """Quick jobs are claimed ahead, within the bound; two run at a time nevertheless."""
    running = 0

    def handler() -> None:
        nonlocal running
        running += 1
        calls.add((running, worker.stats()["active"]))
        running -= 1

    async def ahandler() -> None:
        handler()

    task: Any = mem_app.task(ahandler if is_async else handler)
    task.enqueue_many([()] * 3000)
    worker = mem_app.worker(concurrency=2, prefetch=prefetch)
    with worker:
        seen = calls.wait(3000)
    assert max(running for running, _ in seen) <= 2
    assert least <= max(active for _, active in seen) - 2 <= most


def test_strict_order(app: App, calls: Counted) -> None:
    @app.task
    async def handler(name: str) -> None:
        calls.add(name)

    for _ in range(5):
        handler.using(queue="low").enqueue("low")
        handler.using(queue="high").enqueue("high")
    with app.worker(queues={"high": 1, "low": 1}, order="strict", concurrency=1, ageing="1h"):
        assert calls.wait(10) == ["high"] * 5 + ["low"] * 5


def test_a_worker_runs_once(app: App) -> None:
    worker = app.worker()
    with worker:
        pass
    with pytest.raises(StateError, match="runs once"):
        worker.run()


def test_annotations_are_checked_when_the_worker_is_made(mem_app: App) -> None:
    @mem_app.task
    def handler(a: NoSuch) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(Exception, match="annotation cannot be resolved"):
        Worker(mem_app)


def test_log_lines_of_the_core_reach_logging(
    mem_app: App, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "reeve")

    @mem_app.task(timeout="20ms", retry=0)
    def stuck(ctx: Context) -> None:
        while not ctx.cancelled:
            time.sleep(0.001)

    with mem_app.worker():
        job = stuck.enqueue()
        until_state(job, "archived")
    assert any(
        r.name == "reeve.worker" and f"started on default=1 at {mem_app.url}," in r.message
        for r in caplog.records
    )


def test_a_failed_run_is_logged_once_with_what_follows(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    @app.task(retry=Retry(max_attempts=2, base="50ms", jitter="none"))
    def sync() -> None:
        raise ValueError("no\nluck")

    @app.task(retry=Retry(max_attempts=2, base="50ms", jitter="none"))
    async def on_loop() -> None:
        raise ValueError("no luck")

    @app.task(retry=Retry(max_attempts=None))
    def fatal() -> None:
        raise Fatal("never")

    with app.worker():
        jobs = [sync.enqueue(), on_loop.enqueue(), fatal.enqueue()]
        for job in jobs:
            until_state(job, "archived")
    lines = [
        [(r.levelname, r.message) for r in caplog.records if f"{j.id} of " in r.message]
        for j in jobs
    ]
    for job, task, seen in zip(jobs, (sync, on_loop), lines, strict=False):
        head = f"task {job.id} of {task.name} in queue default"
        error = "ValueError: no luck"
        assert seen == [
            ("WARNING", f"{head}: attempt 1 of 2, again in 50 ms: {error}"),
            ("ERROR", f"{head}: attempt 2 of 2, dead (attempts exhausted): {error}"),
        ]
    (told,) = lines[2]
    assert told[0] == "ERROR"
    assert told[1].endswith("attempt 1, dead (fatal error): reeve.Fatal: never")


def test_a_job_that_expires_before_it_starts_is_logged(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    @app.task(queue="slow", expires="20ms")
    def late() -> None: ...

    job = late.enqueue()
    time.sleep(0.05)
    with app.worker():
        until_state(job, "archived")
    (line,) = [r for r in caplog.records if job.id in r.message]
    assert line.levelname == "WARNING"
    assert line.message == (
        f"task {job.id} of {late.name} in queue slow is dead before it started: deadline passed"
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:s%40cret@host:6379/0?db=1", "redis://host:6379/0"),
        ("redis+unix:///run/r.sock?db=1", "redis+unix:///run/r.sock"),
        ("sqlite:////var/a@b.db?sync=full", "sqlite:////var/a@b.db"),
    ],
)
def test_a_log_line_names_the_broker_without_its_secrets(url: str, shown: str) -> None:
    assert shown_url(url) == shown
