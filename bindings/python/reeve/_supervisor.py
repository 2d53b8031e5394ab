"""Keeps worker processes alive.

Children are spawned, never forked with threads alive. The end of a child wakes the supervisor at
once (pidfd where there is one): its tasks are handed back before it is started again, so they run
elsewhere within milliseconds instead of after a lease.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from reeve._errors import Error

if TYPE_CHECKING:
    from reeve._app import App

_log = logging.getLogger("reeve.supervisor")

#: Names the supervisor to its children, who end with it.
PARENT_VARIABLE = "REEVE_PARENT_PID"
_PR_SET_PDEATHSIG = 1

_BACKOFF_FIRST = 0.1
_BACKOFF_MOST = 30.0
#: A child that lived this long was healthy: the next one starts at once.
_HEALTHY = 10.0
#: After the core's own grace; a child that is still there is killed.
_KILL_AFTER = 10.0
#: How often a child is looked at whose end cannot wake us.
_POLL = 0.05


def die_with_parent() -> None:
    """In a child: SIGTERM when the supervisor is gone. Linux only; elsewhere a no-op, and leases
    bring its tasks back."""
    parent = os.environ.pop(PARENT_VARIABLE, None)
    if parent is None or not sys.platform.startswith("linux"):
        return
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        _log.warning("cannot ask to end with the supervisor: errno %d", ctypes.get_errno())
    if os.getppid() != int(parent):  # it died before we asked
        sys.exit(1)


@dataclass
class Child:
    """One place for a worker process; the process in it changes."""

    index: int
    worker_id: str = ""
    process: subprocess.Popen[bytes] | None = None
    pidfd: int = -1
    watched: bool = False  #: its end wakes the supervisor
    started: float = 0.0
    failures: int = 0
    due: float | None = 0.0  #: when to start one; None while one runs


@dataclass(frozen=True)
class Death:
    """What the supervisor saw and did when a child ended."""

    index: int
    worker_id: str
    pid: int
    status: int  #: as subprocess: negative = signal
    handed_back: int  #: tasks
    took_ms: float  #: from the wake-up until they were handed back


@dataclass
class Supervisor:
    """Runs ``count`` children until told to stop.

    ``command(worker_id)`` gives a child's command line. Signals are the caller's: ``stop`` may be
    called from a signal handler or any thread.
    """

    app: App
    command: Callable[[str], Sequence[str]]
    count: int
    grace: float = 25.0
    reclaim: bool = True
    env: Mapping[str, str] = field(default_factory=dict)
    output: IO[bytes] | None = None
    on_death: Callable[[Death], object] | None = None

    def __post_init__(self) -> None:
        self.children = [Child(index) for index in range(self.count)]
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        for fd in (self._wake_read, self._wake_write):
            os.set_blocking(fd, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._stops = 0
        self._stops_sent = 0
        self._is_away = False  # the broker did not answer the last time
        self._kill_at: float | None = None

    def stop(self) -> None:
        """Tells the children to finish; a second call: at once."""
        self._stops += 1
        with contextlib.suppress(OSError):  # full, or closed after the end
            os.write(self._wake_write, b"x")

    def run(self) -> None:
        """Blocks until every child has ended after ``stop``."""
        try:
            if self.reclaim:
                _ = self.app.inspector  # connected before it is needed in a hurry
            while not self._finished():
                self._pass_on_stops()
                self._start_due()
                self._wait()
        finally:
            self._end_all()
            self._selector.close()
            os.close(self._wake_read)
            wake_write, self._wake_write = self._wake_write, -1
            os.close(wake_write)

    def _finished(self) -> bool:
        return self._stops > 0 and all(c.process is None for c in self.children)

    def _pass_on_stops(self) -> None:
        while self._stops_sent < self._stops:
            # another signal the second time: two equal ones that wait become one
            number = signal.SIGTERM if self._stops_sent % 2 == 0 else signal.SIGINT
            self._stops_sent += 1
            for child in self.children:
                child.due = None
                if child.process is not None:
                    child.process.send_signal(number)
            if self._kill_at is None:
                self._kill_at = time.monotonic() + self.grace + _KILL_AFTER
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            for child in self.children:
                if child.process is not None:
                    _log.error("worker process %d does not end: killed", child.process.pid)
                    child.process.kill()
            self._kill_at = None

    def _start_due(self) -> None:
        now = time.monotonic()
        for child in self.children:
            if child.due is not None and child.due <= now and self._stops == 0:
                self._start(child)

    def _start(self, child: Child) -> None:
        child.worker_id = str(uuid.uuid4())
        child.started = time.monotonic()
        child.due = None
        try:
            child.process = subprocess.Popen(
                list(self.command(child.worker_id)),
                env={**os.environ, **self.env, PARENT_VARIABLE: str(os.getpid())},
                stdin=subprocess.DEVNULL,
                stdout=self.output,
                stderr=self.output,
                # a terminal's Ctrl-C must reach them through us, once
                start_new_session=True,
            )
        except OSError as error:  # too many processes or files: the others go on
            delay = self._backoff(child)
            child.due = time.monotonic() + delay
            _log.error("cannot start a worker process, again in %.1f s: %s", delay, error)
            return
        _log.info("worker process %d started (%s)", child.process.pid, child.worker_id)
        self._watch(child)

    def _watch(self, child: Child) -> None:
        process = child.process
        assert process is not None

        def wait() -> None:
            process.wait()
            with contextlib.suppress(OSError):
                os.write(self._wake_write, b"x")

        try:
            if hasattr(os, "pidfd_open"):
                child.pidfd = os.pidfd_open(process.pid)
                self._selector.register(child.pidfd, selectors.EVENT_READ, child)
            else:
                threading.Thread(target=wait, daemon=True).start()
            child.watched = True
        except (OSError, RuntimeError) as error:
            self._unwatch(child)
            _log.warning("worker process %d is looked at by the clock: %s", process.pid, error)

    def _wait(self) -> None:
        times = [c.due for c in self.children if c.due is not None]
        if self._kill_at is not None:
            times.append(self._kill_at)
        if any(c.process is not None and not c.watched for c in self.children):
            times.append(time.monotonic() + _POLL)
        timeout = max(0.0, min(times) - time.monotonic()) if times else None
        self._selector.select(timeout)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 4096)
        for child in self.children:
            if child.process is not None and child.process.poll() is not None:
                self._ended(child)

    def _unwatch(self, child: Child) -> None:
        child.watched = False
        if child.pidfd >= 0:
            with contextlib.suppress(KeyError):  # it was not taken
                self._selector.unregister(child.pidfd)
            os.close(child.pidfd)
            child.pidfd = -1

    def _ended(self, child: Child) -> None:
        woken = time.monotonic()
        process = child.process
        assert process is not None
        status = process.returncode
        self._unwatch(child)
        child.process = None
        count = self._hand_back(child.worker_id, clean=status == 0)
        took_ms = (time.monotonic() - woken) * 1000
        # told to end before it could listen: it has nothing in hand
        if (status != 0 or count) and not (
            self._stops and -status in (signal.SIGTERM, signal.SIGINT)
        ):
            how = f"signal {-status}" if status < 0 else f"exit code {status}"
            _log.error(
                "worker process %d died (%s); %d tasks handed back in %.0f ms",
                process.pid,
                how,
                count,
                took_ms,
            )
        if self._stops == 0:
            child.due = time.monotonic() + self._backoff(child)
        if self.on_death is not None:
            try:
                self.on_death(
                    Death(child.index, child.worker_id, process.pid, status, count, took_ms)
                )
            except Exception:  # the caller's own; the children need us
                _log.exception("on_death of worker process %d failed", process.pid)

    def _backoff(self, child: Child) -> float:
        if time.monotonic() - child.started >= _HEALTHY:
            child.failures = 0
            return 0.0
        child.failures += 1
        if child.failures == 1:
            return 0.0
        return float(min(_BACKOFF_MOST, _BACKOFF_FIRST * 2 ** min(child.failures - 2, 20)))

    def _hand_back(self, worker_id: str, clean: bool) -> int:
        if not self.reclaim or (self._stops > 0 and self._is_away):
            return 0  # a stop does not wait for a broker that is away once for each child
        try:
            # a worker that was told to stop took itself off the list; one whose handler called
            # os._exit(0) meanwhile did not, or is not there yet when nobody told it
            told = clean and self._stops > 0
            if told and all(w.id != worker_id for w in self.app.inspect.workers()):
                return 0
            count = self.app.inspect.reclaim_worker(worker_id)
            self._is_away = False
            return count
        except (Error, OSError) as error:
            self._is_away = True
            _log.warning("cannot hand back the tasks of %s, leases will: %s", worker_id, error)
            return 0

    def _end_all(self) -> None:
        """After an error: no child stays behind, and what one has in hand is handed back."""
        left = [(c, c.process) for c in self.children if c.process is not None]
        until = time.monotonic() + self.grace + _KILL_AFTER
        try:
            for _, process in left:
                if self._stops_sent == 0:  # a second signal means: at once
                    process.terminate()
            for _, process in left:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, until - time.monotonic()))
        finally:
            for child, process in left:
                process.kill()
                process.wait()
                self._ended(child)


def child_command(target: str, options: Mapping[str, Any], worker_id: str) -> list[str]:
    """Command line of one worker process."""
    command = [sys.executable, "-m", "reeve", "worker", target, "--worker-id", worker_id]
    for name, value in options.items():
        if value is not None:
            command += [f"--{name.replace('_', '-')}", str(value)]
    return command
