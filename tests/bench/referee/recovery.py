"""Recovery: a worker is killed while it runs a task; when does that task run elsewhere?

Most of the time nothing happens, so all cases wait at the same time, each on its own server.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from referee.phases import FIRST_RUN_S, Case, Figures
from referee.processes import PhaseError, Worker
from referee.servers import Redis

Report = Callable[[Case, Figures, str], None]
Refuse = Callable[[Case, str], None]


def recover(case: Case, starting: threading.Semaphore) -> tuple[Figures, str]:
    """Seconds from SIGKILL of the whole first worker to the start in the second one."""
    with case.place() as (redis, folder):
        starting.acquire()
        try:
            first = case.worker(redis, folder, "hold", 1, "first")
            with first:
                first.wait_ready()
                case.produce(redis, folder, "hold", 1, batch=1)
                wait_start(first, FIRST_RUN_S)
                second = idle_worker(case, redis, folder)
        finally:
            starting.release()
        with second:
            return watch(first, second, case.bounds.wait_s)


def idle_worker(case: Case, redis: Redis, folder: Path) -> Worker:
    """The one that shall take over."""
    worker = case.worker(redis, folder, "hold", 1, "second")
    try:
        worker.wait_ready()
    except BaseException:
        worker.kill()
        raise
    return worker


def watch(first: Worker, second: Worker, wait_s: float) -> tuple[Figures, str]:
    """`first` has just been killed."""
    killed_ns = first.ended_ns
    if wait_start(second, wait_s, required=False):
        return {"seconds": (second.stamps()[0][1] - killed_ns) / 1e9}, ""
    return {"seconds": wait_s}, f"> {wait_s:.0f} s: not seen within that time"


def wait_start(worker: Worker, wait_s: float, *, required: bool = True) -> bool:
    deadline = time.monotonic() + wait_s
    while not worker.stamps():
        worker.check()
        if time.monotonic() > deadline:
            if required:
                raise PhaseError(f"the task did not start within {wait_s:.0f} s")
            return False
        time.sleep(0.01)
    return True


def recover_all(cases: list[Case], report: Report, refuse: Refuse) -> None:
    """All cases side by side; two at a time start their workers."""
    starting = threading.Semaphore(2)
    lock = threading.Lock()

    def one(case: Case) -> None:
        try:
            figures, note = recover(case, starting)
        except (PhaseError, OSError, ValueError) as error:
            with lock:
                refuse(case, str(error))
            return
        with lock:
            report(case, figures, note)

    threads = [threading.Thread(target=one, args=(case,)) for case in cases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
