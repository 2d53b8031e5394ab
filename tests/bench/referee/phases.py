"""What is measured: each function runs one phase of one system on a fresh server and returns its
figures, by metric."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from referee.processes import PhaseError, Worker, produce
from referee.servers import Redis
from referee.systems import System

Figures = dict[str, float]
POLL_S = 0.002
FIRST_RUN_S = 20.0  # a worker that is ready runs its first task within this
PAYLOAD_BYTES = 200
TRIES = 4  # to find how many tasks fill the wished time
EARLY_MS = 1.0  # due times in whole milliseconds may be rounded


@dataclass
class Bounds:
    """How long a phase may take, and what is known of how many tasks that is."""

    seconds: float = 1.0
    wait_s: float = 20.0  #: for a killed worker's task
    most: int = 1_000_000
    rates: dict[tuple[object, ...], float] = field(default_factory=dict)

    def count(self, key: tuple[object, ...], guess: float) -> int:
        rate = self.rates.get(key, guess)
        return max(min(int(rate * self.seconds), self.most), 20)

    def learn(self, key: tuple[object, ...], rate: float) -> None:
        self.rates[key] = rate


@dataclass
class Case:
    """A system at a setting, on a server with a kind of persistence."""

    system: System
    setting: str
    aof: str
    bounds: Bounds

    @contextmanager
    def place(self) -> Iterator[tuple[Redis, Path]]:
        """A fresh server and a folder for counters and logs."""
        with (
            tempfile.TemporaryDirectory(prefix="reeve-bench-") as folder,
            Redis(aof=self.aof) as redis,
        ):
            yield redis, Path(folder)

    def produce(
        self, redis: Redis, folder: Path, handler: str, count: int, **more: float
    ) -> Figures:
        options = {"batch": 100, "payload": PAYLOAD_BYTES, **more}
        return produce(
            self.system.command,
            redis.url,
            folder,
            count=count,
            handler=handler,
            setting=self.setting,
            **options,  # type: ignore[arg-type]
        )

    def worker(
        self,
        redis: Redis,
        folder: Path,
        handler: str,
        concurrency: int,
        name: str = "worker",
        processes: int = 1,
    ) -> Worker:
        (folder / name).mkdir()
        return Worker(
            self.system.command,
            redis.url,
            folder / name,
            handler=handler,
            setting=self.setting,
            concurrency=concurrency,
            processes=processes,
        )


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def enqueue(case: Case, *, batch: int, handler: str = "noop") -> Figures:
    """Stores tasks, one or many a call, with no worker there."""
    key = ("enqueue", case.system.name, case.setting, batch)
    guess = case.system.guess * (1 if batch == 1 else 2)
    figures = Figures()
    for _ in range(TRIES):
        count = case.bounds.count(key, guess)
        count = max(count // batch, 1) * batch
        with case.place() as (redis, folder):
            memory, cpu = redis.memory_bytes(), redis.cpu_s()
            made = case.produce(redis, folder, handler, count, batch=batch)
            server_s = redis.cpu_s() - cpu
            used = redis.memory_bytes() - memory
        rate = count / made["wall_s"]
        case.bounds.learn(key, rate)
        figures = {
            "rate": rate,
            "client_cpu": made["cpu_s"] * 1e6 / count,
            "redis_cpu": server_s * 1e6 / count,
            "memory": used / count,
        }
        if made["wall_s"] > case.bounds.seconds * 0.4 or count + batch > case.bounds.most:
            break
    return figures


@dataclass
class Sample:
    """What was known at one moment of a run."""

    at_s: float
    count: int
    worker_s: float
    server_s: float


def sample(worker: Worker, redis: Redis) -> Sample:
    count, at_s = worker.count(), time.perf_counter()
    return Sample(at_s, count, worker.cpu_s(), redis.cpu_s())


def wait_count(worker: Worker, wanted: int, *, first_s: float, stall_s: float) -> int:
    """Until that many have run; fewer when nothing has moved for a while."""
    seen, moved = worker.count(), time.monotonic()
    limit_s = first_s
    while seen < wanted:
        time.sleep(POLL_S)
        now = worker.count()
        if now != seen:
            seen, moved, limit_s = now, time.monotonic(), stall_s
        elif time.monotonic() - moved > limit_s:
            worker.check()
            break
    return seen


def measure_run(worker: Worker, redis: Redis, count: int, seconds: float) -> tuple[Figures, float]:
    """Figures between the first tenth and the last of `count` queued tasks, and the seconds of it.

    A run that takes many times what was wished ends early.
    """
    if wait_count(worker, max(count // 10, 1), first_s=FIRST_RUN_S, stall_s=5) == 0:
        raise PhaseError(f"no task ran within {FIRST_RUN_S:.0f} s")
    start = sample(worker, redis)
    deadline = time.monotonic() + seconds * 8
    while worker.count() < count and time.monotonic() < deadline:
        time.sleep(POLL_S)
    end = sample(worker, redis)
    worker.check()
    done, span = end.count - start.count, end.at_s - start.at_s
    if done <= 0 or span <= 0:
        return {}, 0.0
    figures = {
        "rate": done / span,
        "worker_cpu": (end.worker_s - start.worker_s) * 1e6 / done,
        "redis_cpu": (end.server_s - start.server_s) * 1e6 / done,
        "rss": float(worker.memory()),
    }
    return figures, span


def process(
    case: Case,
    *,
    handler: str,
    concurrency: int,
    processes: int = 1,
    behind: int = 0,
    guess: float = 0.0,
) -> Figures:
    """Runs queued tasks; `behind` more stay in the queue."""
    key = ("process", case.system.name, case.setting, handler, concurrency)
    least, figures = 0, Figures()
    for _ in range(TRIES):
        count = max(case.bounds.count(key, guess or case.system.guess), least)
        with case.place() as (redis, folder):
            memory = redis.memory_bytes()
            case.produce(redis, folder, handler, count + behind, batch=1000 if behind else 100)
            memory = redis.memory_bytes() - memory
            with case.worker(redis, folder, handler, concurrency, processes=processes) as worker:
                figures, span = measure_run(worker, redis, count, case.bounds.seconds)
        if span:
            figures["memory"] = memory / (count + behind)
            case.bounds.learn(key, figures["rate"])
        if span > case.bounds.seconds * 0.3 or count >= case.bounds.most:
            break
        least = count * (3 if span else 10)
    if not figures:
        raise PhaseError(f"{count} tasks were over before a second look")
    return figures


def backlog(case: Case, *, handler: str, concurrency: int, count: int) -> Figures:
    """Runs tasks in front of so many others."""
    found = process(case, handler=handler, concurrency=concurrency, behind=count)
    return {name: found[name] for name in ("rate", "worker_cpu", "redis_cpu", "memory")}


def run(
    case: Case, *, handler: str, concurrency: int, processes: int = 1, guess: float = 0.0
) -> Figures:
    """Runs tasks of one handler."""
    found = process(
        case, handler=handler, concurrency=concurrency, processes=processes, guess=guess
    )
    return {name: found[name] for name in ("rate", "worker_cpu", "redis_cpu", "rss")}


def wait_stamps(worker: Worker, count: int, wait_s: float) -> list[tuple[int, int]]:
    deadline = time.monotonic() + wait_s
    while True:
        stamps = worker.stamps()
        if len(stamps) >= count or time.monotonic() > deadline:
            return stamps
        worker.check()
        time.sleep(0.02)


def latency(case: Case, *, concurrency: int, count: int = 80, rate: int = 40) -> Figures:
    """Enqueue call to start of the handler, on a worker that has nothing else to do."""
    with (
        case.place() as (redis, folder),
        case.worker(redis, folder, "stamp", concurrency) as worker,
    ):
        worker.wait_ready()
        case.produce(redis, folder, "stamp", 5, batch=1, rate=rate)  # warm-up
        wait_stamps(worker, 5, FIRST_RUN_S)
        time.sleep(0.2)
        case.produce(redis, folder, "stamp", count, batch=1, rate=rate)
        stamps = wait_stamps(worker, count + 5, 10)[5:]
    if len(stamps) < count * 0.9:
        raise PhaseError(f"{len(stamps)} of {count} tasks started within 10 s")
    waits = [(started - sent) / 1e6 for sent, started in stamps]
    return {"p50": quantile(waits, 0.5), "p99": quantile(waits, 0.99)}


def lateness(
    case: Case, *, concurrency: int, count: int = 200, delay_ms: int = 1500, scheduled: int = 0
) -> Figures:
    """Start of the handler after the due time; `scheduled` others are due in an hour."""
    wait_s = 12.0
    with case.place() as (redis, folder):
        if scheduled:
            case.produce(redis, folder, "stamp", scheduled, batch=1000, delay_ms=3_600_000)
        with case.worker(redis, folder, "stamp", concurrency) as worker:
            worker.wait_ready()
            time.sleep(0.3)
            case.produce(redis, folder, "stamp", count, batch=1, delay_ms=delay_ms, spread_ms=1000)
            stamps = wait_stamps(worker, count, delay_ms / 1000 + 1 + wait_s)
    if len(stamps) < count:
        raise PhaseError(
            f"{len(stamps)} of {count} delayed tasks started within {wait_s:.0f} s of their time"
        )
    late = [(started - due) / 1e6 for due, started in stamps]
    early = sum(value < -EARLY_MS for value in late)
    return {"p50": statistics.median(late), "p99": quantile(late, 0.99), "early": float(early)}


def active(case: Case, *, handler: str, held: int, concurrency: int) -> Figures:
    """Cost of a task while `held` others run in another worker of the same queue."""
    with case.place() as (redis, folder):
        case.produce(redis, folder, "hold", held, batch=100)
        with case.worker(redis, folder, "hold", held, "holder") as holder:
            holder.wait_ready()
            got = wait_count(holder, held, first_s=FIRST_RUN_S, stall_s=3)
            if got < held:
                raise PhaseError(f"{got} of {held} tasks were running at a time")
            key = ("process", case.system.name, case.setting, handler, concurrency)
            count = case.bounds.count(key, case.system.guess)
            # More than are waited for: the holder may have taken some in advance.
            case.produce(redis, folder, handler, count + count // 5 + 100)
            with case.worker(redis, folder, handler, concurrency) as worker:
                figures, span = measure_run(worker, redis, count, case.bounds.seconds)
            holder.check()
    if not span:
        raise PhaseError(f"{count} tasks were over before a second look")
    return {name: figures[name] for name in ("rate", "worker_cpu", "redis_cpu")}
