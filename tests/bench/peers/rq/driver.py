"""RQ, by the contract of tests/bench/README.md.

Default: `rq worker`, or `rq worker-pool -n N` for more than one at a time; a fork a job. Best, from
its documentation:
- SimpleWorker runs jobs in the worker itself (Workers, "Performance notes")
- JSONSerializer instead of pickle (Jobs, "Serializers")
- result_ttl=0: results are not kept (Results)
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from datetime import timedelta
from pathlib import Path

os.environ["BENCH_KEEP_MAP"] = "1"  # a worker's forks run one at a time
sys.path.append(str(Path(__file__).resolve().parents[1]))

import common
import rq
import rq_tasks
from redis import Redis
from rq import Queue, SimpleWorker, Worker
from rq.scheduler import RQScheduler
from rq.serializers import DefaultSerializer, JSONSerializer
from rq.worker_pool import WorkerPool


class ForkingWorker(Worker):
    def work(self, *args: object, **options: object) -> bool:
        common.open_counters()  # in the worker; its forks go on with the map
        return super().work(*args, **options)


class PlainWorker(SimpleWorker):
    def work(self, *args: object, **options: object) -> bool:
        common.open_counters()
        return super().work(*args, **options)


def produce(options: argparse.Namespace) -> None:
    best = options.setting == "best"
    serializer = JSONSerializer if best else DefaultSerializer
    queue = Queue("bench", connection=Redis.from_url(options.url), serializer=serializer)
    function = getattr(rq_tasks, options.handler)
    kept = {"result_ttl": 0} if best else {}

    def store(items: list[common.Item]) -> None:
        if options.delay_ms or options.spread_ms:
            for payload, delay_ms in items:
                queue.enqueue_in(timedelta(milliseconds=delay_ms), function, payload, **kept)
        elif options.batch == 1:
            queue.enqueue(function, items[0][0], **kept)
        else:
            calls = [Queue.prepare_data(function, args=[payload], **kept) for payload, _ in items]
            queue.enqueue_many(calls)

    queue.connection.ping()
    common.produce(options, store)


def tell_when_ready(url: str, count: int) -> None:
    """Says so once as many workers as wanted have registered. A process, not a thread: the pool
    forks its workers."""
    if os.fork():
        return
    connection = Redis.from_url(url)
    while connection.scard("rq:workers") < count and os.getppid() != 1:
        time.sleep(0.01)
    common.ready()
    os._exit(0)


def work(options: argparse.Namespace) -> None:
    best = options.setting == "best"
    kind = PlainWorker if best else ForkingWorker
    serializer = JSONSerializer if best else DefaultSerializer
    count = options.concurrency * options.processes
    connection = Redis.from_url(options.url)
    tell_when_ready(options.url, count)
    if count == 1:
        queue = Queue("bench", connection=connection, serializer=serializer)
        kind([queue], connection=connection, serializer=serializer).work(
            logging_level="WARNING", with_scheduler=options.handler == "stamp"
        )
        return
    if options.handler == "stamp":  # the pool has no scheduler: one of its own, as --with-scheduler
        scheduler = RQScheduler(["bench"], connection, serializer=serializer)
        scheduler.acquire_locks()
        scheduler.start()
    pool = WorkerPool(
        ["bench"], connection, num_workers=count, worker_class=kind, serializer=serializer
    )
    pool.start(logging_level="WARNING")


def main() -> None:
    options = common.parse()
    if options.command == "produce":
        produce(options)
    elif options.command == "work":
        work(options)
    else:
        common.print_versions(
            "rq",
            rq.VERSION,
            default={
                "worker": "Worker, a fork a job; worker-pool for several",
                "serializer": "pickle",
            },
            best={
                "worker": "SimpleWorker in a worker-pool (Workers: Performance notes)",
                "serializer": "JSONSerializer (Jobs: Serializers)",
                "result_ttl": "0 (Results)",
            },
            notes="SimpleWorker drops the isolation of a fork a job. A killed worker's job is "
            "marked failed after its time-out; without a Retry it never runs again.",
            handlers=["noop", "sleep", "cpu", "stamp", "hold"],
        )


if __name__ == "__main__":
    main()
