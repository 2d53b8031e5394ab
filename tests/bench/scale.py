"""What reeve costs when there is much of everything; prints tables and writes records.

    python tests/bench/scale.py [--quick] [--rows workers,producers,…] [--json FILE]

`workers` and `producers`: 1 to 8 processes on one Redis until its core is full, on one queue and
on several. `backlog`, `active`, `scheduled`, `queues`: what a task costs the server while 1 to a
million are stored; scale_cost interleaves the depths, so that each round is a pair. `bare_…` is
the control: the commands a verb needs on the hash and the list, without its script. The records
are those of tests/bench/README.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PROCESSES = (1, 2, 4, 8)
#: A cost may grow by this much from the least to the most stored and is called flat.
FLAT = 1.2
PAGES_SQL = "SELECT count(*) FROM dbstat WHERE name = 'tasks_place'"

Record = dict[str, Any]


@dataclass
class Depths:
    """One row of scale_cost: how much is stored, and over how many tasks a figure is."""

    redis: tuple[int, ...]
    sqlite: tuple[int, ...]
    count: int
    quick: tuple[int, ...]


DEPTHS = {
    "backlog": Depths((1, 10**3, 10**4, 10**5, 10**6), (1, 10**4, 10**6), 20_000, (1, 10**4)),
    "active": Depths((1, 100, 1000, 10**4), (1, 100, 1000, 10**4), 8_000, (1, 1000)),
    "scheduled": Depths((1, 10**3, 10**5, 10**6), (1, 10**4, 10**6), 16_000, (1, 10**4)),
    "queues": Depths((4, 10**3, 10**5), (4, 10**3, 10**5), 8_000, (4, 1000)),
}


def process_cpu_s(pid: int) -> float:
    """CPU of another process, all its threads (the clock of clock_getcpuclockid)."""
    return time.clock_gettime((~pid << 3) | 2)


def wait_for(ready: Callable[[], bool], what: str) -> None:
    """Ends the program when it does not come to be within a minute."""
    deadline = time.monotonic() + 60
    while not ready():
        if time.monotonic() > deadline:
            sys.exit(f"scale: waited in vain for {what}")
        time.sleep(0.005)


class Redis:
    """A private redis-server without persistence."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
             "--dir", str(folder), "--logfile", f"redis-{self.port}.log"]
        )  # fmt: skip
        deadline = time.monotonic() + 10
        while True:
            try:
                self.link = socket.create_connection(("127.0.0.1", self.port))
                break
            except OSError:
                if time.monotonic() > deadline:
                    sys.exit("scale: redis-server does not answer")
                time.sleep(0.02)
        self.file = self.link.makefile("rb")

    def call(self, *words: str) -> Any:
        """One command; its reply, a text, a number or None."""
        parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
        self.link.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
        line = self.file.readline().decode().strip()
        if line[0] == "-":
            sys.exit(f"scale: {words[0]}: {line}")
        if line[0] == "$":
            size = int(line[1:])
            return None if size < 0 else self.file.read(size + 2)[:-2].decode()
        return int(line[1:]) if line[0] == ":" else line[1:]

    def cpu_s(self) -> float:
        return process_cpu_s(self.process.pid)

    def used_memory(self) -> int:
        for line in self.call("INFO", "memory").splitlines():
            if line.startswith("used_memory:"):
                return int(line.partition(":")[2])
        sys.exit("scale: INFO memory does not say used_memory")

    def done(self, queues: list[str]) -> int:
        return sum(int(self.call("HGET", f"reeve:{{{q}}}:meta", "done") or 0) for q in queues)

    def pending(self, queues: list[str]) -> int:
        return sum(self.call("LLEN", f"reeve:{{{q}}}:pending") for q in queues)

    def stop(self) -> None:
        self.file.close()
        self.link.close()
        self.process.terminate()
        self.process.wait()


@dataclass
class Sheet:
    """What was measured, as records."""

    records: list[Record] = field(default_factory=list)

    def add(
        self,
        row: str,
        metric: str,
        unit: str,
        runs: list[float],
        *,
        system: str = "reeve-c",
        note: str = "",
        **axes: Any,
    ) -> None:
        figures = {
            "median": statistics.median(runs),
            "min": min(runs),
            "max": max(runs),
            "runs": runs,
        }
        self.records.append(
            {
                "row": row,
                "metric": metric,
                "system": system,
                "setting": "default",
                "axes": axes,
                "unit": unit,
                "figures": figures,
                "note": note,
            }
        )


