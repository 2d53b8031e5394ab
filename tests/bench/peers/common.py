"""What the Python drivers share: the command line, counting, stamping, payloads, loops.

The contract is in tests/bench/README.md. A driver's handlers call `hit`, `stamp` and `burn`; its
producer hands a function that stores a batch to `produce` or `aproduce`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import mmap
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

SLOTS = 512
Payload = dict[str, Any]
Item = tuple[Payload, int]  # with its delay in ms

#: A forked child goes on with its parent's map: one process at a time counts.
KEEP_MAP = os.environ.get("BENCH_KEEP_MAP") == "1"

_FOLDER = os.environ.get("BENCH_COUNTERS")
_local = threading.local()
_lock = threading.Lock()
_slots: Any = None
_used = 0


def _map() -> Any:
    """The process's slots, as a memory view of 64-bit numbers."""
    global _slots
    if _FOLDER is None:
        raise SystemExit("BENCH_COUNTERS is not set: the harness names a folder for the counters")
    fd = os.open(f"{_FOLDER}/{os.getpid()}", os.O_RDWR | os.O_CREAT, 0o644)
    os.ftruncate(fd, SLOTS * 8)
    _slots = memoryview(mmap.mmap(fd, SLOTS * 8)).cast("Q")
    os.close(fd)
    return _slots


def _own_slot() -> int:
    global _used
    with _lock:
        if _slots is None:
            _map()
        _local.slot = _used
        _used += 1
        return int(_local.slot)


def _forget() -> None:
    global _slots, _used, _local, _lock
    _slots, _used, _local, _lock = None, 0, threading.local(), threading.Lock()


if not KEEP_MAP:
    os.register_at_fork(after_in_child=_forget)


def hit() -> None:
    """Counts one run."""
    try:
        slot = _local.slot
    except AttributeError:
        slot = _own_slot()
    _slots[slot] += 1


def open_counters() -> None:
    """Maps the counters now, before a fork whose children keep them."""
    _map()


_stamps = os.environ.get("BENCH_STAMPS")
_stamp_fd = (
    os.open(_stamps, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) if _stamps is not None else -1
)


def stamp(payload: Payload) -> None:
    """Notes when the handler of this payload started."""
    now = time.monotonic_ns()
    if _stamp_fd >= 0:
        os.write(_stamp_fd, b"%d %d\n" % (payload["t"], now))


def burn() -> None:
    """One millisecond of this thread's CPU."""
    end = time.thread_time_ns() + 1_000_000
    while time.thread_time_ns() < end:
        pass


class Payloads:
    """Payloads of an exact size as compact JSON."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._pad = "x" * options.payload
        self._timed = options.handler in ("stamp", "hold")
        self._size = options.payload - len('{"n":,"pad":""}')
        self._delay_ms = options.delay_ms
        self._step_ms = options.spread_ms / options.count

    def batch(self, first: int, size: int) -> list[Item]:
        return [self.one(i) for i in range(first, first + size)]

    def one(self, i: int) -> Item:
        delay_ms = round(self._delay_ms + i * self._step_ms)
        if not self._timed:
            return {"n": i, "pad": self._pad[: self._size - len(str(i))]}, delay_ms
        t = time.monotonic_ns() + delay_ms * 1_000_000
        size = self._size - len(str(i)) - len(str(t)) - len(',"t":')
        return {"n": i, "pad": self._pad[: max(size, 0)], "t": t}, delay_ms


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The contract's command line."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("versions")
    for name in ("produce", "work"):
        command = commands.add_parser(name)
        command.add_argument("--url", required=True)
        command.add_argument("--handler", required=True)
        command.add_argument("--setting", choices=("default", "best"), default="default")
        if name == "work":
            command.add_argument("--concurrency", type=int, default=1)
            command.add_argument("--processes", type=int, default=1)
            continue
        command.add_argument("--count", type=int, required=True)
        command.add_argument("--batch", type=int, default=1)
        command.add_argument("--payload", type=int, default=200)
        command.add_argument("--delay-ms", type=int, default=0)
        command.add_argument("--spread-ms", type=int, default=0)
        command.add_argument("--rate", type=float, default=0.0)
    return parser.parse_args(words)


class _Span:
    """Wall and CPU time of the enqueue loop, and its pace."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def wait_s(self, done: int) -> float:
        if not self._options.rate:
            return 0.0
        return max(self._wall + done / self._options.rate - time.perf_counter(), 0.0)

    def report(self) -> None:
        figures = {
            "count": self._options.count,
            "wall_s": time.perf_counter() - self._wall,
            "cpu_s": time.process_time() - self._cpu,
        }
        print(json.dumps(figures), flush=True)


def produce(options: argparse.Namespace, store: Callable[[list[Item]], object]) -> None:
    """Calls `store` with batch after batch; prints the figures."""
    payloads, span = Payloads(options), _Span(options)
    for first in range(0, options.count, options.batch):
        if options.rate:
            time.sleep(span.wait_s(first))
        store(payloads.batch(first, min(options.batch, options.count - first)))
    span.report()


async def aproduce(
    options: argparse.Namespace, store: Callable[[list[Item]], Awaitable[object]]
) -> None:
    """As `produce`, for what is awaited."""
    payloads, span = Payloads(options), _Span(options)
    for first in range(0, options.count, options.batch):
        if options.rate:
            await asyncio.sleep(span.wait_s(first))
        await store(payloads.batch(first, min(options.batch, options.count - first)))
    span.report()


def ready() -> None:
    os.write(1, b"ready\n")  # not print: a worker may have redirected sys.stdout to its log


def print_versions(
    name: str,
    version: str,
    *,
    default: dict[str, str],
    best: dict[str, str],
    notes: str,
    handlers: Sequence[str],
) -> None:
    found = {
        "name": name,
        "version": version,
        "runtime": f"{platform.python_implementation()} {platform.python_version()}",
        "settings": {"default": default, "best": best},
        "notes": notes,
        "handlers": list(handlers),
    }
    json.dump(found, sys.stdout)
    print()


def pass_on_sigterm(process: subprocess.Popen[Any], number: int = signal.SIGTERM) -> None:
    """What stops the driver stops the program that it runs, by the signal that this one wants."""
    signal.signal(signal.SIGTERM, lambda *_: process.send_signal(number))


def run_processes(options: argparse.Namespace) -> None:
    """Several processes of this driver, for a system whose own way is to start it that often."""
    words = list(sys.argv[1:])
    words[words.index("--processes") + 1] = "1"
    command = [sys.executable, sys.argv[0], *words]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(options.processes)]
    signal.signal(signal.SIGTERM, lambda *_: [child.terminate() for child in children])
    for child in children:
        while child.stdout and child.stdout.readline().strip() != b"ready":
            if child.poll() is not None:
                raise SystemExit(f"a process of {options.processes} ended at its start")
    ready()
    for child in children:
        child.wait()
