"""Mixed load for minutes: is every task accounted for, and does anything grow?

    python tests/bench/soak.py [--minutes 10] [--on redis-c,redis-python,sqlite-c,sqlite-python]
                               [--rate 1000] [--json FILE]

A producer enqueues to weighted queues at a steady rate, some tasks delayed, all with a retention;
handlers fail some first runs. One worker stays, one is restarted by SIGTERM again and again, one is
killed now and then. Memory, descriptors, threads and files are sampled; the verdict is a line
fitted through the second half. What keeps results is full by then: the retention is a twentieth of
the run. Leaves with 1 when something was lost or grows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from scale import ROOT, Redis, Sheet, wait_for

from reeve import App, Context, Retry
from reeve.worker import Worker

QUEUES = {"soak-high": 6, "soak-mid": 3, "soak-low": 1}
CASES = ("redis-c", "redis-python", "sqlite-c", "sqlite-python")
DELAY_MAX_MS = 3000
FAIL_PERCENT = 5
#: A line through the second half may rise by this over that half.
MAY_RISE = 0.03
MAY_RISE_BYTES = {"rss": 1 << 20, "server": 1 << 20, "files": 4 << 20}
COUNTS = ("count", "threads")
CONCURRENCY = 16
#: A worker starts a thread when more handlers run at once than ever before. Beside these: the
#: core's three, the main one, one that watches, and one to spare.
THREADS_MAX = CONCURRENCY + 6


# Samples


@dataclass
class Series:
    """One quantity over time."""

    name: str
    kind: str  # rss, server, files: bytes; count: must not grow; threads: has a bound
    times: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def half(self) -> tuple[list[float], list[float]]:
        middle = len(self.times) // 2
        return self.times[middle:], self.values[middle:]

    def rise(self) -> float:
        """Of the fitted line from the beginning to the end of the second half."""
        times, values = self.half()
        mean_t, mean_v = sum(times) / len(times), sum(values) / len(values)
        above = sum((t - mean_t) * (v - mean_v) for t, v in zip(times, values, strict=True))
        below = sum((t - mean_t) ** 2 for t in times)
        return above / below * (times[-1] - times[0]) if below else 0.0

    def bound(self) -> float:
        _, values = self.half()
        middle = sorted(values)[len(values) // 2]
        if self.kind == "threads":
            return THREADS_MAX - middle
        return max(MAY_RISE * middle, MAY_RISE_BYTES.get(self.kind, 1))

    @property
    def flat(self) -> bool:
        if self.kind == "threads":
            return max(self.values) <= THREADS_MAX
        return self.rise() <= self.bound()


def read_process(pid: int) -> tuple[int, int, int]:
    """RSS in bytes, descriptors, threads."""
    status = Path(f"/proc/{pid}/status").read_text()
    words = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    rss = int(words["VmRSS"].split()[0]) * 1024
    return rss, len(list(Path(f"/proc/{pid}/fd").iterdir())), int(words["Threads"])


def file_bytes(path: Path) -> int:
    """Of one that is not yet made: nothing."""
    return path.stat().st_size if path.exists() else 0


# The run


class Soak:
    """One case: a store, a producer, three workers."""

    def __init__(self, case: str, options: argparse.Namespace, folder: Path) -> None:
        self.broker, self.language = case.split("-")
        self.case = case
        self.folder = folder
        self.rate: int = options.rate
        self.seconds = options.minutes * 60.0
        self.retention_s = max(self.seconds / 20, 1.0)
        self.e2e = Path(options.build).resolve() / "e2e"
        self.redis = Redis(folder) if self.broker == "redis" else None
        self.file = folder / f"{case}.db"
        self.url = self.redis.url if self.redis else f"sqlite:///{self.file}"
        self.series: dict[str, Series] = {}
        self.restarts = self.kills = 0
        self.serial = 0
        self.processes: list[subprocess.Popen[bytes]] = []

    # Processes

    def start(self, role: str) -> subprocess.Popen[bytes]:
        """A worker or the producer; a worker is ready when this returns."""
        self.serial += 1
        journal = self.folder / f"{self.case}-{role}-{self.serial}.log"
        words = self.python_words if self.language == "python" else self.c_words
        out = subprocess.PIPE if role == "work" else subprocess.DEVNULL
        with open(self.folder / "processes.log", "ab") as log:
            process = subprocess.Popen(words(role, journal), stdout=out, stderr=log)
        self.processes.append(process)
        if process.stdout and process.stdout.readline() != b"ready\n":
            sys.exit(f"soak: a worker did not start: {self.log_tail()}")
        return process

    def python_words(self, role: str, journal: Path) -> list[str]:
        words = [sys.executable, __file__, "--child", role, self.url, str(journal)]
        return [*words, str(self.rate), str(self.retention_s)]

    def c_words(self, role: str, journal: Path) -> list[str]:
        if role == "work":
            weights = ",".join(f"{name}={weight}" for name, weight in QUEUES.items())
            return [str(self.e2e / "e2e_worker"), "--url", self.url, "--queues", weights,
                    "--journal", str(journal), "--fail-percent", str(FAIL_PERCENT),
                    "--lease-ms", "3000", "--concurrency", str(CONCURRENCY)]  # fmt: skip
        # A gap is random, half of its most on the average, for each call.
        batch = 10
        return [str(self.e2e / "e2e_producer"), "--url", self.url, "--acks", str(journal),
                "--queues", ",".join(QUEUES), "--batch", str(batch), "--count", str(10**12),
                "--gap-max-us", str(2 * 10**6 * batch // self.rate),
                "--delay-max-ms", str(DELAY_MAX_MS), "--retry-ms", "60000",
                "--retention-ms", str(int(self.retention_s * 1000))]  # fmt: skip

    def log_tail(self) -> str:
        return (self.folder / "processes.log").read_text(errors="replace")[-800:]

    # Samples

    def note(self, name: str, kind: str, at_s: float, value: float) -> None:
        one = self.series.setdefault(name, Series(name, kind))
        one.times.append(at_s)
        one.values.append(value)

    def sample(self, at_s: float, watched: dict[str, int]) -> None:
        for name, pid in watched.items():
            rss, fds, threads = read_process(pid)
            self.note(f"{name} RSS", "rss", at_s, rss)
            self.note(f"{name} descriptors", "count", at_s, fds)
            self.note(f"{name} threads", "threads", at_s, threads)
        if self.redis:
            self.note("redis used_memory", "server", at_s, self.redis.used_memory())
            self.note("redis keys", "count", at_s, self.redis.call("DBSIZE"))
        else:
            self.note("database file", "files", at_s, file_bytes(self.file))
            log = self.file.with_name(self.file.name + "-wal")
            self.note("write-ahead log", "files", at_s, file_bytes(log))

    # The story

    def run(self) -> None:
        steady, often = self.start("work"), self.start("work")
        victim, producer = self.start("work"), self.start("produce")
        watched = {"worker": steady.pid, "producer": producer.pid}
        begun = time.monotonic()
        every = self.seconds / 200
        restart_at, kill_at = self.seconds / 40, self.seconds / 12
        while (now := time.monotonic() - begun) < self.seconds:
            self.sample(now, watched)
            if now > restart_at:
                often = self.replace(often, signal.SIGTERM)
                self.restarts += 1
                restart_at += self.seconds / 40
            if now > kill_at:
                victim = self.replace(victim, signal.SIGKILL)
                self.kills += 1
                kill_at += self.seconds / 12
            self.check_alive(steady, often, victim, producer)
            time.sleep(every)
        producer.send_signal(signal.SIGTERM)
        producer.wait(30)
        try:
            self.drain()
        finally:
            for worker in (steady, often, victim):
                self.end(worker, signal.SIGTERM)

    def check_alive(self, *processes: subprocess.Popen[bytes]) -> None:
        for process in processes:
            if process.poll() is not None:
                sys.exit(f"soak: {process.args!r} ended: {self.log_tail()}")

    def end(self, worker: subprocess.Popen[bytes], number: signal.Signals) -> None:
        worker.send_signal(number)
        code = worker.wait(60)
        if worker.stdout:
            worker.stdout.close()
        if number == signal.SIGTERM and code != 0:
            sys.exit(f"soak: a worker left with {code}: {self.log_tail()}")

    def replace(
        self, worker: subprocess.Popen[bytes], number: signal.Signals
    ) -> subprocess.Popen[bytes]:
        self.end(worker, number)
        return self.start("work")

    def counts(self) -> dict[str, int]:
        app = App(self.url)
        try:
            found = [info for info in app.queues() if info.name in QUEUES]
        finally:
            app.close()
        return {
            "backlog": sum(info.backlog for info in found),
            "done": sum(info.done_total for info in found),
            "dead": sum(info.archived for info in found),
            "kept": sum(info.completed for info in found),
        }

    def drain(self) -> None:
        wait_for(lambda: self.counts()["backlog"] == 0, "an empty store")

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        if self.redis:
            self.redis.stop()

    # The verdict

    def journals(self, role: str, letter: str) -> list[str]:
        """The ids in all lines of one kind, torn last lines of the killed left out."""
        found: list[str] = []
        for path in self.folder.glob(f"{self.case}-{role}-*.log"):
            with open(path) as stream:
                found += [
                    line.split(" ", 2)[1]
                    for line in stream
                    if line.startswith(letter + " ") and line.endswith("\n")
                ]
        return found

    def verdict(self) -> dict[str, int]:
        acked = self.journals("produce", "A")
        ended = self.journals("work", "E")
        counts = self.counts()
        lost = len(set(acked) - set(ended))
        # Done once each, however often they ran; a few were stored and never acknowledged, for the
        # producer was ended in a call.
        missing = len(acked) - counts["done"] - counts["dead"]
        return {
            "acked": len(acked), "runs": len(ended), "lost": lost,
            "unaccounted": max(missing, 0), "restarts": self.restarts, "kills": self.kills,
            **counts,
        }  # fmt: skip


# Python processes


def note_line(fd: int, letter: str, id: str) -> None:
    os.write(fd, f"{letter} {id} \n".encode())


def child(role: str, url: str, journal: str, rate: str, retention: str) -> None:
    fd = os.open(journal, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    app = App(url)
    keep, again = float(retention), Retry(base=0.5, max_attempts=25)

    def work(ctx: Context, pad: str) -> str:
        note_line(fd, "E", ctx.id)
        if ctx.attempt == 1 and random.randrange(100) < FAIL_PERCENT:
            raise ValueError("it fails the first time")
        return pad[:32]

    @app.task(name="soak:plain", retention=keep, retry=again)
    def plain(ctx: Context, pad: str) -> str:
        return work(ctx, pad)

    @app.task(name="soak:coroutine", retention=keep, retry=again)
    async def coroutine(ctx: Context, pad: str) -> str:
        await asyncio.sleep(0)
        return work(ctx, pad)

    if role == "work":
        worker = Worker(app, concurrency=CONCURRENCY, queues=QUEUES, lease=3.0)
        print("ready", flush=True)
        worker.run()
        return
    batch, at = 10, 0
    due = time.monotonic()
    while True:
        task = (plain, coroutine)[at % 2]
        queue = list(QUEUES)[at % len(QUEUES)]
        delay = random.randrange(DELAY_MAX_MS) / 1000
        bound = task.using(queue=queue, delay=delay)
        for job in bound.enqueue_many([("x" * 100,)] * batch):
            note_line(fd, "A", job.id)
        at += 1
        due += batch / int(rate)
        time.sleep(max(due - time.monotonic(), 0))


# Tables and records


def show(value: float, kind: str) -> str:
    return f"{value / 1024:,.0f} KiB" if kind not in COUNTS else f"{value:,.1f}"


def report(soak: Soak, sheet: Sheet) -> bool:
    found = soak.verdict()
    print(f"\n{soak.case}: {soak.seconds:.0f} s, {soak.rate} tasks/s wanted")
    print("  " + ", ".join(f"{name} {value}" for name, value in found.items()))
    good = found["lost"] == 0 and found["unaccounted"] == 0 and found["acked"] > 0
    print(f"  every acknowledged task is accounted for: {'yes' if good else 'NO'}")
    print(f"  {'':24}{'first':>14}{'half':>14}{'last':>14}{'rise':>12}{'may':>12}")
    for one in soak.series.values():
        middle = one.values[len(one.values) // 2]
        cells = [show(v, one.kind) for v in (one.values[0], middle, one.values[-1])]
        cells += [show(one.rise(), one.kind), show(one.bound(), one.kind)]
        widths = (14, 14, 14, 12, 12)
        line = "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        print(f"  {one.name:24}{line}  {'flat' if one.flat else 'GROWS'}")
        good = good and one.flat
        axes = {"case": soak.case, "what": one.name, "seconds": soak.seconds}
        unit = "count" if one.kind in COUNTS else "bytes"
        sheet.add("soak", "rise", unit, [one.rise()], system="reeve", **axes)
        sheet.add("soak", "level", unit, one.half()[1], system="reeve", **axes)
    for name, value in found.items():
        sheet.add("soak", name, "tasks", [float(value)], system="reeve", case=soak.case)
    return good


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        role, url, journal, rate, retention = sys.argv[2:]
        return child(role, url, journal, rate, retention)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=str(ROOT / "build-bench"))
    parser.add_argument("--minutes", type=float, default=10.0, help="of each case")
    parser.add_argument("--rate", type=int, default=1000, help="tasks/s")
    parser.add_argument("--on", default=",".join(CASES), help="default: %(default)s")
    parser.add_argument("--json", metavar="FILE", help="write the records there")
    options = parser.parse_args()
    sheet, good = Sheet(), True
    for case in options.on.split(","):
        if case not in CASES:
            parser.error(f"there is no case {case!r}: {', '.join(CASES)}")
        folder = Path(tempfile.mkdtemp(prefix="reeve-soak-"))
        soak = Soak(case, options, folder)
        try:
            soak.run()
            good = report(soak, sheet) and good
        finally:
            soak.close()
            shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        text = json.dumps({"records": sheet.records}, indent=1, ensure_ascii=False)
        Path(options.json).write_text(text + "\n")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
