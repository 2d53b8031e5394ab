"""Recovery: what runs a task is killed by SIGKILL; when does that task start again?

`kill` "worker": the whole worker, all its processes; another worker is there and idle. "child": of
a worker of two processes the one that runs the task. Most of the time nothing happens, so all cases
wait at the same time, each on its own server.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from referee.phases import FIRST_RUN_S, Case, Figures
from referee.processes import PhaseError, Worker
from referee.servers import Redis, ServerError

KILLS = ("worker", "child")
#: Threads or greenlets of one process do the work whatever is asked for: no child to kill.
ONE_PROCESS = ("reeve-c", "reeve-lua", "asynq", "bullmq")
#: Figures and a note, or why there are none.
Outcome = tuple[Figures, str] | str


def recover(case: Case, kill: str, starting: threading.Semaphore) -> tuple[Figures, str]:
    """Seconds from SIGKILL to the second start."""
    with case.place() as (redis, folder):
        with starting:
            first = holder(case, redis, folder, processes=2 if kill == "child" else 1)
            try:
                second = first if kill == "child" else idle_worker(case, redis, folder)
            except BaseException:
                first.kill()
                raise
        with second:
            killed_ns = kill_child(first) if kill == "child" else kill_worker(first)
            return watch(second, killed_ns, case.bounds.wait_s, seen=int(first is second))


def kill_worker(worker: Worker) -> int:
    worker.kill()
    return worker.ended_ns


def kill_child(worker: Worker) -> int:
    """Kills the process that has counted."""
    counts = worker.counts()
    pid = max(counts, key=lambda pid: counts[pid])
    killed_ns = time.monotonic_ns()
    os.kill(pid, signal.SIGKILL)
    return killed_ns


def watch(worker: Worker, killed_ns: int, wait_s: float, seen: int) -> tuple[Figures, str]:
    deadline = time.monotonic() + wait_s
    while len(worker.stamps()) <= seen:
        if worker.process.poll() is not None:
            return {"seconds": wait_s}, f"> {wait_s:.0f} s: the worker has ended with its process"
        if time.monotonic() > deadline:
            return {"seconds": wait_s}, f"> {wait_s:.0f} s: not seen within that time"
        time.sleep(0.01)
    return {"seconds": (worker.stamps()[seen][1] - killed_ns) / 1e9}, ""


def holder(case: Case, redis: Redis, folder: Path, processes: int) -> Worker:
    """A worker that runs the task."""
    worker = case.worker(redis, folder, "hold", 1, "first", processes)
    try:
        worker.wait_ready()
        case.produce(redis, folder, "hold", 1, batch=1)
        deadline = time.monotonic() + FIRST_RUN_S
        while not worker.stamps() or not worker.count():
            worker.check()
            if time.monotonic() > deadline:
                raise PhaseError(f"the task did not start within {FIRST_RUN_S:.0f} s")
            time.sleep(0.01)
    except BaseException:
        worker.kill()
        raise
    return worker


def idle_worker(case: Case, redis: Redis, folder: Path) -> Worker:
    """The one that shall take over."""
    worker = case.worker(redis, folder, "hold", 1, "second")
    try:
        worker.wait_ready()
    except BaseException:
        worker.kill()
        raise
    return worker


def recover_all(cases: list[tuple[Case, str]]) -> list[Outcome]:
    """All cases side by side, two at a time start their workers; outcomes in the cases' order."""
    starting = threading.Semaphore(2)

    def one(pair: tuple[Case, str]) -> Outcome:
        try:
            return recover(*pair, starting)
        except (PhaseError, ServerError, OSError, ValueError) as error:
            return str(error)

    with ThreadPoolExecutor(max(len(cases), 1)) as pool:
        return list(pool.map(one, cases))
