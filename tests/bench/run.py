"""Measure reeve and print tables: `make bench`, or

    python tests/bench/run.py [--build DIR] [--runs N] [--count N] [--json FILE]

Starts a private redis-server on a unix socket and on loopback, runs each phase
several times in fresh databases and prints medians with their spread. CPU is
what the processes themselves report; a server's CPU is the difference of its
own INFO used_cpu_* around a phase. Ratios compare runs of one call.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PAYLOAD_BYTES = 200
Figures = dict[str, float]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Redis:
    """A private redis-server, spoken to by redis-cli."""

    def __init__(self, folder: Path, *, appendonly: bool) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        arguments = [
            "redis-server", "--port", str(self.port), "--bind", "127.0.0.1",
            "--save", "", "--dir", str(folder), "--logfile", "redis.log",
            "--appendonly", "yes" if appendonly else "no",
        ]  # fmt: skip
        self.process = subprocess.Popen(arguments)
        deadline = time.monotonic() + 10
        while self.cli("PING").strip() != "PONG":
            if time.monotonic() > deadline:
                sys.exit("bench: redis-server does not answer")
            time.sleep(0.02)

    def cli(self, *words: str) -> str:
        command = ["redis-cli", "-p", str(self.port), *words]
        return subprocess.run(command, capture_output=True, text=True).stdout

    def info(self, section: str) -> dict[str, str]:
        lines = self.cli("INFO", section).splitlines()
        pairs = (line.split(":", 1) for line in lines if ":" in line)
        return {name: value.strip() for name, value in pairs}

    def cpu_s(self) -> float:
        cpu = self.info("cpu")
        return float(cpu["used_cpu_sys"]) + float(cpu["used_cpu_user"])

    def memory_bytes(self) -> int:
        return int(self.info("memory")["used_memory"])

    def flush(self) -> None:
        self.cli("FLUSHALL")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


@dataclass
class Row:
    """One line of a table: figures of several runs."""

    name: str
    runs: list[Figures] = field(default_factory=list)

    def median(self, key: str) -> float | None:
        values = [run[key] for run in self.runs if key in run]
        return statistics.median(values) if values else None

    def spread(self, key: str) -> str:
        values = [run[key] for run in self.runs if key in run]
        return f"{min(values):.3g} … {max(values):.3g}" if values else ""


class Bench:
    """Runs phases and collects rows."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.core = Path(options.build) / "programs" / "bench_core"
        if not self.core.exists():
            sys.exit(f"bench: {self.core} is missing: run `make build` first")
        self.count = options.count
        self.runs = options.runs
        self.folder = folder
        self.rows: list[Row] = []

    def row(self, name: str) -> Row:
        found = next((row for row in self.rows if row.name == name), None)
        if found is None:
            found = Row(name)
            self.rows.append(found)
        return found

    def note(self, name: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\033[K{name}", end="", file=sys.stderr, flush=True)

    def phase(self, url: str, *words: object) -> Figures:
        """One run of bench_core or bench_python; its JSON line."""
        command = [str(self.core), url, *map(str, words)]
        if words[0] == "python":
            command = [sys.executable, str(HERE / "bench_python.py"), url,
                       *map(str, words[1:])]  # fmt: skip
        out = subprocess.run(command, capture_output=True, text=True)
        if out.returncode:
            sys.exit(f"bench: {' '.join(command)} failed: {out.stderr.strip()}")
        figures: Figures = json.loads(out.stdout)
        return figures

    def on_redis(self, redis: Redis, name: str, *words: object) -> Figures:
        """A phase with the server's CPU around it."""
        self.note(name)
        before = redis.cpu_s()
        figures = self.phase(redis.url, *words)
        count = figures["count"]
        figures["server_us"] = (redis.cpu_s() - before) * 1e6 / count
        self.row(name).runs.append(figures)
        return figures

    def limit(self, redis: Redis, batch: int) -> float:
        """Server CPU µs a task of plain LPUSH + RPOP of the same bytes."""
        self.note(f"limit, batch {batch}")
        redis.flush()
        calls = max(self.count // batch, 1)
        body = "x" * (PAYLOAD_BYTES + 60)
        before = redis.cpu_s()
        feed_pipe(redis.port, ["LPUSH", "bare", *[body] * batch], calls)
        feed_pipe(redis.port, ["RPOP", "bare", str(batch)], calls)
        figure = (redis.cpu_s() - before) * 1e6 / (calls * batch)
        row = self.row(f"bare LPUSH + RPOP, {batch} a call")
        row.runs.append({"server_us": figure})
        return figure


def encode(words: list[str]) -> bytes:
    parts = [f"*{len(words)}\r\n"]
    parts += [f"${len(word)}\r\n{word}\r\n" for word in words]
    return "".join(parts).encode()


def feed_pipe(port: int, words: list[str], calls: int) -> None:
    """Sends a command `calls` times through one pipelined connection."""
    command = encode(words)
    chunk = command * max(1, 65536 // len(command))
    per_chunk = len(chunk) // len(command)
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.settimeout(30)
        left = calls
        while left > 0:
            now = min(per_chunk, left)
            link.sendall(chunk[: now * len(command)])
            link.sendall(encode(["ECHO", "that-was-all"]))
            tail = b""
            while not tail.endswith(b"that-was-all\r\n"):
                tail = tail[-32:] + link.recv(1 << 20)
            left -= now


def run_redis(bench: Bench, redis: Redis, label: str) -> None:
    count = bench.count
    for _ in range(bench.runs):
        for batch in (1, 32):
            bench.limit(redis, batch)
        for batch in (1, 32, 1000):
            redis.flush()
            empty = redis.memory_bytes()
            amount = max(count // 4, 1) if batch == 1 else count
            name = f"{label}: C enqueue, {batch} a call"
            figures = bench.on_redis(redis, name, "enqueue", amount, batch)
            used = redis.memory_bytes() - empty
            figures["bytes_each"] = used / amount
            worker = {1: 1, 32: 32, 1000: 100}[batch]
            name = f"{label}: C worker, concurrency {worker}"
            bench.on_redis(redis, name, "poll", amount, worker)
        redis.flush()
        run_python(bench, redis.url, label, redis)


def run_python(bench: Bench, url: str, label: str, redis: Redis | None) -> None:
    plan: list[tuple[str, tuple[object, ...]]] = [
        ("Python enqueue, 1 a call", ("enqueue", bench.count // 10, 1)),
        ("Python enqueue, 1000 a call", ("enqueue", bench.count, 1000)),
        ("Python worker, async no-op", ("work-async", bench.count, 100)),
        ("Python worker, threads no-op", ("work-sync", bench.count // 4, 10)),
    ]
    for name, words in plan:
        if redis is not None:
            bench.on_redis(redis, f"{label}: {name}", "python", *words)
        else:
            bench.note(name)
            figures = bench.phase(url, "python", *words)
            bench.row(f"{label}: {name}").runs.append(figures)


def run_sqlite(bench: Bench) -> None:
    for run in range(bench.runs):
        for batch, worker in ((1, 1), (100, 100)):
            url = f"sqlite:///{bench.folder}/bench-{run}-{batch}.db"
            amount = max(bench.count // (10 if batch == 1 else 1), 1)
            name = f"sqlite: C enqueue, {batch} a call"
            bench.note(name)
            bench.row(name).runs.append(bench.phase(url, "enqueue", amount, batch))
            name = f"sqlite: C worker, concurrency {worker}"
            bench.row(name).runs.append(bench.phase(url, "poll", amount, worker))
        run_python(bench, f"sqlite:///{bench.folder}/py-{run}.db", "sqlite", None)


def run_idle(bench: Bench, redis: Redis) -> None:
    redis.flush()
    for label, url in (
        ("redis", redis.url),
        ("sqlite", f"sqlite:///{bench.folder}/idle.db"),
    ):
        name = f"{label}: idle worker, enqueue → start"
        bench.note(name)
        bench.row(name).runs.append(bench.phase(url, "idle", 1000))


COLUMNS = [
    ("per_s", "tasks/s", "{:,.0f}"),
    ("cpu_us", "CPU µs/task", "{:.2f}"),
    ("server_us", "server CPU µs/task", "{:.2f}"),
    ("bytes_each", "bytes/task", "{:.0f}"),
    ("p50_us", "p50 µs", "{:.0f}"),
    ("p99_us", "p99 µs", "{:.0f}"),
]


def ratios(bench: Bench) -> list[str]:
    """Full cycle on the server against the bare limit, of the same call."""
    lines = []
    for batch, worker in ((1, 1), (32, 32)):
        limit = bench.row(f"bare LPUSH + RPOP, {batch} a call").median("server_us")
        enqueue = bench.row(f"redis: C enqueue, {batch} a call").median("server_us")
        work = bench.row(f"redis: C worker, concurrency {worker}").median("server_us")
        if limit and enqueue and work:
            cycle = enqueue + work
            lines.append(
                f"Redis CPU per task, full cycle at batch {batch}: {cycle:.2f} µs, "
                f"{cycle / limit:.1f}× the bare limit of {limit:.2f} µs"
            )
    return lines


def print_table(bench: Bench) -> None:
    width = max(len(row.name) for row in bench.rows)
    print(f"{'':{width}}  " + "  ".join(f"{title:>18}" for _, title, _ in COLUMNS))
    for row in bench.rows:
        cells = []
        for key, _, form in COLUMNS:
            value = row.median(key)
            cells.append(f"{form.format(value) if value is not None else '':>18}")
        print(f"{row.name:{width}}  " + "  ".join(cells))
    print(f"\nmedians of {bench.runs} runs; spread (least … most):")
    for row in bench.rows:
        spread = row.spread("per_s") or row.spread("p50_us")
        if spread:
            print(f"  {row.name:{width}}  {spread}")
    print()
    print("\n".join(ratios(bench)))


def machine() -> dict[str, Any]:
    version = subprocess.run(
        ["redis-server", "--version"], capture_output=True, text=True
    ).stdout.split()
    return {"cpus": os.cpu_count(), "redis": version[2] if len(version) > 2 else "?"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=str(ROOT / "build-bench"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--aof", action="store_true", help="also with AOF everysec")
    parser.add_argument("--json", metavar="FILE", help="write every run there")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="reeve-bench-"))
    bench = Bench(options, folder)
    modes = [("redis", False)] + ([("redis AOF", True)] if options.aof else [])
    try:
        for label, appendonly in modes:
            redis = Redis(folder, appendonly=appendonly)
            try:
                run_redis(bench, redis, label)
                if not appendonly:
                    run_idle(bench, redis)
            finally:
                redis.stop()
        run_sqlite(bench)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    bench.note("")
    print_table(bench)
    if options.json:
        rows = {row.name: row.runs for row in bench.rows}
        report = {"machine": machine(), "rows": rows}
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
