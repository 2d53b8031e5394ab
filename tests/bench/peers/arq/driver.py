"""arq, by the contract of tests/bench/README.md.

Default: its Worker and ArqRedis pool as they come. Best, from its documentation:
- poll_delay: the worker polls, at most that often (Reference, arq.worker.Worker); 10 ms here
- keep_result=0: results are not kept (Usage, "Job results")
- job_serializer: its own example is msgpack (Usage, "Custom job serializers"); orjson here
- uvloop's event loop policy
arq has coroutines only: no plain handlers.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))

import common
import orjson
import uvloop
from arq import create_pool, func
from arq.connections import RedisSettings
from arq.version import VERSION
from arq.worker import Worker

Context = dict[Any, Any]


async def anoop(context: Context, payload: common.Payload) -> None:
    common.hit()


async def sleep(context: Context, payload: common.Payload) -> None:
    common.hit()
    await asyncio.sleep(0.001)


async def cpu(context: Context, payload: common.Payload) -> None:
    common.hit()
    common.burn()


async def stamp(context: Context, payload: common.Payload) -> None:
    common.stamp(payload)
    common.hit()


async def hold(context: Context, payload: common.Payload) -> None:
    common.stamp(payload)
    common.hit()
    await asyncio.sleep(60)


HANDLERS = [anoop, sleep, cpu, stamp, hold]


def serializers(best: bool) -> dict[str, Any]:
    if not best:
        return {}
    return {"job_serializer": orjson.dumps, "job_deserializer": orjson.loads}


async def produce(options: argparse.Namespace) -> None:
    best = options.setting == "best"
    pool = await create_pool(RedisSettings.from_dsn(options.url), **serializers(best))

    async def store(items: list[common.Item]) -> None:
        calls = [
            pool.enqueue_job(
                options.handler,
                payload,
                _defer_by=timedelta(milliseconds=delay_ms) if delay_ms else None,
            )
            for payload, delay_ms in items
        ]
        if len(calls) == 1:
            await calls[0]
        else:
            await asyncio.gather(*calls)

    await pool.ping()
    await common.aproduce(options, store)
    await pool.aclose()


async def started(context: Context) -> None:
    common.ready()


async def work(options: argparse.Namespace) -> None:
    best = options.setting == "best"
    more: dict[str, Any] = {"poll_delay": 0.01, "keep_result": 0} if best else {}
    worker = Worker(
        functions=[func(handler) for handler in HANDLERS],
        redis_settings=RedisSettings.from_dsn(options.url),
        max_jobs=options.concurrency,
        on_startup=started,
        handle_signals=True,
        **more,
        **serializers(best),
    )
    try:
        await worker.async_run()
    except asyncio.CancelledError:
        await worker.close()


def main() -> None:
    options = common.parse()
    if options.command == "versions":
        common.print_versions(
            "arq",
            VERSION,
            default={"poll_delay": "0.5 s", "keep_result": "1 h", "serializer": "pickle"},
            best={
                "poll_delay": "0.01 s (Reference: Worker)",
                "keep_result": "0 (Usage: Job results)",
                "serializer": "orjson (Usage: Custom job serializers)",
                "loop": "uvloop",
            },
            notes="Coroutines only. A killed worker's job runs again when its in-progress key "
            "expires: job_timeout (300 s) + 10 s. No bulk call: gather of single ones.",
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
