"""``reeve jobs``."""

from __future__ import annotations

import json
from typing import Any, cast

import click

from reeve import App, Job, JobInfo, NotFound, ServerError, State
from reeve.cli._common import (
    connection,
    job_json,
    json_flag,
    open_app,
    put_json,
    put_table,
    shorten,
    show_age,
)


class ListByDefault(click.Group):
    """``reeve jobs mail`` is ``reeve jobs list mail``."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands:
            args = ["list", *args]
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] not in ("-h", "--help"):
            args = ["list", *args]
        return super().parse_args(ctx, args)


def find_job(app: App, id: str, queue: str | None) -> tuple[Job[Any], JobInfo]:
    """A job by id, in a queue or in any."""
    damaged: list[str] = []
    for name in [queue] if queue is not None else [q.name for q in app.queues()]:
        job = app.job(id, name)
        try:
            info = job.find()
        except ServerError:
            if queue is not None:
                raise
            damaged.append(name)
            continue
        if info is not None:
            return job, info
    where = f"queue {queue}" if queue is not None else "any queue"
    unread = f" that can be read; damaged: {', '.join(damaged)}" if damaged else ""
    raise NotFound(f"there is no job {id} in {where}{unread}")


def list_jobs(app: App, queue: str, state: State, limit: int, as_json: bool) -> None:
    """Prints jobs."""
    found = app.jobs(queue, state, limit)
    if not found:
        app.inspect.queue(queue)  # raises: is its name right?
    if as_json:
        put_json([job_json(info) for info in found])
        return
    ended = {"archived": "died", "completed": "done"}.get(state)
    put_table(
        ("id", "task", ">failed", "enqueued", ended or "due", "last error"),
        [
            [
                i.id,
                i.task,
                str(i.attempts),
                show_age(i.enqueued_at),
                show_age(i.settled_at if ended else i.due_at),
                shorten(i.error or i.reason),
            ]
            for i in found
        ],
        f"no {'dead' if state == 'archived' else state} jobs in {queue}",
    )


#: States that a job can be in; the other names are reserved.
STATES = ("scheduled", "pending", "active", "retry", "completed", "archived")


def show_job(info: JobInfo, as_json: bool) -> None:
    """Prints one job in full."""
    if as_json:
        put_json(job_json(info))
        return
    fields: dict[str, object] = job_json(info)
    for name, value in fields.items():
        is_nothing = value in (None, "", {}) or value is False or (name == "token" and not value)
        if name not in ("history", "error") and not is_nothing:
            is_json = name in ("args", "headers", "result")
            text = json.dumps(value, ensure_ascii=False) if is_json else value
            click.echo(f"{name:13} {text}")
    for a in info.history:
        what = "worker died" if a.crash else f"{a.error_type}: {a.error_message}"
        click.echo(f"attempt {a.attempt:<5} {a.at.isoformat()} on {a.worker}: {what}")
    if info.history and info.history[-1].traceback:
        click.echo(info.history[-1].traceback.rstrip())


@click.group(
    cls=ListByDefault,
    epilog="Examples:  reeve jobs mail --state retry  |  reeve jobs show 0190…",
)
def jobs() -> None:
    """List and show jobs: reeve jobs QUEUE, reeve jobs show ID."""


@jobs.command("list")
@click.argument("queue")
@click.option("--state", type=click.Choice([*STATES, "dead"]), default="pending", show_default=True)
@click.option("--limit", type=click.IntRange(1, 100_000), default=20, show_default=True)
@connection
@json_flag
def list_(
    queue: str, state: str, limit: int, url: str | None, prefix: str | None, as_json: bool
) -> None:
    """The first jobs of QUEUE in one state; dead is another word for archived."""
    stored = cast(State, "archived" if state == "dead" else state)
    list_jobs(open_app(url, prefix), queue, stored, limit, as_json)


@jobs.command()
@click.argument("id")
@click.option("--queue", help="Where it is; default: look in all.")
@connection
@json_flag
def show(id: str, queue: str | None, url: str | None, prefix: str | None, as_json: bool) -> None:
    """All that is known about a job."""
    show_job(find_job(open_app(url, prefix), id, queue)[1], as_json)


@jobs.command()
@click.argument("id")
@click.option("--queue", help="Where it is; default: look in all.")
@connection
@json_flag
def retry(id: str, queue: str | None, url: str | None, prefix: str | None, as_json: bool) -> None:
    """Run a job now: scheduled, waiting for a retry, dead or completed."""
    job, _ = find_job(open_app(url, prefix), id, queue)
    job.retry()
    _done(as_json, job, "is pending")


@jobs.command()
@click.argument("id")
@click.option("--queue", help="Where it is; default: look in all.")
@connection
@json_flag
def delete(id: str, queue: str | None, url: str | None, prefix: str | None, as_json: bool) -> None:
    """Delete a job that is not running."""
    job, _ = find_job(open_app(url, prefix), id, queue)
    job.delete()
    _done(as_json, job, "is deleted")


def _done(as_json: bool, job: Job[Any], what: str) -> None:
    if as_json:
        put_json({"id": job.id, "queue": job.queue})
    else:
        click.echo(f"job {job.id} {what}")
