"""``reeve queues``, ``pause``, ``resume``, ``weight``."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time

import click

from reeve import App, QueueInfo
from reeve.cli._common import (
    connection,
    json_flag,
    make_rich_table,
    open_app,
    put_json,
    put_table,
    refuse_stray_options,
    said,
    show_seconds,
)

_COLUMNS = (
    "queue",
    ">pending",
    ">active",
    ">scheduled",
    ">retry",
    ">dead",
    ">completed",
    ">done",
    ">failed runs",
    ">latency",
    ">weight",
    "state",
)


def _row(info: QueueInfo) -> list[str]:
    if info.error:
        return [info.name, *"?" * (len(_COLUMNS) - 2), "damaged"]
    return [
        info.name,
        *map(str, (info.pending, info.active, info.scheduled, info.retry, info.archived)),
        *map(str, (info.completed, info.done_total, info.failed_total)),
        show_seconds(info.latency_ms / 1000) if info.latency_ms else "-",
        str(info.weight) if info.weight else "-",
        "paused" if info.paused else "",
    ]


def _damage(found: list[QueueInfo]) -> list[str]:
    return [f"{info.name} is damaged: {info.error}" for info in found if info.error]


def _show(app: App, as_json: bool) -> None:
    if as_json:
        put_json([dataclasses.asdict(info) for info in app.queues()])
    else:
        found = app.queues()
        put_table(_COLUMNS, map(_row, found), "no queues yet")
        for line in _damage(found):
            click.echo(f"reeve: {line}", err=True)


def _watch(app: App, interval: float, as_json: bool) -> None:
    if as_json or not sys.stdout.isatty():
        while True:
            _show(app, as_json)
            if not as_json:
                click.echo()  # between two tables
            sys.stdout.flush()
            time.sleep(interval)
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False) as live:
        while True:
            found = app.queues()
            table = make_rich_table(_COLUMNS, map(_row, found), live.console.width)
            live.update(Group(table, *map(Text, _damage(found))), refresh=True)
            time.sleep(interval)


@click.group(
    invoke_without_command=True,
    epilog="Examples:  reeve queues --watch --url redis://localhost  |  reeve queues drop mail",
)
@click.option("--watch", is_flag=True, help="Show again and again, until Ctrl-C.")
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    default=1.0,
    show_default=True,
    help="Seconds between two looks.",
)
@connection
@json_flag
@click.pass_context
def queues(
    context: click.Context,
    watch: bool,
    interval: float,
    url: str | None,
    prefix: str | None,
    as_json: bool,
) -> None:
    """Show all queues with their counts."""
    if refuse_stray_options(context):
        return
    app = open_app(url, prefix)
    if not watch:
        _show(app, as_json)
        return
    with contextlib.suppress(KeyboardInterrupt):  # the way to end it
        _watch(app, interval, as_json)


@queues.command()
@click.argument("queue")
@connection
@json_flag
def drop(queue: str, url: str | None, prefix: str | None, as_json: bool) -> None:
    """Forget QUEUE, which must have no jobs in any state."""
    open_app(url, prefix).inspect.drop(queue)
    said(as_json, f"{queue} is forgotten", queue=queue, dropped=True)


@click.command()
@click.argument("queue")
@connection
@json_flag
def pause(queue: str, url: str | None, prefix: str | None, as_json: bool) -> None:
    """Stop claiming from QUEUE; running jobs go on."""
    open_app(url, prefix).inspect.pause(queue)
    said(as_json, f"{queue} is paused", queue=queue, paused=True)


@click.command()
@click.argument("queue")
@connection
@json_flag
def resume(queue: str, url: str | None, prefix: str | None, as_json: bool) -> None:
    """Claim from QUEUE again."""
    open_app(url, prefix).inspect.resume(queue)
    said(as_json, f"{queue} is resumed", queue=queue, paused=False)


@click.command(epilog="Example:  reeve weight mail 6")
@click.argument("queue")
@click.argument("weight", type=click.IntRange(0, 1000))
@connection
@json_flag
def weight(queue: str, weight: int, url: str | None, prefix: str | None, as_json: bool) -> None:
    """Set the WEIGHT of QUEUE on all workers, at once; 0 = each worker's own."""
    open_app(url, prefix).inspect.set_weight(queue, weight)
    text = f"{queue} has weight {weight}" if weight else f"{queue} has each worker's own weight"
    said(as_json, text, queue=queue, weight=weight)
