"""Huey on Redis, by the contract of tests/bench/README.md.

Default: RedisHuey and thread workers. Best, from its documentation:
- threads for what waits, processes for what computes (Consuming tasks, "Choosing the worker
  type"); greenlets were measured slower on the handler that sleeps
- results=False: a result that nobody asks for is not stored (API, "Huey object")
Huey pops a task before it runs it: a worker that dies loses it, at any setting.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import common
import huey as huey_
from huey import RedisHuey

huey: RedisHuey


def make(options: argparse.Namespace) -> dict[str, object]:
    """The app and its tasks, by name."""
    global huey
    huey = RedisHuey("bench", url=options.url, results=options.setting == "default")
    functions = (noop, sleep, cpu, stamp, hold)
    return {function.__name__: huey.task()(function) for function in functions}


def noop(payload: common.Payload) -> None:
    common.hit()


def sleep(payload: common.Payload) -> None:
    common.hit()
    time.sleep(0.001)


def cpu(payload: common.Payload) -> None:
    common.hit()
    common.burn()


def stamp(payload: common.Payload) -> None:
    common.stamp(payload)
    common.hit()


def hold(payload: common.Payload) -> None:
    common.stamp(payload)
    common.hit()
    time.sleep(60)


def produce(options: argparse.Namespace) -> None:
    task = make(options)[options.handler]
    delayed = options.delay_ms or options.spread_ms

    def store(items: list[common.Item]) -> None:
        if delayed:
            for payload, delay_ms in items:
                task.schedule(args=(payload,), delay=delay_ms / 1000)
        elif options.batch == 1:
            task(items[0][0])
        else:
            task.map([payload for payload, _ in items])

    huey.storage.conn.ping()
    common.produce(options, store)


def work(options: argparse.Namespace) -> None:
    make(options)
    kind, count = "thread", options.concurrency * options.processes
    if options.setting == "best" and options.processes > 1:
        kind, count = "process", options.processes
    consumer = huey.create_consumer(workers=count, worker_type=kind, periodic=False)
    start = consumer.start

    def start_and_tell() -> None:
        start()
        common.ready()

    consumer.start = start_and_tell
    consumer.run()


def main() -> None:
    options = common.parse()
    if options.command == "produce":
        produce(options)
    elif options.command == "work":
        work(options)
    else:
        common.print_versions(
            "huey",
            huey_.__version__,
            default={"workers": "threads", "results": "True", "serializer": "pickle"},
            best={
                "workers": "threads; processes for `cpu` (Consuming tasks)",
                "results": "False (API: Huey object)",
                "serializer": "pickle",
            },
            notes="A task is popped before it runs: a killed worker loses it (both settings). "
            "No bulk call: TaskWrapper.map stores one after the other.",
            handlers=["noop", "sleep", "cpu", "stamp", "hold"],
        )


if __name__ == "__main__":
    main()
