"""What Lua costs: enqueues one a call and in batches, and workers on 1, 2 and 4 threads whose
handler does nothing, under Lua 5.4 and LuaJIT, on a private redis-server and on SQLite.

    python tests/bench/lua_bench.py [--build DIR] [--count N] [--rounds N]

CPU is that of the Lua process alone. Rounds are interleaved; medians are printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from support.servers import RedisServer  # noqa: E402

SCRIPT = ROOT / "tests" / "lua" / "scripts" / "bench.lua"
LUAS = {"lua5.4": "5.4", "luajit": "5.1"}
THREADS = (1, 2, 4)
BATCH = 1000


def run(build: Path, program: str, url: str, *words: object) -> tuple[float, float]:
    """(seconds, CPU seconds) of one phase."""
    env = {
        **os.environ,
        "LUA_PATH": f"{ROOT}/lua/?.lua;;",
        "LUA_CPATH": f"{build}/lua/{LUAS[program]}/?.so;;",
    }
    command = [program, str(SCRIPT), url, *map(str, words)]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    seconds, cpu = done.stdout.split()
    return float(seconds), float(cpu)


def one_round(
    rows: dict[str, list[tuple[float, float]]], build: Path, label: str, url: str, count: int
) -> None:
    for program in LUAS:
        singles = count // 10
        phases: list[tuple[str, int, tuple[object, ...]]] = [
            ("enqueue, one a call", singles, ("one", singles)),
            (f"enqueue, {BATCH} a call", count, ("many", count, BATCH)),
        ]
        for threads in THREADS:
            phases += [("", count, ("many", count, BATCH))] if threads != THREADS[0] else []
            phases += [(f"worker, {threads} threads", count, ("work", count, threads))]
        for name, amount, words in phases:
            seconds, cpu = run(build, program, url, *words)
            # The first worker also runs what the single calls have left.
            tasks = amount + (singles if name == f"worker, {THREADS[0]} threads" else 0)
            if name:
                row = rows.setdefault(f"{label}: {program} {name}", [])
                row.append((tasks / seconds, cpu * 1e6 / tasks))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build-bench")
    parser.add_argument("--count", type=int, default=50000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rows: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="reeve-bench-") as folder:
        server = RedisServer(Path(folder) / "redis", appendonly="no").start()
        try:
            for number in range(options.rounds):
                brokers = {"redis": server.url, "sqlite": f"sqlite://{folder}/{number}.db"}
                for label, url in brokers.items():
                    one_round(rows, options.build.resolve(), label, url, options.count)
        finally:
            server.kill()
    print(f"{'':<44}{'tasks/s':>10}{'CPU µs/task':>14}")
    for name, figures in rows.items():
        rate, cpu = (statistics.median(values) for values in zip(*figures, strict=True))
        print(f"{name:<44}{rate:>10,.0f}{cpu:>14.2f}")


if __name__ == "__main__":
    main()
