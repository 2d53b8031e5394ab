"""Kills a worker process in the middle of its jobs and times how they come back."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass

from reeve import App
from reeve._supervisor import Death, Supervisor

_TRIES = 50


@dataclass(frozen=True)
class Takeover:
    """What one kill cost."""

    pid: int
    held: int  #: jobs that the dead process had
    back_ms: float | None  #: kill → handed back by the supervisor; None = by their leases
    running_ms: float  #: kill → all of them claimed by another process (or done)


class Killer:
    """Kills one child of a supervisor, once."""

    def __init__(self, app: App, supervisor: Supervisor, queues: list[str]) -> None:
        self._app = app
        self._supervisor = supervisor
        self._queues = queues
        self._death: Death | None = None
        self._died = threading.Event()
        self._died_at = 0.0
        self._victim = ""
        supervisor.on_death = self._on_death

    def _on_death(self, death: Death) -> None:
        if death.worker_id == self._victim:
            self._died_at = time.monotonic()
            self._death = death
            self._died.set()

    def _held(self, worker: str) -> list[tuple[str, str]]:
        """(queue, id) of every job that a worker has."""
        return [
            (queue, info.id)
            for queue in self._queues
            for info in self._app.inspect.iter_jobs(queue, "active")
            if info.worker == worker
        ]

    def _freeze(self, pid: int, worker: str) -> list[tuple[str, str]]:
        """Stops a process in the middle of what it does; lets it go on when it has nothing."""
        os.kill(pid, signal.SIGSTOP)
        if hasattr(os, "waitid"):  # not every platform's Python has it
            # the signal takes its time: until then it may finish what we are about to read
            os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        held = self._held(worker)
        if not held:
            os.kill(pid, signal.SIGCONT)
        return held

    def strike(self, patience: float) -> Takeover | None:
        """Kills the first process that is caught with jobs. None when none was."""
        for turn in range(_TRIES):
            children = self._supervisor.children
            child = children[turn % len(children)]
            process = child.process
            if process is None:
                time.sleep(0.02)
                continue
            held = self._freeze(process.pid, child.worker_id)
            if held:
                self._victim = child.worker_id
                return self._kill(process.pid, held, patience)
            time.sleep(0.01)
        return None

    def _kill(self, pid: int, held: list[tuple[str, str]], patience: float) -> Takeover | None:
        started = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        if not self._died.wait(patience):
            return None
        running_at, taken = self._wait_taken(held, started + patience)
        death = self._death
        if running_at is None or death is None or taken == 0:
            return None
        back_ms = (self._died_at - started) * 1000 if self._supervisor.reclaim else None
        return Takeover(pid, taken, back_ms, (running_at - started) * 1000)

    def _wait_taken(self, held: list[tuple[str, str]], until: float) -> tuple[float | None, int]:
        """Until each job of the dead process (a crash is on its record) runs again or is done."""
        waiting = dict.fromkeys(held)
        taken = 0
        last: float | None = None
        while waiting and time.monotonic() < until:
            for queue, id in list(waiting):
                info = self._app.job(id, queue).find()
                if info is None or (info.crashes == 0 and info.state not in ("active", "pending")):
                    del waiting[queue, id]  # another process had it, and finished it
                elif info.crashes > 0 and info.state != "pending":
                    del waiting[queue, id]
                    taken += 1
                    last = time.monotonic()
            if waiting:
                time.sleep(0.001)
        return (None if waiting else last), taken
