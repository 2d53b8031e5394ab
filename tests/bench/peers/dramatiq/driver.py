"""Dramatiq on Redis, by the contract of tests/bench/README.md.

Default: RedisBroker with its default middleware and a Worker as `dramatiq --processes 1` makes one.
Best, from its documentation:
- dramatiq_queue_prefetch: messages that a worker takes in advance (Advanced Topics, "Prefetch
  Limits"); 1000 for handlers that are over at once
- --worker-timeout: an idle worker looks again after at most this (API, Worker); 100 ms
- only the middleware that is used: retries, and the one for coroutines where there are some
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from importlib import metadata
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

# ruff: noqa: E402 # an environment variable comes before the import
BEST = sys.argv[1:2] == ["work"] and "best" in sys.argv
if BEST and "hold" not in sys.argv:
    os.environ["dramatiq_queue_prefetch"] = "1000"  # noqa: SIM112 # its name; read at import


import common
import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AsyncIO, Retries
from dramatiq.worker import Worker


def noop(payload: common.Payload) -> None:
    common.hit()


async def anoop(payload: common.Payload) -> None:
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


FUNCTIONS = {
    "noop": noop,
    "anoop": anoop,
    "sleep": sleep,
    "cpu": cpu,
    "stamp": stamp,
    "hold": hold,
}


def make(options: argparse.Namespace) -> tuple[RedisBroker, dramatiq.Actor[..., object]]:
    """The broker with all actors, and the one that is measured. Coroutines need a middleware, which
    is only there when they are measured."""
    is_async = options.handler == "anoop"
    if options.setting == "best":
        broker = RedisBroker(url=options.url, middleware=[Retries()])
    else:
        broker = RedisBroker(url=options.url)
    if is_async:
        broker.add_middleware(AsyncIO())
    dramatiq.set_broker(broker)
    actors = {
        name: dramatiq.actor(function, broker=broker, actor_name=name)
        for name, function in FUNCTIONS.items()
        if is_async or name != "anoop"
    }
    return broker, actors[options.handler]


def produce(options: argparse.Namespace) -> None:
    broker, actor = make(options)

    def store(items: list[common.Item]) -> None:
        if options.delay_ms or options.spread_ms:
            for payload, delay_ms in items:
                actor.send_with_options(args=(payload,), delay=delay_ms)
        elif options.batch == 1:
            actor.send(items[0][0])
        else:
            dramatiq.group([actor.message(payload) for payload, _ in items]).run()

    broker.client.ping()
    common.produce(options, store)


def work(options: argparse.Namespace) -> None:
    broker, _ = make(options)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    more = {"worker_timeout": 100} if options.setting == "best" else {}
    worker = Worker(broker, worker_threads=options.concurrency, **more)
    worker.start()
    common.ready()
    signal.sigwait([signal.SIGTERM])
    worker.stop()
    broker.close()


def main() -> None:
    options = common.parse()
    if options.command == "produce":
        produce(options)
    elif options.command == "work" and options.processes > 1:
        common.run_processes(options)
    elif options.command == "work":
        work(options)
    else:
        common.print_versions(
            "dramatiq",
            metadata.version("dramatiq"),
            default={"queue_prefetch": "2 × threads", "worker_timeout": "1 s", "middleware": "all"},
            best={
                "queue_prefetch": "1000 (Advanced Topics: Prefetch Limits)",
                "worker_timeout": "100 ms (API Reference: Worker)",
                "middleware": "Retries alone, AsyncIO for coroutines (API Reference: Middleware)",
            },
            notes="The best setting has no time limit, age limit, callbacks and pipelines. A "
            "killed worker's tasks come back by chance-driven maintenance after the heartbeat "
            "time-out (60 s). No bulk call: group.run stores one after the other.",
            handlers=list(FUNCTIONS),
        )


if __name__ == "__main__":
    main()
