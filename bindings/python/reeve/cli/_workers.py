"""``reeve workers``."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import click

from reeve import App, NotFound, WorkerInfo
from reeve.cli._common import (
    connection,
    json_flag,
    open_app,
    put_json,
    put_table,
    refuse_stray_options,
    said,
    show_age,
    show_seconds,
)

#: Workers report every 2 s; one that missed some of that hangs, or is gone.
_SILENT_S = 10.0


def _silent_s(info: WorkerInfo) -> float:
    return (datetime.now(UTC) - info.beat_at).total_seconds()


def _state(info: WorkerInfo) -> str:
    if _silent_s(info) > _SILENT_S:
        return "silent"
    return "quiet" if info.quiet else "running"


def _shown_state(info: WorkerInfo) -> str:
    state = _state(info)
    return f"{state} for {show_seconds(_silent_s(info))}" if state == "silent" else state


def _weights(text: str) -> list[dict[str, object]]:
    """``mail=6,default=3`` as a worker reports it, in its order."""
    pairs = [part.partition("=") for part in text.split(",") if part]
    return [{"name": name, "weight": int(weight)} for name, _, weight in pairs]


@click.group(
    invoke_without_command=True,
    epilog="Examples:  reeve workers --url redis://localhost  |  reeve workers quiet --all",
)
@connection
@json_flag
@click.pass_context
def workers(context: click.Context, url: str | None, prefix: str | None, as_json: bool) -> None:
    """Show workers as of their last report; a killed one stays for an hour."""
    if refuse_stray_options(context):
        return
    found = open_app(url, prefix).workers()
    if as_json:
        put_json(
            [
                {
                    **dataclasses.asdict(w),
                    "state": _state(w),
                    "queues": _weights(w.queues),
                    "started_at": w.started_at.isoformat(),
                    "beat_at": w.beat_at.isoformat(),
                }
                for w in found
            ]
        )
        return
    put_table(
        (
            "worker",
            "host",
            ">pid",
            "started",
            "state",
            ">active",
            ">done",
            ">failed",
            "queues",
        ),
        [
            [
                w.id,
                w.host,
                str(w.pid),
                show_age(w.started_at),
                _shown_state(w),
                f"{w.active}/{w.concurrency}",
                str(w.done),
                str(w.failed),
                w.queues,
            ]
            for w in found
        ],
        "no workers",
    )


def _tell(app: App, id: str | None, every: bool, quiet: bool, as_json: bool) -> None:
    """Raises NotFound when nobody would hear it."""
    if (id is None) == (not every):
        raise click.UsageError("give an ID or --all")
    known = [info.id for info in app.workers() if _state(info) != "silent"]
    told = known if id is None else [id]
    if id is not None and id not in known:
        raise NotFound(f"there is no live worker {id}")
    app.inspect.quiet(id or "", quiet)
    what = "told to claim no more" if quiet else "told to claim again"
    count = f"{len(told)} {'worker is' if len(told) == 1 else 'workers are'}"
    said(as_json, f"{count} {what}", workers=told, quiet=quiet)


@workers.command()
@click.argument("id", required=False)
@click.option("--all", "every", is_flag=True, help="All workers.")
@connection
@json_flag
def quiet(id: str | None, every: bool, url: str | None, prefix: str | None, as_json: bool) -> None:
    """Tell a worker, or --all, to claim no more; what runs goes on."""
    _tell(open_app(url, prefix), id, every, True, as_json)


@workers.command()
@click.argument("id", required=False)
@click.option("--all", "every", is_flag=True, help="All workers.")
@connection
@json_flag
def resume(id: str | None, every: bool, url: str | None, prefix: str | None, as_json: bool) -> None:
    """Tell a quiet worker, or --all, to claim again."""
    _tell(open_app(url, prefix), id, every, False, as_json)
