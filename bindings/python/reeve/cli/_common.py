"""What the commands share: connection options, output as table, plain text or JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from reeve import App
from reeve._job import JobInfo

F = TypeVar("F", bound=Callable[..., Any])


def connection(function: F) -> F:
    """Adds --url and --prefix."""
    for option in (
        click.option("--prefix", metavar="NAME", help="Prefix of every key in Redis."),
        click.option(
            "--url", metavar="URL", envvar="REEVE_URL", help="Broker: redis://, sqlite:///path."
        ),
    ):
        function = option(function)
    return function


def json_flag(function: F) -> F:
    """Adds --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def open_app(url: str | None, prefix: str | None) -> App:
    """An app without tasks, to look and act."""
    app = App(url, prefix=prefix)
    refuse_memory(app.url, "no other can look")
    return app


def refuse_memory(url: str, why: str) -> None:
    """Raises for a broker that only one process has."""
    if url.startswith("mem:"):
        raise click.UsageError(f"{url} lives in the process that made it; {why}")


def put_json(value: object) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def put_table(columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """A rich table on a terminal, aligned text elsewhere. Columns that start with ``>`` are
    numbers."""
    texts = [[str(cell) for cell in row] for row in rows]
    if not texts:
        click.echo(empty)
        return
    if sys.stdout.isatty():
        _rich_table(columns, texts)
        return
    heads = [name.lstrip(">") for name in columns]
    widths = [max(len(row[i]) for row in [heads, *texts]) for i in range(len(heads))]
    for row in [heads, *texts]:
        cells = [
            cell.rjust(width) if name.startswith(">") else cell.ljust(width)
            for cell, width, name in zip(row, widths, columns, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def _rich_table(columns: Sequence[str], rows: list[list[str]]) -> None:
    from rich.console import Console

    console = Console()
    console.print(make_rich_table(columns, rows, console.width))


_GAP = 2
_LAST_LEAST = 10  # a last column of text may be folded down to this
_NOTHING = ("", "-", "0")


def make_rich_table(columns: Sequence[str], rows: Iterable[Sequence[str]], width: int) -> Any:
    """For rich, in this width: a table; one without the columns that say nothing, if it is too
    wide; each row as a block of lines, if that is too wide as well. Nothing is cut off: ids and
    names are there to be copied."""
    heads, texts = list(columns), [list(row) for row in rows]
    for i in range(len(heads) - 1, 0, -1):
        if _least_width(heads, texts) > width and all(row[i] in _NOTHING for row in texts):
            heads.pop(i)
            texts = [row[:i] + row[i + 1 :] for row in texts]
    return _table(heads, texts) if _least_width(heads, texts) <= width else _blocks(heads, texts)


def _least_width(heads: list[str], rows: list[list[str]]) -> int:
    names = [name.lstrip(">") for name in heads]
    widths = [max(len(row[i]) for row in [names, *rows]) for i in range(len(names))]
    if not heads[-1].startswith(">"):
        widths[-1] = min(widths[-1], _LAST_LEAST)
    return sum(widths) + _GAP * (len(widths) - 1)


def _table(heads: list[str], rows: list[list[str]]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
    for i, name in enumerate(heads):
        table.add_column(
            name.lstrip(">"),
            justify="right" if name.startswith(">") else "left",
            no_wrap=i < len(heads) - 1,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _blocks(heads: list[str], rows: list[list[str]]) -> Any:
    from rich.text import Text

    names = [name.lstrip(">") for name in heads]
    size = max(map(len, names)) + _GAP
    blocks = [
        [f"{name:{size}}{cell}" for name, cell in zip(names, row, strict=True) if cell]
        for row in rows
    ]
    return Text("\n\n".join("\n".join(block) for block in blocks), overflow="fold")


def show_age(moment: datetime | None) -> str:
    """``3m`` ago or ``in 3m``; empty for None."""
    if moment is None:
        return ""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    span = show_seconds(abs(seconds))
    return f"in {span}" if seconds < 0 else f"{span} ago"


def show_seconds(seconds: float) -> str:
    """A span in its largest unit, as it is after rounding: 59.9 minutes are ``1h``."""
    for size, unit, most in ((0.001, "ms", 1000), (1, "s", 60), (60, "m", 60), (3600, "h", 24)):
        count = round(seconds / size)
        if count < most:
            return f"{count}{unit}"
    return f"{round(seconds / 86400)}d"


def shorten(text: str, most: int = 60) -> str:
    """Its first line, with an ellipsis where something is left out."""
    line, _, rest = text.partition("\n")
    return line if len(line) <= most and not rest.strip() else f"{line[: most - 1]}…"


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _seconds(span: timedelta | None) -> float | None:
    return None if span is None else span.total_seconds()


def _result(stored: bytes) -> object:
    """The value; the text itself where another front end stored what is no JSON."""
    text = stored.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except ValueError:
        return text


def said(as_json: bool, text: str, **values: object) -> None:
    """What was done: a line, or values as JSON."""
    if as_json:
        put_json(values)
    else:
        click.echo(text)


def refuse_stray_options(context: click.Context) -> bool:
    """For a group that is a command, too: whether a command follows. Raises for options before
    it: they would concern nobody, and the default broker's things would be acted on."""
    if context.invoked_subcommand is None:
        return False
    for name in context.params:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = "--json" if name == "as_json" else f"--{name}"
            raise click.UsageError(f"{option} goes behind {context.invoked_subcommand}")
    return True


def job_json(info: JobInfo) -> dict[str, object]:
    """A job for --json."""
    return {
        "id": info.id,
        "queue": info.queue,
        "task": info.task,
        "state": info.state,
        "args": info.args,
        "priority": info.priority,
        "attempts": info.attempts,
        "max_attempts": info.max_attempts,
        "crashes": info.crashes,
        "enqueued_at": _iso(info.enqueued_at),
        "due_at": _iso(info.due_at),
        "settled_at": _iso(info.settled_at),
        "expires_at": _iso(info.expires_at),
        "reason": info.reason,
        "error": info.error,
        "has_result": info.has_result,
        "result": _result(info.result) if info.has_result else None,
        "token": info.token,
        "worker": info.worker,
        "timeout_s": _seconds(info.timeout),
        "deadline": _iso(info.deadline),
        "lease_s": _seconds(info.lease),
        "retention_s": None if info.retention == timedelta.max else _seconds(info.retention),
        "kept_for_ever": info.retention == timedelta.max,
        "max_crashes": info.max_crashes,
        "headers": info.headers,
        "history": [
            {
                "at": _iso(a.at),
                "attempt": a.attempt,
                "crash": a.crash,
                "worker": a.worker,
                "error_type": a.error_type,
                "error_message": a.error_message,
                "traceback": a.traceback,
            }
            for a in info.history
        ],
    }


def parse_args(text: str) -> dict[str, Any]:
    """A JSON object from the command line."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint="--json-args") from None
    if not isinstance(value, dict):
        raise click.BadParameter(
            'must be an object by parameter name, as {"to": "a@b.c"}', param_hint="--json-args"
        )
    return value
