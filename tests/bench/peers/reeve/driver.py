"""reeve from Python, by the contract of tests/bench/README.md.

Default: what `pip install reeve-queue` gives. Best: with its extra `fast` (orjson). Both keep every
guarantee: leases with fencing, settles in batches of at most 5 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
import common

if os.environ.get("BENCH_SETTING") == "default" or "default" in sys.argv[1:]:
    sys.modules["orjson"] = None  # type: ignore[assignment] # as if it were not installed

from reeve import App

app = App(os.environ.get("BENCH_URL"))
Payload = dict[str, object]


@app.task(name="noop")
def noop(payload: Payload) -> None:
    common.hit()


@app.task(name="anoop")
async def anoop(payload: Payload) -> None:
    common.hit()


@app.task(name="sleep")
async def sleep(payload: Payload) -> None:
    common.hit()
    await asyncio.sleep(0.001)


@app.task(name="cpu")
def cpu(payload: Payload) -> None:
    common.hit()
    common.burn()


@app.task(name="stamp")
def stamp(payload: Payload) -> None:
    common.stamp(payload)
    common.hit()


@app.task(name="hold")
async def hold(payload: Payload) -> None:
    common.stamp(payload)
    common.hit()
    await asyncio.sleep(60)


def produce(options: argparse.Namespace) -> None:
    app.rebase(options.url)
    task = app.tasks[options.handler]

    def store(items: list[common.Item]) -> None:
        if options.delay_ms or options.spread_ms:
            for payload, delay_ms in items:
                task.using(delay=delay_ms / 1000).enqueue(payload)
        elif options.batch == 1:
            task.enqueue(items[0][0])
        else:
            task.enqueue_many([(payload,) for payload, _ in items])

    _ = app.client  # connected before the loop
    common.produce(options, store)


class Started(logging.Handler):
    """Says `ready` at the worker's own line about its start."""

    def emit(self, record: logging.LogRecord) -> None:
        if "started on" in record.getMessage():
            common.ready()


def work(options: argparse.Namespace) -> None:
    if options.processes > 1:
        supervise(options)
        return
    log = logging.getLogger("reeve.worker")
    log.setLevel(logging.INFO)
    log.addHandler(Started())
    app.rebase(options.url)
    app.worker(concurrency=options.concurrency).run()


def supervise(options: argparse.Namespace) -> None:
    """`reeve worker --processes`, ready when each child has said so."""
    command = [sys.executable, "-m", "reeve", "worker", "driver:app"]
    command += ["--concurrency", str(options.concurrency), "--processes", str(options.processes)]
    environment = {
        **os.environ,
        "BENCH_URL": options.url,
        "BENCH_SETTING": options.setting,
        "PYTHONPATH": str(Path(__file__).parent),
    }
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    common.pass_on_sigterm(process)
    left = options.processes
    for line in process.stderr or ():
        print(line, end="", file=sys.stderr)
        left -= "started on" in line
        if left == 0:
            common.ready()
            left = -1
    sys.exit(process.wait())


def main() -> None:
    options = common.parse()
    if options.command == "produce":
        produce(options)
    elif options.command == "work":
        work(options)
    else:
        common.print_versions(
            "reeve",
            metadata.version("reeve-queue"),
            default={"json": "standard library"},
            best={"json": "orjson, extra `fast` (docs/python-api.md, Data)"},
            notes="All guarantees in both: at least once, leases of 30 s with fencing.",
            handlers=["noop", "anoop", "sleep", "cpu", "stamp", "hold"],
        )


if __name__ == "__main__":
    main()