class Scale:
    """Runs the rows."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.programs = Path(options.build).resolve() / "programs"
        for name in ("scale_cost", "scale_load"):
            if not (self.programs / name).exists():
                sys.exit(f"scale: {self.programs / name} is missing: build it first")
        self.folder = folder
        self.quick: bool = options.quick
        self.runs: int = options.runs or (2 if options.quick else 5)
        self.window_s = 0.5 if options.quick else 2.0
        self.sheet = Sheet()

    # Many processes

    def load(self, system: str, *words: object) -> subprocess.Popen[bytes]:
        text = list(map(str, words))
        if system == "reeve-c":
            return subprocess.Popen([str(self.programs / "scale_load"), *text])
        child = [sys.executable, str(HERE / "scale.py"), "--child", *text]
        return subprocess.Popen(child)

    @contextmanager
    def many(self, system: str, count: int, url: str, *words: object) -> Iterator[list[int]]:
        """Processes of one kind over the queues of words[1]; their ids. Killed at the end."""
        role, queues, param = words
        assert isinstance(queues, list)
        started = [
            self.load(system, url, role, queues[i % len(queues)], param) for i in range(count)
        ]
        try:
            yield [process.pid for process in started]
            died = [process for process in started if process.poll() is not None]
            if died:
                sys.exit(f"scale: a process of {system} ended: {died[0].args!r}")
        finally:
            for process in started:
                process.kill()
                process.wait()

    def fill(self, redis: Redis, queues: list[str], amount: int) -> None:
        redis.call("FLUSHALL")
        with self.many("reeve-c", len(queues), redis.url, "produce", queues, 500):
            wait_for(lambda: redis.pending(queues) >= amount, "a backlog")

    def window(self, redis: Redis, pids: list[int], count: Callable[[], int]) -> tuple[float, ...]:
        """tasks/s, Redis's core in %, Redis µs/task, µs/task of the processes."""
        before = (time.monotonic(), redis.cpu_s(), sum(map(process_cpu_s, pids)), count())
        time.sleep(self.window_s)
        after = (time.monotonic(), redis.cpu_s(), sum(map(process_cpu_s, pids)), count())
        wall, server, clients, tasks = (b - a for a, b in zip(before, after, strict=True))
        tasks = max(tasks, 1)
        return tasks / wall, 100 * server / wall, 1e6 * server / tasks, 1e6 * clients / tasks

    def put(self, row: str, system: str, runs: list[tuple[float, ...]], **axes: Any) -> None:
        names = ("rate", "redis_core", "redis_cpu", f"{row[:-1]}_cpu")
        units = ("tasks/s", "%", "µs/task", "µs/task")
        for index, (metric, unit) in enumerate(zip(names, units, strict=True)):
            runs_of = [run[index] for run in runs]
            self.sheet.add(f"scale-{row}", metric, unit, runs_of, system=system, **axes)

    def workers(self) -> None:
        plans = [("reeve-c", 1, 64), ("reeve-c", 4, 64), ("reeve", 1, 100)]
        redis = Redis(self.folder)
        try:
            for system, shards, concurrency in plans:
                queues = [f"scale-{i}" for i in range(shards)]
                for processes in PROCESSES[:2] if self.quick else PROCESSES:
                    if processes >= shards:
                        runs = self.work_runs(redis, system, processes, queues, concurrency)
                        self.put("workers", system, runs, processes=processes, queues=shards)
        finally:
            redis.stop()

    def work_runs(
        self, redis: Redis, system: str, processes: int, queues: list[str], concurrency: int
    ) -> list[tuple[float, ...]]:
        rate = 500_000 if system == "reeve-c" else 120_000
        amount = int(rate * (self.window_s + 0.7))
        runs: list[tuple[float, ...]] = []
        while len(runs) < min(self.runs, 3):
            self.fill(redis, queues, amount)
            with self.many(system, processes, redis.url, "work", queues, concurrency) as pids:
                wait_for(lambda: redis.done(queues) >= 1000 * processes, "workers at work")
                time.sleep(0.2)
                run = self.window(redis, pids, lambda: redis.done(queues))
                if redis.pending(queues) == 0:
                    amount *= 2  # it ran dry: that was no measurement
                    continue
            runs.append(run)
        return runs

    def producers(self) -> None:
        redis = Redis(self.folder)
        try:
            for system, batch, shards in (
                ("reeve-c", 1, 1), ("reeve-c", 100, 1), ("reeve-c", 100, 4), ("reeve", 1, 1),
                ("reeve", 100, 1),
            ):  # fmt: skip
                queues = [f"scale-{i}" for i in range(shards)]
                for processes in PROCESSES[:2] if self.quick else PROCESSES:
                    if processes < shards:
                        continue
                    runs = []
                    for _ in range(min(self.runs, 3)):
                        redis.call("FLUSHALL")
                        with self.many(
                            system, processes, redis.url, "produce", queues, batch
                        ) as pids:
                            runs.append(self.produce_run(redis, pids, queues))
                    axes = {"processes": processes, "batch": batch, "queues": shards}
                    self.put("producers", system, runs, **axes)
        finally:
            redis.stop()

    def produce_run(self, redis: Redis, pids: list[int], queues: list[str]) -> tuple[float, ...]:
        wait_for(lambda: redis.pending(queues) >= 1000 * len(pids), "producers at work")
        return self.window(redis, pids, lambda: redis.pending(queues))

    # Much stored

    def cost(self, phase: str) -> None:
        plan = DEPTHS[phase]
        depths = plan.quick if self.quick else plan.redis
        servers = [Redis(self.folder) for _ in depths]
        try:
            empty = [server.used_memory() for server in servers]
            places = [
                word
                for server, depth in zip(servers, depths, strict=True)
                for word in (server.url, server.process.pid, depth)
            ]
            self.cost_of("redis", phase, plan.count, places)
            if phase == "backlog":
                self.explain("scale-backlog")
            if phase == "queues":
                grown = servers[-1].used_memory() - empty[-1]
                self.sheet.add(
                    "scale-queues", "memory", "bytes/queue", [grown / depths[-1]],
                    broker="redis", depth=depths[-1],
                )  # fmt: skip
        finally:
            for server in servers:
                server.stop()
        depths = plan.quick if self.quick else plan.sqlite
        places = [
            word
            for depth in depths
            for word in (f"sqlite:///{self.folder}/{phase}-{depth}.db", 0, depth)
        ]
        self.cost_of("sqlite", phase, plan.count, places)
        if phase == "active":
            self.count_pages([r for r in self.sheet.records if r["axes"].get("broker") == "sqlite"])

    def count_pages(self, records: list[Record]) -> None:
        """Notes the pages of the index in which each extend moves a row."""
        for record in records:
            if record["metric"] == "extend_cpu":
                path = self.folder / f"active-{depth_of(record)}.db"
                # SQLite may be built without dbstat.
                with closing(sqlite3.connect(path)) as store, suppress(sqlite3.OperationalError):
                    pages = store.execute(PAGES_SQL).fetchone()[0]
                    record["note"] = f"pages of the index by place: {pages}"

    def explain(self, row: str) -> None:
        """Notes how much of what a verb costs more with depth the bare commands do, too."""
        records = [r for r in self.sheet.records if r["row"] == row]
        for verb in ("enqueue", "turn"):
            series = sorted((r for r in records if r["metric"] == f"{verb}_cpu"), key=depth_of)
            bare = sorted((r for r in records if r["metric"] == f"bare_{verb}_cpu"), key=depth_of)
            for ours, control in list(zip(series, bare, strict=True))[1:]:
                ours["note"] = (
                    f"{rise(series[0], ours):+.2f} µs; bare commands on the same keys "
                    f"{rise(bare[0], control):+.2f} µs"
                )

    def cost_of(self, broker: str, phase: str, count: int, places: list[Any]) -> None:
        command = [str(self.programs / "scale_cost"), phase]
        amount = count // 8 if self.quick else count
        command += [str(amount), str(self.runs), *map(str, places)]
        out = subprocess.run(command, capture_output=True, text=True)
        if out.returncode:
            sys.exit(f"scale: {' '.join(command)} failed: {out.stderr.strip()}")
        for line in out.stdout.splitlines():
            found = json.loads(line)
            depth, rss_kb = found.pop("depth"), found.pop("rss_kb")
            for name, runs in found.items():
                unit = "µs/queue" if name == "list" else "µs/task"
                axes = {"broker": broker, "depth": depth, "batch": 32}
                self.sheet.add(f"scale-{phase}", f"{name}_cpu", unit, runs["cpu_us"], **axes)
                self.sheet.add(f"scale-{phase}", f"{name}_wall", unit, runs["wall_us"], **axes)
            if phase == "queues" and depth == places[-1]:
                self.sheet.add(
                    f"scale-{phase}", "client_rss", "bytes", [rss_kb * 1024.0],
                    broker=broker, depth=depth,
                )  # fmt: skip


