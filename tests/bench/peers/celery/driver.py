"""Celery on Redis, by the contract of tests/bench/README.md.

Default: prefork, prefetch multiplier 4, no result backend. Best, from its documentation:
- threads for what waits or is short, prefork for what computes (User Guide, Concurrency); gevent
  was measured slower on the handler that sleeps
- worker_prefetch_multiplier 128 for short tasks, 1 with late acknowledgement for long ones
  (User Guide, Optimizing, "Prefetch Limits")
- ignore_result, --without-gossip, --without-mingle, --without-heartbeat (User Guide, Tasks, "Ignore
  results you don't want"; Workers)
- acks_late and reject_on_worker_lost where a worker may be killed (User Guide, Tasks)
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import celery
import common
from celery.signals import worker_ready


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


HANDLERS = [noop, sleep, cpu, stamp, hold]
SHORT = ("noop", "sleep", "cpu")


def make(options: argparse.Namespace) -> tuple[celery.Celery, dict[str, celery.Task]]:
    """The app and its tasks, by name."""
    app = celery.Celery("bench", broker=options.url)
    more: dict[str, object] = {}
    if options.setting == "best":
        app.conf.worker_prefetch_multiplier = 128 if options.handler in SHORT else 1
        more = {"ignore_result": True}
        if options.handler == "hold":
            more |= {"acks_late": True, "reject_on_worker_lost": True}
    return app, {
        handler.__name__: app.task(name=handler.__name__, **more)(handler) for handler in HANDLERS
    }


def produce(options: argparse.Namespace) -> None:
    app, tasks = make(options)
    task = tasks[options.handler]

    def store(items: list[common.Item]) -> None:
        if options.delay_ms or options.spread_ms:
            for payload, delay_ms in items:
                task.apply_async((payload,), countdown=delay_ms / 1000)
        elif options.batch == 1:
            task.delay(items[0][0])
        else:
            celery.group(task.s(payload) for payload, _ in items).apply_async()

    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=3)
    common.produce(options, store)


def pool(options: argparse.Namespace) -> str:
    if options.setting == "default" or options.handler == "cpu":
        return "prefork"
    return "threads"


def work(options: argparse.Namespace) -> None:
    app, _ = make(options)
    worker_ready.connect(lambda **_: common.ready(), weak=False)
    count = options.concurrency * options.processes
    words = ["worker", "-c", str(count), "-P", pool(options), "-l", "WARNING"]
    if options.setting == "best":
        words += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    app.worker_main(words)


def main() -> None:
    options = common.parse()
    if options.command == "produce":
        produce(options)
    elif options.command == "work":
        work(options)
    else:
        common.print_versions(
            "celery",
            celery.__version__,
            default={"pool": "prefork", "prefetch multiplier": "4", "acks": "before the run"},
            best={
                "pool": "threads; prefork for `cpu` (Concurrency)",
                "prefetch multiplier": "128 for short tasks, 1 for `hold` (Optimizing)",
                "ignore_result": "True (Tasks)",
                "gossip, mingle, heartbeat": "without (Workers)",
                "acks": "late for `hold`, before the run else (Tasks)",
            },
            notes="Acknowledged before they run, a killed worker's tasks are lost; with late "
            "acknowledgement they run again after visibility_timeout (1 h). group.apply_async "
            "stores one after the other. No coroutines.",
            handlers=[handler.__name__ for handler in HANDLERS],
        )


if __name__ == "__main__":
    main()
