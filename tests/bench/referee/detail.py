"""Rows of reeve alone: the C library's phases without a driver around them, SQLite, and what a
cycle costs Redis at several batch sizes against the bare bytes."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from referee import alone
from referee.phases import Bounds, Figures
from referee.processes import PhaseError
from referee.records import Axes, Records
from referee.servers import Redis
from referee.systems import BENCH

#: What bench_core and bench_python call a figure, and its metric.
METRICS = {"per_s": "rate", "cpu_us": "client_cpu"}
SYSTEM = {"bench_core": "reeve-c", "bench_python.py": "reeve"}


@dataclass(frozen=True)
class Phase:
    """One call of a program: what it shows, on which broker, how many tasks a second to expect."""

    what: str
    program: str
    words: tuple[str, ...]
    param: int
    guess: int
    fills: int = 0  #: tasks a call to put there first, outside the phase


PHASES = [
    Phase("C enqueue_many, 1000 a call", "bench_core", ("enqueue",), 1000, 300_000),
    Phase("C worker, poll face, concurrency 100", "bench_core", ("poll",), 100, 200_000, 1000),
    Phase("C worker, handlers, concurrency 100", "bench_core", ("work",), 100, 200_000, 1000),
    Phase("Python enqueue_many, 1000 a call", "bench_python.py", ("enqueue",), 1000, 150_000),
    Phase("Python worker, async no-op", "bench_python.py", ("work-async",), 100, 30_000),
    Phase("Python worker, threads no-op", "bench_python.py", ("work-sync",), 100, 10_000),
]
#: SQLite syncs each batch to the disk.
SQLITE = [
    Phase("C enqueue, 1 a call", "bench_core", ("enqueue",), 1, 3_000),
    Phase("C enqueue_many, 100 a call", "bench_core", ("enqueue",), 100, 50_000),
    Phase("C worker, poll face, concurrency 100", "bench_core", ("poll",), 100, 40_000, 100),
    Phase("Python worker, async no-op", "bench_python.py", ("work-async",), 100, 15_000),
]
CHILD = "kill -9 of a supervised child"


class Detail:
    """Runs the programs below `build` and records what they print."""

    def __init__(self, build: Path, bounds: Bounds, records: Records) -> None:
        self.build = build
        self.bounds = bounds
        self.records = records

    def run(self, rounds: int, note: Callable[[str], None]) -> None:
        for number in range(rounds):
            for broker, phases in (("redis", PHASES), ("sqlite", SQLITE)):
                for phase in phases:
                    note(f"detail: {broker}: {phase.what}")
                    self._one(number, broker, phase)
            note("detail: Redis CPU a cycle")
            self._cycles(number)
            note(f"detail: {CHILD}")
            self._child(number)
        note("detail: nginx")
        self._nginx(rounds)

    def _one(self, number: int, broker: str, phase: Phase) -> None:
        name = SYSTEM[phase.program]
        key = ("detail", broker, phase.what)
        count = self.bounds.count(key, phase.guess)
        count = max(count // phase.param, 1) * phase.param
        try:
            with place(broker) as (url, redis):
                if phase.fills:
                    self._call(phase.program, url, "enqueue", count, phase.fills)
                cpu = redis.cpu_s() if redis else 0.0
                found = self._call(phase.program, url, *phase.words, count, phase.param)
                figures = {METRICS[key]: value for key, value in found.items() if key in METRICS}
                if redis:
                    figures["redis_cpu"] = (redis.cpu_s() - cpu) * 1e6 / count
        except PhaseError as error:
            self._skip(name, f"{broker}: {phase.what}", error)
            return
        self.bounds.learn(key, figures["rate"])
        axes: Axes = {"what": phase.what, "broker": broker}
        self.records.add("detail", name, "default", axes, figures, number)

    def _cycles(self, number: int) -> None:
        """redis_cost: enqueue and turn of the protocol's own, several operations in flight."""
        with place("redis") as (url, _):
            out = self._run([str(self.build / "programs" / "redis_cost"), f"--url={url}", "--json"])
        for found in json.loads(out):
            axes: Axes = {"what": f"cycle, batch {found['batch']}", "broker": "redis"}
            figures: Figures = {"redis_cpu": found["cycle_us"], "memory": found["bytes"]}
            self.records.add("detail", "reeve-c", "default", axes, figures, number)
            bare = {"redis_cpu": found["bare_us"]}
            self.records.add("detail", "limit", "default", axes, bare, number)

    def _child(self, number: int) -> None:
        axes: Axes = {"what": CHILD, "broker": "redis"}
        try:
            figures = alone.child_again(self.build)
        except PhaseError as error:
            self._skip("reeve", CHILD, error)
            return
        self.records.add("detail", "reeve", "default", axes, figures, number)

    def _nginx(self, rounds: int) -> None:
        try:
            found = alone.nginx(self.build, rounds)
        except PhaseError as error:
            self._skip("reeve-lua", "nginx", error)
            return
        for what, runs in found.items():
            axes: Axes = {"what": what, "broker": "redis"}
            for number, figures in enumerate(runs):
                self.records.add("detail", "reeve-lua", "default", axes, figures, number)

    def _skip(self, system: str, what: str, error: PhaseError) -> None:
        self.records.skip(system, f"detail: {what}", str(error))
        print(f"skipped: {system}: detail: {what}: {error}", flush=True)

    def _call(self, program: str, url: str, *words: object) -> Figures:
        command = [str(self.build / "programs" / program)]
        if program.endswith(".py"):
            python = self.build / "venvs" / "reeve" / "bin" / "python"
            command = [str(python), str(BENCH / program)]
        found: Figures = json.loads(self._run([*command, url, *map(str, words)]))
        return found

    def _run(self, command: list[str]) -> str:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PhaseError(str(error)) from None
        if done.returncode:
            raise PhaseError(f"{Path(command[0]).name}: {done.stderr.strip()[-300:]}")
        return done.stdout


@contextmanager
def place(broker: str) -> Iterator[tuple[str, Redis | None]]:
    """A fresh broker: a server, or a file in a folder of its own."""
    if broker == "redis":
        with Redis() as redis:
            yield redis.url, redis
        return
    with tempfile.TemporaryDirectory(prefix="reeve-bench-") as folder:
        yield f"sqlite:///{folder}/bench.db", None
