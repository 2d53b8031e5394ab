"""One measured phase of the Python package; prints one JSON line.

    bench_python.py URL enqueue COUNT BATCH        BATCH tasks a call
    bench_python.py URL work-async COUNT CONCURRENCY
    bench_python.py URL work-sync COUNT CONCURRENCY

The work phases put COUNT tasks into the queue first, outside the measured span,
and end when a no-op handler has counted them all.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
import time

from reeve import App
from reeve.worker import Worker

PAYLOAD = "x" * 180


class Counter:
    """Counts runs and says when the last has come."""

    def __init__(self, wanted: int) -> None:
        self.left = wanted
        self.done = threading.Event()

    def hit(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.done.set()


def cpu_s() -> float:
    use = resource.getrusage(resource.RUSAGE_SELF)
    return use.ru_utime + use.ru_stime


def report(phase: str, count: int, param: int, wall_s: float, used_s: float) -> None:
    figures = {
        "phase": phase,
        "count": count,
        "param": param,
        "wall_s": wall_s,
        "cpu_s": used_s,
        "per_s": count / wall_s,
        "cpu_us": used_s * 1e6 / count,
    }
    print(json.dumps(figures))


def main() -> None:
    url, phase = sys.argv[1], sys.argv[2]
    count, param = int(sys.argv[3]), int(sys.argv[4])
    app = App(url)
    counter = Counter(count)

    queue = f"bench-{phase}"  # what one phase leaves is not another's work

    @app.task(queue=queue)
    async def noop_async(text: str) -> None:
        counter.hit()

    @app.task(queue=queue)
    def noop_sync(text: str) -> None:
        counter.hit()

    if phase == "enqueue":
        start, used = time.perf_counter(), cpu_s()
        if param == 1:
            for _ in range(count):
                noop_async.enqueue(PAYLOAD)
        else:
            batch = [(PAYLOAD,)] * param
            for _ in range(count // param):
                noop_async.enqueue_many(batch)
        report(phase, count, param, time.perf_counter() - start, cpu_s() - used)
        return
    task = noop_async if phase == "work-async" else noop_sync
    for left in range(count, 0, -10_000):
        task.enqueue_many([(PAYLOAD,)] * min(left, 10_000))
    worker = Worker(app, concurrency=param, queues={queue: 1})
    start, used = time.perf_counter(), cpu_s()
    worker.start()
    counter.done.wait()
    worker.stop()
    worker.join()
    report(phase, count, param, time.perf_counter() - start, cpu_s() - used)


if __name__ == "__main__":
    main()
