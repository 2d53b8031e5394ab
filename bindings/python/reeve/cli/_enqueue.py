"""``reeve enqueue``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from reeve import Job
from reeve.cli._common import connection, json_flag, open_app, parse_args, said


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise click.BadParameter(
            f"{text!r}; write it with its offset, as 2026-11-30T09:00+01:00", param_hint="--at"
        )
    return moment


def _headers(pairs: tuple[str, ...]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.BadParameter(f"{pair!r}; write name=value", param_hint="--header")
        if name in headers:
            raise click.BadParameter(f"{name} is there twice", param_hint="--header")
        headers[name] = value
    return headers


def _answer(job: Job[Any], as_json: bool) -> None:
    info = job.find()  # a worker may have finished it by now
    state = None if info is None else info.state
    due_at = None if info is None or info.due_at is None else info.due_at.isoformat()
    text = f"job {job.id} {'was already' if job.existing else 'is'} in {job.queue}: "
    text += state or "done and not kept"
    if due_at is not None:
        text += f", due {due_at}"
    said(
        as_json,
        text,
        id=job.id,
        queue=job.queue,
        existing=job.existing,
        state=state,
        due_at=due_at,
    )


@click.command(
    epilog="""Example:  reeve enqueue shop.welcome --queue mail --json-args '{"to": "a@b.c"}'"""
)
@click.argument("task")
@click.option("--queue", default="default", show_default=True)
@click.option("--json-args", metavar="JSON", default="{}", help="Arguments by name.")
@click.option("--delay", metavar="SPAN", help="Start that much later, as 10m.")
@click.option("--at", metavar="TIME", help="Or at this moment, as 2026-11-30T09:00+01:00.")
@click.option("--priority", type=click.IntRange(0, 9), help="Higher runs first; default 5.")
@click.option("--retries", type=int, metavar="N", help="After the first run; default 25.")
@click.option("--timeout", metavar="SPAN", help="Longest run.")
@click.option("--expires", metavar="SPAN", help="Not started or retried later than this.")
@click.option("--retention", metavar="SPAN", help="Keep it when it is done; or forever.")
@click.option("--id", help="The job's id; default: a new one.")
@click.option("--idempotency-key", metavar="KEY", help="Repeated, it gives the first one's job.")
@click.option("--header", metavar="NAME=VALUE", multiple=True, help="May be given more than once.")
@connection
@json_flag
def enqueue(
    task: str,
    queue: str,
    json_args: str,
    at: str | None,
    retries: int | None,
    header: tuple[str, ...],
    url: str | None,
    prefix: str | None,
    as_json: bool,
    **options: str | int | None,
) -> None:
    """Enqueue a job of TASK by its name."""
    given: dict[str, Any] = {name: v for name, v in options.items() if v is not None}
    if at is not None:
        given["at"] = _moment(at)
    if retries is not None:
        given["retry"] = retries
    if header:
        given["headers"] = _headers(header)
    job = open_app(url, prefix).enqueue(task, parse_args(json_args), queue=queue, **given)
    _answer(job, as_json)
