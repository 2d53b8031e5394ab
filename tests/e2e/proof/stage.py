"""The stage of a proof: the programs, their processes, a folder, progress, checks and figures."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.servers import RedisServer

from proof.journal import Journal, Tail, read_acks

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Check:
    """One claim, whether it held, and the figures that say so."""

    name: str
    good: bool
    figures: dict[str, Any] = field(default_factory=dict)


class Program:
    """A started e2e program. Its standard output is read by a thread of its own."""

    def __init__(self, command: list[str], env: dict[str, str], log: Path) -> None:
        self.log = log
        self.lines: list[str] = []
        with open(log, "ab") as errors:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, env=env
            )
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            self._ready.set()
        self._ready.set()

    @property
    def pid(self) -> int:
        return self.process.pid

    def ready(self, timeout_s: float = 30.0) -> Program:
        if not self._ready.wait(timeout_s) or self.lines[:1] != ["ready"]:
            raise RuntimeError(f"not ready: {self.errors()[-800:]}")
        return self

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.process.wait()

    def wait(self, timeout_s: float = 120.0) -> int:
        code = self.process.wait(timeout_s)
        self._reader.join(10)
        return code

    def stop(self, timeout_s: float = 60.0) -> dict[str, Any]:
        """SIGTERM, then the counters that it prints."""
        self.send(signal.SIGTERM)
        code = self.wait(timeout_s)
        if code:
            raise RuntimeError(f"worker left with {code}: {self.errors()[-800:]}")
        return self.report()

    def report(self) -> dict[str, Any]:
        """The last JSON line that it has printed."""
        for line in reversed(self.lines):
            if line.startswith("{"):
                report: dict[str, Any] = json.loads(line)
                return report
        raise RuntimeError(f"no report: {self.errors()[-800:]}")

    def stats(self, timeout_s: float = 5.0) -> dict[str, Any]:
        before = len(self.lines)
        self.send(signal.SIGUSR1)
        wait_for(lambda: len(self.lines) > before, timeout_s, "counters of a worker")
        return self.report()

    def wait_idle(self, timeout_s: float = 30.0) -> None:
        """Waits until a worker holds nothing."""
        wait_for(lambda: self.stats()["active"] == 0, timeout_s, "an idle worker")

    def errors(self) -> str:
        return self.log.read_text(errors="replace")


def wait_for(
    what: Callable[[], bool], timeout_s: float, name: str, every_s: float = 0.005
) -> float:
    """Seconds until it holds; raises after timeout_s."""
    start = time.monotonic()
    while not what():
        if time.monotonic() - start > timeout_s:
            raise TimeoutError(f"{name}: not within {timeout_s} s")
        time.sleep(every_s)
    return time.monotonic() - start


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def spread(values: list[float], digits: int = 3) -> dict[str, float]:
    points = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: round(quantile(values, share), digits) for name, share in points.items()}


class Stage:
    """Owns every process and file of one proof and ends them all."""

    def __init__(self, build: Path, broker: str, quiet: bool = False) -> None:
        self.build = build
        self.broker = broker
        self.quiet = quiet
        self.folder = Path(tempfile.mkdtemp(prefix="reeve-prove-"))
        self.programs: list[Program] = []
        self.servers: list[RedisServer] = []
        self.checks: list[Check] = []
        self._serial = 0
        self._tails: dict[Path, Tail] = {}

    @property
    def sanitizer(self) -> str:
        """What the build is instrumented with; empty for nothing."""
        cache = self.build / "CMakeCache.txt"
        for line in cache.read_text().splitlines() if cache.exists() else []:
            if line.startswith("REEVE_SANITIZE:"):
                return line.split("=", 1)[1]
        return ""

    # --- figures ---

    def check(self, name: str, good: bool, **figures: Any) -> Check:
        done = Check(name, good, figures)
        self.checks.append(done)
        if not self.quiet:
            self.progress("")
            words = " ".join(f"{key}={value}" for key, value in figures.items())
            print(f"  {'ok' if good else 'FAIL':<5}{name}: {words}", flush=True)
        return done

    def progress(self, text: str) -> None:
        """One line that is overwritten, on a terminal only."""
        if not self.quiet and sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K  {text}")
            sys.stderr.flush()

    # --- processes ---

    def path(self, name: str) -> Path:
        self._serial += 1
        return self.folder / f"{self._serial}-{name}"

    def start(self, program: str, env: dict[str, str] | None = None, **options: Any) -> Program:
        return self._start(program, [], env, options)

    def _start(
        self, program: str, words: list[str], env: dict[str, str] | None, options: dict[str, Any]
    ) -> Program:
        binary = self.build / "e2e" / program
        if not binary.exists():
            raise FileNotFoundError(f"{binary} is not built; run make build")
        # Sanitizers' shadow memory and address randomisation may collide.
        command = [*(["setarch", "-R"] if self.sanitizer else []), str(binary), *words]
        for name, value in options.items():
            command += ["--" + name.replace("_", "-"), str(value)]
        started = Program(command, {**os.environ, **(env or {})}, self.path(f"{program}.log"))
        self.programs.append(started)
        return started

    def worker(self, env: dict[str, str] | None = None, **options: Any) -> Program:
        return self.start("e2e_worker", env, **options)

    def produce(
        self, env: dict[str, str] | None = None, timeout_s: float = 300.0, **options: Any
    ) -> dict[str, Any]:
        """Runs a producer to its end; its counts."""
        program = self.start("e2e_producer", env, **options)
        code = program.wait(timeout_s)
        if code:
            raise RuntimeError(f"producer left with {code}: {program.errors()[-800:]}")
        return program.report()

    def ctl(self, url: str, *words: str, **options: Any) -> list[dict[str, Any]]:
        program = self._start("e2e_ctl", list(words), None, {"url": url, **options})
        code = program.wait(60)
        if code:
            raise RuntimeError(f"ctl left with {code}: {program.errors()[-800:]}")
        return [json.loads(line) for line in program.lines]

    def queues(self, url: str) -> dict[str, dict[str, Any]]:
        return {queue["queue"]: queue for queue in self.ctl(url, "queues")}

    def left(self, url: str) -> int:
        """Tasks that still have to end."""
        words = ("pending", "active", "scheduled", "retry")
        return sum(queue[word] for queue in self.queues(url).values() for word in words)

    # --- brokers ---

    def redis(self, **options: str) -> RedisServer:
        options.setdefault("appendonly", "no")
        server = RedisServer(self.path("redis"), **options)
        self.servers.append(server)
        return server.start()

    @contextmanager
    def store(self, **options: str) -> Iterator[str]:
        """URL of a fresh broker of the chosen kind."""
        if self.broker == "sqlite":
            yield f"sqlite://{self.path('store.db')}"
            return
        server = self.redis(**options)
        try:
            yield server.url
        finally:
            server.kill()

    # --- judging ---

    def journal(self, path: Path) -> Journal:
        return Journal.read(path)

    def count(self, path: Path, what: str = "S") -> int:
        """Lines of some kinds in a growing journal, at the price of its new lines."""
        tail = self._tails.setdefault(path, Tail(path))
        return sum(tail.count(letter) for letter in what)

    def wait_runs(self, path: Path, count: int, timeout_s: float = 60.0, what: str = "S") -> float:
        """Waits until a journal has so many starts (S) or ends (E, C); seconds waited."""
        return wait_for(lambda: self.count(path, what) >= count, timeout_s, f"{count} lines {what}")

    def wait_empty(self, url: str, timeout_s: float = 120.0) -> None:
        """Waits until no task is left to run."""
        wait_for(lambda: self.left(url) == 0, timeout_s, "an empty queue", every_s=0.05)

    def wait_done(self, url: str, queue: str, count: int, timeout_s: float = 60.0) -> None:
        wait_for(lambda: self.queues(url)[queue]["done"] >= count, timeout_s, f"{count} done")

    def acks(self, path: Path) -> list[str]:
        return [ack.id for ack in read_acks(path)]

    def check_logs(self, name: str) -> None:
        """No program may have been told off by a sanitizer or an assertion."""
        self.end_programs()
        words = ("Sanitizer", "runtime error:", "Assertion")
        bad = [
            line.strip()[:200]
            for program in self.programs
            for line in program.errors().splitlines()
            if any(word in line for word in words)
        ]
        if bad:
            self.check(f"{name}: nothing from sanitizers or asserts", False, lines=bad[:5])

    def end_programs(self) -> None:
        for program in self.programs:
            if program.process.poll() is None:
                # A stopped process dies of SIGKILL too.
                program.kill()

    def close(self) -> None:
        self.end_programs()
        for server in self.servers:
            server.kill()
        if os.environ.get("REEVE_PROVE_KEEP"):
            print(f"  kept: {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
