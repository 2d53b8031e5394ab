"""Handlers that do their worst: each run ends with a verdict and the worker goes on."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import Counted
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