# Tables


def find(records: list[Record], metric: str, **axes: Any) -> Record | None:
    for record in records:
        if record["metric"] == metric and all(
            record["axes"].get(name) == value for name, value in axes.items()
        ):
            return record
    return None


def print_processes(row: str, records: list[Record]) -> None:
    print(f"\n{row}: on one Redis, medians")
    metrics = ["rate", "redis_core", "redis_cpu", f"{row.removeprefix('scale-')[:-1]}_cpu"]
    print(f"  {'':34}" + "".join(f"{name:>14}" for name in metrics))
    for record in records:
        if record["metric"] != "rate":
            continue
        axes = record["axes"]
        same = [r for r in records if r["axes"] == axes and r["system"] == record["system"]]
        label = f"{record['system']} " + " ".join(f"{k} {v}" for k, v in axes.items())
        cells = [find(same, metric) for metric in metrics]
        print(
            f"  {label:34}"
            + "".join(f"{cell['figures']['median']:>14,.2f}" if cell else "" for cell in cells)
        )


def print_depths(row: str, records: list[Record]) -> None:
    """Costs by depth, and each as a ratio to the least depth, round by round."""
    for broker in ("redis", "sqlite"):
        of = [r for r in records if r["axes"].get("broker") == broker]
        print(f"\n{row} on {broker}: µs of server CPU, medians; × is to the least depth, paired")
        for metric in dict.fromkeys(r["metric"] for r in of if r["metric"].endswith("_cpu")):
            series = sorted((r for r in of if r["metric"] == metric), key=depth_of)
            base = series[0]["figures"]["runs"]
            cells = []
            for record in series:
                runs = record["figures"]["runs"]
                times = statistics.median(b / a for a, b in zip(base, runs, strict=True))
                flat = "" if times <= FLAT else " !"
                median = record["figures"]["median"]
                cells.append(f"{depth_of(record):>8}: {median:7.2f} ({times:.2f}×{flat})")
            print(f"  {metric:16}" + "  ".join(cells))
            for record in series:
                if record["note"]:
                    print(f"  {'':16}at {depth_of(record)}: {record['note']}")
        for metric in ("list_wall", "memory", "client_rss"):
            for record in (r for r in of if r["metric"] == metric):
                print(
                    f"  {metric} at {depth_of(record)}: "
                    f"{record['figures']['median']:,.2f} {record['unit']}"
                )


