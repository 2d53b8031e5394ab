"""Drivers as processes: running producers and workers, and what the kernel knows of them."""

from __future__ import annotations

import array
import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")
READY_S = 30.0
STOP_S = 5.0


class PhaseError(Exception):
    """A phase that gives no figure; the text says why."""


@dataclass(frozen=True)
class Stat:
    """One process as /proc/PID/stat shows it."""

    pid: int
    parent: int
    session: int
    ticks: int  #: user and system, those of reaped children included


def read_stat(pid: int) -> Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None  # it has ended meanwhile
    words = text[text.rindex(")") + 2 :].split()
    return Stat(pid, int(words[1]), int(words[3]), sum(map(int, words[11:15])))


def tree(root: int) -> list[Stat]:
    """The process, its descendants and what else runs in the session that it leads."""
    stats = {}
    for entry in Path("/proc").iterdir():
        stat = read_stat(int(entry.name)) if entry.name.isdigit() else None
        if stat is not None:
            stats[stat.pid] = stat
    found = {pid for pid, stat in stats.items() if pid == root or stat.session == root}
    grown = True
    while grown:
        more = {pid for pid, stat in stats.items() if stat.parent in found} - found
        found |= more
        grown = bool(more)
    return [stats[pid] for pid in sorted(found)]


def memory_bytes(pids: list[int]) -> int:
    """Resident memory; pages that processes share are counted once (proportional set size)."""
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        line = next((line for line in text.splitlines() if line.startswith("Pss:")), None)
        total += int(line.split()[1]) * 1024 if line else 0
    return total


def tail(path: Path, size: int = 600) -> str:
    """The end of a log as one line."""
    text = path.read_text(errors="replace") if path.exists() else ""
    return " | ".join(line.strip() for line in text[-size:].splitlines() if line.strip())


def produce(
    command: list[str],
    url: str,
    folder: Path,
    *,
    count: int,
    batch: int,
    handler: str,
    setting: str,
    payload: int = 200,
    delay_ms: int = 0,
    spread_ms: int = 0,
    rate: int = 0,
    timeout_s: float = 60.0,
) -> dict[str, float]:
    """Runs a driver's producer to its end; what it prints."""
    words = ["produce", "--url", url, "--count", count, "--batch", batch, "--handler", handler]
    words += ["--payload", payload, "--setting", setting]
    if delay_ms or spread_ms:
        words += ["--delay-ms", delay_ms, "--spread-ms", spread_ms]
    if rate:
        words += ["--rate", rate]
    log = folder / "produce.log"
    with open(log, "wb") as errors:
        process = subprocess.Popen(
            [*command, *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
        try:
            out, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise PhaseError(f"enqueue of {count} tasks took over {timeout_s:.0f} s") from None
        finally:
            kill_tree(process)
    if process.returncode:
        raise PhaseError(f"produce ended with {process.returncode}: {tail(log)}")
    figures: dict[str, float] = json.loads(out.splitlines()[-1])
    if figures["count"] != count:
        raise PhaseError(f"produce stored {figures['count']} of {count} tasks")
    return figures


def versions(command: list[str]) -> dict[str, Any]:
    done = subprocess.run([*command, "versions"], capture_output=True, text=True, timeout=60)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
        raise PhaseError(f"versions: {lines[-1]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL for the process and all that it started; reaps it."""
    for stat in tree(process.pid):
        try:
            os.kill(stat.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


class Worker:
    """A driver's worker with its counters and stamps; a context manager that kills what is left."""

    def __init__(
        self,
        command: list[str],
        url: str,
        folder: Path,
        *,
        handler: str,
        setting: str,
        concurrency: int,
        processes: int = 1,
    ) -> None:
        self.folder = folder
        self.counters = folder / "counters"
        self.stamps_path = folder / "stamps"
        self.log = folder / "worker.log"
        self.counters.mkdir(parents=True)
        words = ["work", "--url", url, "--concurrency", concurrency, "--processes", processes]
        words += ["--handler", handler, "--setting", setting]
        environment = {
            **os.environ,
            "BENCH_COUNTERS": str(self.counters),
            "BENCH_STAMPS": str(self.stamps_path),
        }
        self.ended_ns = 0  #: CLOCK_MONOTONIC just before it was killed
        self._ready = threading.Event()
        with open(self.log, "wb") as errors:
            self.process = subprocess.Popen(
                [*command, *map(str, words)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()

    def _read(self) -> None:
        if self.process.stdout is None:
            return
        for line in self.process.stdout:
            if line.strip() == b"ready":
                self._ready.set()

    def wait_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        while not self._ready.wait(0.02):
            self.check()
            if time.monotonic() > deadline:
                raise PhaseError(f"worker is not ready after {READY_S:.0f} s: {tail(self.log)}")

    def check(self) -> None:
        """Raises when the worker has ended."""
        if self.process.poll() is not None:
            raise PhaseError(f"worker ended with {self.process.returncode}: {tail(self.log)}")

    def counts(self) -> dict[int, int]:
        """Handlers run so far, by process."""
        found = {}
        for path in self.counters.iterdir():
            slots = array.array("Q")
            slots.frombytes(path.read_bytes())
            found[int(path.name)] = sum(slots)
        return found

    def count(self) -> int:
        """Handlers run so far, of all its processes."""
        return sum(self.counts().values())

    def stamps(self) -> list[tuple[int, int]]:
        """(enqueued or due, started) in ns of CLOCK_MONOTONIC."""
        try:
            lines = self.stamps_path.read_text().splitlines()
        except FileNotFoundError:
            return []
        pairs = (line.split() for line in lines)
        return [(int(first), int(second)) for first, second in pairs]

    def cpu_s(self) -> float:
        return sum(stat.ticks for stat in tree(self.process.pid)) / TICKS

    def memory(self) -> int:
        return memory_bytes([stat.pid for stat in tree(self.process.pid)])

    def stop(self) -> None:
        """SIGTERM; what does not end in time is killed."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S)
        self.kill()

    def kill(self) -> None:
        if self.ended_ns:
            return
        self.ended_ns = time.monotonic_ns()
        kill_tree(self.process)
        self._reader.join(2)
        if self.process.stdout is not None:
            self.process.stdout.close()
