"""The supervisor when the system refuses it something, over children that need no broker."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from conftest import wait_for
from procs import alive
from reeve import App, _supervisor
from reeve._supervisor import Death, Supervisor

SLEEPER = """
import os, signal, sys, time
def end(number, frame):
    sys.exit(7)
signal.signal(signal.SIGTERM, end)
open(os.path.join(sys.argv[1], str(os.getpid())), "w").close()
while True:
    time.sleep(1)
"""


class Inspector:
    """Listed workers, and whose tasks were handed back."""

    def __init__(self) -> None:
        self.listed: list[str] = []
        self.reclaimed: list[str] = []

    def workers(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(id=id) for id in self.listed]

    def reclaim_worker(self, worker: str) -> int:
        self.reclaimed.append(worker)
        return 1


@pytest.fixture
def inspector() -> Inspector:
    return Inspector()


@pytest.fixture
def make(inspector: Inspector, tmp_path: Path) -> Callable[..., Supervisor]:
    app = cast(App, SimpleNamespace(inspector=None, inspect=inspector))

    def make(code: str = SLEEPER, **options: Any) -> Supervisor:
        def command(worker_id: str) -> list[str]:
            inspector.listed.append(worker_id)
            return [sys.executable, "-c", code, str(tmp_path)]

        return Supervisor(app, command, 2, grace=5, **options)

    return make


@contextmanager
def running(supervisor: Supervisor) -> Iterator[list[BaseException]]:
    """Runs it in a thread; what ended it, if anything did."""
    failure: list[BaseException] = []

    def run() -> None:
        try:
            supervisor.run()
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield failure
    finally:
        if thread.is_alive():
            supervisor.stop()
        thread.join(30)
        assert not thread.is_alive()


def ready(folder: Path) -> int:
    """How many children have come to listen to signals."""
    return len(list(folder.iterdir()))


def refuse(times: int, real: Callable[..., Any]) -> Callable[..., Any]:
    """A function that fails so many times first."""
    left = [times]

    def call(*args: Any, **options: Any) -> Any:
        if left[0] > 0:
            left[0] -= 1
            raise OSError(24, "Too many open files")
        return real(*args, **options)

    return call


def test_a_refused_start_is_made_again(
    make: Callable[..., Supervisor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", refuse(5, subprocess.Popen))
    with running(make()) as failure:
        wait_for(lambda: ready(tmp_path) == 2)
    assert failure == []


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs pidfd")
def test_a_child_that_cannot_be_watched_is_replaced_all_the_same(
    make: Callable[..., Supervisor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pidfd_open", refuse(2, os.pidfd_open))
    supervisor = make()
    with running(supervisor) as failure:
        wait_for(lambda: ready(tmp_path) == 2)
        first = supervisor.children[0].process
        assert first is not None
        first.kill()
        wait_for(lambda: ready(tmp_path) == 3)
    assert failure == []


def test_an_error_of_on_death_ends_nothing(make: Callable[..., Supervisor], tmp_path: Path) -> None:
    deaths: list[Death] = []

    def on_death(death: Death) -> None:
        deaths.append(death)
        raise OSError(28, "No space left on device")

    supervisor = make(on_death=on_death)
    with running(supervisor) as failure:
        wait_for(lambda: ready(tmp_path) == 2)
        first = supervisor.children[0].process
        assert first is not None
        first.kill()
        wait_for(lambda: ready(tmp_path) == 3)
    assert failure == []
    assert len(deaths) == 3


def test_an_error_ends_children_gently_and_hands_back(
    make: Callable[..., Supervisor],
    inspector: Inspector,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deaths: list[Death] = []
    supervisor = make(on_death=deaths.append)

    def fail() -> None:
        raise ValueError("a fault of ours")

    with running(supervisor) as failure:
        wait_for(lambda: ready(tmp_path) == 2)
        pids = [c.process.pid for c in supervisor.children if c.process is not None]
        monkeypatch.setattr(supervisor, "_wait", fail)
        os.write(supervisor._wake_write, b"x")
        wait_for(lambda: failure)
    assert [str(error) for error in failure] == ["a fault of ours"]
    assert [death.status for death in deaths] == [7, 7]
    assert not any(alive(pid) for pid in pids)
    assert sorted(inspector.reclaimed) == sorted(inspector.listed)


def test_a_child_that_does_not_listen_is_killed_after_an_error(
    make: Callable[..., Supervisor],
    inspector: Inspector,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_supervisor, "_KILL_AFTER", 0.0)
    supervisor = make(SLEEPER.replace("sys.exit(7)", "return"))
    supervisor.grace = 0.2

    def fail() -> None:
        raise ValueError("a fault of ours")

    with running(supervisor) as failure:
        wait_for(lambda: ready(tmp_path) == 2)
        pids = [c.process.pid for c in supervisor.children if c.process is not None]
        monkeypatch.setattr(supervisor, "_wait", fail)
        os.write(supervisor._wake_write, b"x")
        wait_for(lambda: failure)
    assert len(failure) == 1
    assert not any(alive(pid) for pid in pids)
    assert len(inspector.reclaimed) == 2


def test_tasks_are_handed_back_whatever_the_exit_code(
    make: Callable[..., Supervisor], inspector: Inspector, tmp_path: Path
) -> None:
    deaths: list[Death] = []
    supervisor = make("import os; os._exit(0)", on_death=deaths.append)
    with running(supervisor):
        wait_for(lambda: len(deaths) >= 2)
    assert all((death.status, death.handed_back) == (0, 1) for death in deaths[:2])


def test_who_left_the_list_when_told_to_stop_has_nothing_in_hand(
    make: Callable[..., Supervisor], inspector: Inspector, tmp_path: Path
) -> None:
    deaths: list[Death] = []
    inspector.workers = list  # type: ignore[method-assign]
    supervisor = make(SLEEPER.replace("sys.exit(7)", "sys.exit(0)"), on_death=deaths.append)
    with running(supervisor):
        wait_for(lambda: ready(tmp_path) == 2)
        supervisor.stop()
        wait_for(lambda: len(deaths) == 2)
    assert [(death.status, death.handed_back) for death in deaths] == [(0, 0)] * 2
    assert inspector.reclaimed == []


def test_who_was_not_told_to_stop_may_not_be_in_the_list_yet(
    make: Callable[..., Supervisor], inspector: Inspector
) -> None:
    deaths: list[Death] = []
    inspector.workers = list  # type: ignore[method-assign]
    with running(make("pass", on_death=deaths.append)):
        wait_for(lambda: len(deaths) >= 2)
    assert all((death.status, death.handed_back) == (0, 1) for death in deaths[:2])