def rise(base: Record, record: Record) -> float:
    """By how much a figure is above the one at the least depth, round by round."""
    pairs = zip(base["figures"]["runs"], record["figures"]["runs"], strict=True)
    return float(statistics.median(b - a for a, b in pairs))


def depth_of(record: Record) -> int:
    return int(record["axes"]["depth"])


def print_tables(records: list[Record]) -> None:
    for row in dict.fromkeys(record["row"] for record in records):
        of = [record for record in records if record["row"] == row]
        (print_depths if "depth" in of[0]["axes"] else print_processes)(row, of)


# Python processes


def child(url: str, role: str, queue: str, param: int) -> None:
    """A producer or a worker of the Python package, until killed."""
    from reeve import App
    from reeve.worker import Worker

    app = App(url)

    @app.task(name="bench:noop", queue=queue)
    async def noop(text: str) -> None:
        pass

    text = "x" * 189
    if role == "produce":
        while True:
            if param == 1:
                noop.enqueue(text)
            else:
                noop.enqueue_many([(text,)] * param)
    worker = Worker(app, concurrency=param, queues={queue: 1})
    worker.start()
    threading.Event().wait()


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        url, role, queue, param = sys.argv[2:]
        child(url, role, queue, int(param))
    rows = ["workers", "producers", *DEPTHS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=str(ROOT / "build-bench"))
    parser.add_argument("--rows", default=",".join(rows), help="default: %(default)s")
    parser.add_argument("--runs", type=int, default=0, help="rounds; default 5, quick 2")
    parser.add_argument("--quick", action="store_true", help="small depths, short windows")
    parser.add_argument("--json", metavar="FILE", help="write the records there")
    options = parser.parse_args()
    chosen = options.rows.split(",")
    for row in chosen:
        if row not in rows:
            parser.error(f"there is no row {row!r}: {', '.join(rows)}")
    folder = Path(tempfile.mkdtemp(prefix="reeve-scale-"))
    scale = Scale(options, folder)
    try:
        for row in chosen:
            if row in DEPTHS:
                scale.cost(row)
            else:
                getattr(scale, row)()
            print(f"{row}: done", file=sys.stderr)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print_tables(scale.sheet.records)
    if options.json:
        report = {"records": scale.sheet.records}
        Path(options.json).write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
