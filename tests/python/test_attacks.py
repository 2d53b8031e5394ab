"""Handlers that do their worst: each run ends with a verdict and the worker goes on."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from conftest import Counted, wait_for
from reeve import App, Retry
from reeve.worker import Worker


class _Nameless(type):
    def __getattribute__(cls, name: str) -> Any:
        if name == "__module__":
            raise RuntimeError(name)
        return super().__getattribute__(name)


class NamelessError(Exception, metaclass=_Nameless):
    """Its class has no name to tell."""


class QuittingError(Exception):
    """Its message ends the thread."""

    def __str__(self) -> str:
        raise SystemExit


class _Unsure(type):
    def __instancecheck__(cls, instance: object) -> bool:
        raise RuntimeError("unsure")


class UnsureError(Exception, metaclass=_Unsure):
    """Nobody can tell what is one."""


HomelessError = type("HomelessError", (Exception,), {"__module__": None})


@pytest.mark.parametrize("is_async", [False, True], ids=["thread", "loop"])
@pytest.mark.parametrize(
    ("error", "retry"),
    [
        (NamelessError("x"), Retry(max_attempts=1)),
        (QuittingError("x"), Retry(max_attempts=1)),
        (HomelessError("x"), Retry(max_attempts=1)),
        (ValueError("x"), Retry(max_attempts=1, on=(UnsureError,))),
    ],
    ids=["nameless", "quitting", "homeless", "unsure"],
)
def test_errors_that_cannot_be_described(
    mem_app: App, calls: Counted, error: BaseException, retry: Retry, is_async: bool
) -> None:
    def bad() -> None:
        raise error

    async def abad() -> None:
        raise error

    task: Any = mem_app.task(name="bad", retry=retry)(abad if is_async else bad)

    @mem_app.task(name="good")
    def good() -> None:
        calls.add()

    with Worker(mem_app, concurrency=1):
        jobs = [task.enqueue() for _ in range(3)]
        good.enqueue()
        calls.wait(1)
    assert [job.state for job in jobs] == ["archived"] * 3


@pytest.mark.parametrize("is_async", [False, True], ids=["thread", "loop"])
def test_children_that_return_are_ended(tmp_path: Path, is_async: bool) -> None:
    """A handler's fork that comes back from it would wait for work for ever."""
    app = App(f"sqlite://{tmp_path}/queue.db")

    def fork() -> int:
        return os.fork()

    async def afork() -> int:
        return os.fork()

    task: Any = app.task(name="fork", retention="1h")(afork if is_async else fork)
    with app, Worker(app, concurrency=1):
        job = task.enqueue()
        wait_for(lambda: job.state == "completed")
        child = job.result()
        assert child > 0
        look = os.WEXITED | os.WNOHANG | os.WNOWAIT
        try:
            wait_for(lambda: os.waitid(os.P_PID, child, look) is not None, timeout=5)
        finally:
            os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
        assert os.waitstatus_to_exitcode(status) == 1
