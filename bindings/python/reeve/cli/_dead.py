"""``reeve dead``: the dead letter."""

from __future__ import annotations

import json

import click

from reeve import App, NotFound
from reeve.cli._common import connection, json_flag, open_app, parse_args, put_json
from reeve.cli._jobs import find_job, list_jobs, show_job


@click.group(epilog="Examples:  reeve dead retry 0190…  |  reeve dead retry mail --all")
def dead() -> None:
    """Look at jobs that failed for good, run them again, delete them."""


@dead.command("list")
@click.argument("queue")
@click.option("--limit", type=click.IntRange(1, 100_000), default=20, show_default=True)
@connection
@json_flag
def list_(queue: str, limit: int, url: str | None, prefix: str | None, as_json: bool) -> None:
    """The oldest dead jobs of QUEUE."""
    list_jobs(open_app(url, prefix), queue, "archived", limit, as_json)


@dead.command()
@click.argument("id")
@click.option("--queue", help="Where it is; default: look in all.")
@connection
@json_flag
def show(id: str, queue: str | None, url: str | None, prefix: str | None, as_json: bool) -> None:
    """A dead job with its attempts and the last traceback."""
    info = find_job(open_app(url, prefix), id, queue)[1]
    if info.state != "archived":
        raise NotFound(f"job {id} is not dead: its state is {info.state}")
    show_job(info, as_json)


def _find(app: App, first: str, second: str | None, every: bool) -> tuple[str, str | None]:
    """Queue and id; no id stands for all. Raises NotFound."""
    if every:
        if second is not None:
            raise click.UsageError("give an ID or --all")
        return app.inspect.queue(first).name, None
    if second is not None:
        return first, second
    try:
        return find_job(app, first, None)[0].queue, first
    except NotFound:
        if all(info.name != first for info in app.queues()):
            raise
        raise click.UsageError(f"{first} is a queue; give an ID or --all") from None


def _ids(function: click.decorators.FC) -> click.decorators.FC:
    for option in (
        click.option("--all", "every", is_flag=True, help="All dead jobs of the queue."),
        click.argument("second", metavar="ID", required=False),
        click.argument("first", metavar="[QUEUE]"),
    ):
        function = option(function)
    return function


def _count(app: App, queue: str, count: int, what: str, as_json: bool) -> None:
    if as_json:
        put_json({"queue": queue, "count": count})
    else:
        click.echo(f"{count} {'job' if count == 1 else 'jobs'} of {queue} {what}")


@dead.command()
@_ids
@connection
@json_flag
def retry(
    first: str, second: str | None, every: bool, url: str | None, prefix: str | None, as_json: bool
) -> None:
    """Run dead jobs again: one by its ID, or --all of QUEUE."""
    app = open_app(url, prefix)
    queue, id = _find(app, first, second, every)
    count = app.dead.retry(queue, id)
    _count(app, queue, count, "pending again", as_json)


@dead.command()
@_ids
@connection
@json_flag
def purge(
    first: str, second: str | None, every: bool, url: str | None, prefix: str | None, as_json: bool
) -> None:
    """Delete dead jobs: one by its ID, or --all of QUEUE."""
    app = open_app(url, prefix)
    queue, id = _find(app, first, second, every)
    count = app.dead.purge(queue, id)
    _count(app, queue, count, "deleted", as_json)


@dead.command()
@click.argument("first", metavar="[QUEUE]")
@click.argument("second", metavar="ID", required=False)
@click.option("--json-args", metavar="JSON", help="New arguments; default: opens your editor.")
@connection
@json_flag
def edit(
    first: str,
    second: str | None,
    json_args: str | None,
    url: str | None,
    prefix: str | None,
    as_json: bool,
) -> None:
    """Change a dead job's arguments and run it again."""
    app = open_app(url, prefix)
    queue, id = (None, first) if second is None else (first, second)
    job, info = find_job(app, id, queue)
    if info.state != "archived":
        raise NotFound(f"job {id} is not dead: its state is {info.state}")
    if json_args is None:
        json_args = click.edit(json.dumps(info.args, indent=2), extension=".json")
        if json_args is None:
            raise click.ClickException("nothing was changed")
    app.dead.edit(job.queue, id, parse_args(json_args))
    if as_json:
        put_json({"id": id, "queue": job.queue})
    else:
        click.echo(f"job {id} is pending with new arguments")
