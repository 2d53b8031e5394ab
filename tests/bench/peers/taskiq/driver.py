"""taskiq with taskiq-redis, by the contract of tests/bench/README.md.

Default: RedisStreamBroker, the only one of its brokers that acknowledges (taskiq-redis,
"RedisStreamBroker"). Best: ListQueueBroker, which pops tasks and forgets them, ORJSONSerializer
(taskiq, "Available brokers", "Message format"), uvloop, and no check of types
(`--no-parse`, "CLI"). Delayed tasks need its scheduler, run here beside the worker.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))

import common
import uvloop
from taskiq import TaskiqScheduler
from taskiq.api import run_receiver_task, run_scheduler_task
from taskiq.serializers import ORJSONSerializer
from taskiq_redis import ListQueueBroker, ListRedisScheduleSource, RedisStreamBroker


def noop(payload: common.Payload) -> None:
    common.hit()


async def anoop(payload: common.Payload) -> None:
    common.hit()


async def sleep(payload: common.Payload) -> None:
    common.hit()
    await asyncio.sleep(0.001)


def cpu(payload: common.Payload) -> None:
    common.hit()
    common.burn()


async def stamp(payload: common.Payload) -> None:
    common.stamp(payload)
    common.hit()


async def hold(payload: common.Payload) -> None:
    common.stamp(payload)
    common.hit()
    await asyncio.sleep(60)


HANDLERS = [noop, anoop, sleep, cpu, stamp, hold]


def make(options: argparse.Namespace) -> tuple[Any, dict[str, Any], ListRedisScheduleSource]:
    """The broker, its tasks by name, the source of schedules."""
    broker: Any
    if options.setting == "best":
        broker = ListQueueBroker(options.url).with_serializer(ORJSONSerializer())
    else:
        broker = RedisStreamBroker(options.url, consumer_id="0")
    tasks = {
        handler.__name__: broker.task(task_name=handler.__name__)(handler) for handler in HANDLERS
    }
    return broker, tasks, ListRedisScheduleSource(options.url)


async def produce(options: argparse.Namespace) -> None:
    broker, tasks, source = make(options)
    task = tasks[options.handler]
    delayed = options.delay_ms or options.spread_ms

    async def store(items: list[common.Item]) -> None:
        if delayed:
            now = datetime.now(UTC)
            for payload, delay_ms in items:
                due = now + timedelta(milliseconds=delay_ms)
                await task.schedule_by_time(source, due, payload)
        elif len(items) == 1:
            await task.kiq(items[0][0])
        else:
            await asyncio.gather(*(task.kiq(payload) for payload, _ in items))

    await broker.startup()
    if delayed:
        await source.startup()
    await common.aproduce(options, store)
    await broker.shutdown()


async def work(options: argparse.Namespace) -> None:
    broker, _, source = make(options)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await broker.startup()
    receiver = asyncio.create_task(
        run_receiver_task(
            broker,
            sync_workers=options.concurrency,
            max_async_tasks=options.concurrency,
            validate_params=options.setting == "default",
        )
    )
    tasks = [receiver]
    if options.handler == "stamp":
        scheduler = TaskiqScheduler(broker, [source])
        second = timedelta(seconds=1)
        tasks.append(asyncio.create_task(run_scheduler_task(scheduler, interval=second)))
    await asyncio.sleep(0)
    common.ready()
    await stopped.wait()
    for running in tasks:
        running.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await broker.shutdown()


def main() -> None:
    options = common.parse()
    if options.command == "versions":
        common.print_versions(
            "taskiq",
            f"{metadata.version('taskiq')}, redis {metadata.version('taskiq-redis')}",
            default={
                "broker": "RedisStreamBroker (idle_timeout 10 min)",
                "serializer": "JSON",
                "scheduler": "ListRedisScheduleSource, looks every second",
            },
            best={
                "broker": "ListQueueBroker (taskiq-redis: README)",
                "serializer": "ORJSONSerializer (Guide: Message format)",
                "loop": "uvloop",
                "types": "not checked, --no-parse (Guide: CLI)",
                "scheduler": "ListRedisScheduleSource, looks every second",
            },
            notes="The best setting drops acknowledgements: a killed worker loses its tasks. At "
            "the default they run again after idle_timeout. No bulk call: gather of single ones.",
            handlers=[handler.__name__ for handler in HANDLERS],
        )
        return
    if options.setting == "best":
        uvloop.install()
    if options.command == "produce":
        asyncio.run(produce(options))
    elif options.processes > 1:
        common.run_processes(options)
    else:
        asyncio.run(work(options))


if __name__ == "__main__":
    main()
