"""What only reeve has: a supervisor whose child is killed, and producers inside nginx."""

from __future__ import annotations

import array
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from referee.phases import FIRST_RUN_S, Figures
from referee.processes import PhaseError, Worker, produce
from referee.servers import Redis
from referee.systems import BENCH, load

SYSTEM = "reeve"
AGAIN_S = 40.0  # longer than a lease: without the supervisor it would take that
#: Rows of nginx_bench.py, and what a record calls them.
NGINX = {"reeve": "nginx enqueue", "reeve20": "nginx enqueue_many of 20"}


def child_again(build: Path) -> Figures:
    """Seconds from SIGKILL of a child that runs a task to its start in another child."""
    system = load(SYSTEM, build)
    if system.why_not:
        raise PhaseError(system.why_not)
    with tempfile.TemporaryDirectory(prefix="reeve-bench-") as name, Redis() as redis:
        folder = Path(name)
        with Worker(
            system.command,
            redis.url,
            folder / "worker",
            handler="hold",
            setting="best",
            concurrency=2,
            processes=2,
        ) as worker:
            worker.wait_ready()
            produce(
                system.command,
                redis.url,
                folder,
                count=1,
                batch=1,
                handler="hold",
                setting="best",
            )
            wait_runs(worker, 1, FIRST_RUN_S)
            killed_ns = time.monotonic_ns()
            os.kill(who_runs(worker), signal.SIGKILL)
            wait_runs(worker, 2, AGAIN_S)
            return {"seconds": (worker.stamps()[1][1] - killed_ns) / 1e9}


def wait_runs(worker: Worker, count: int, wait_s: float) -> None:
    """Until so many runs have stamped and counted."""
    deadline = time.monotonic() + wait_s
    while len(worker.stamps()) < count or worker.count() < count:
        worker.check()
        if time.monotonic() > deadline:
            raise PhaseError(f"run {count} of the task did not start within {wait_s:.0f} s")
        time.sleep(0.002)


def who_runs(worker: Worker) -> int:
    """The process that has counted."""
    for path in worker.counters.iterdir():
        if sum(array.array("Q", path.read_bytes())):
            return int(path.name)
    raise PhaseError("no process has counted")


def nginx(build: Path, rounds: int, seconds: int = 1) -> dict[str, list[Figures]]:
    """CPU of an nginx worker a task and tasks a second, by what it did, round by round."""
    for program in ("nginx", "wrk"):
        if shutil.which(program) is None:
            raise PhaseError(f"{program} is not installed")
    with tempfile.TemporaryDirectory(prefix="reeve-bench-") as name:
        out = Path(name) / "costs.json"
        words = ["--build", build, "--seconds", seconds, "--rounds", rounds, "--costs", out]
        command = [sys.executable, str(BENCH / "nginx_bench.py"), *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise PhaseError(f"nginx_bench.py: {done.stderr.strip()[-300:]}")
        found = json.loads(out.read_text())
    return {
        what: [
            {"client_cpu": cpu_us / found[row]["tasks"], "rate": rate * found[row]["tasks"]}
            for cpu_us, rate in zip(found[row]["cpu_us"], found[row]["per_s"], strict=True)
        ]
        for row, what in NGINX.items()
    }
