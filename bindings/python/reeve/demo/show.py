"""How the demo shows itself: a live bar on a terminal, lines elsewhere, one table at the end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from reeve.cli._common import make_rich_table
from reeve.demo.watch import Progress


class Show:
    """Prints; silent for --json."""

    def __init__(self, as_json: bool) -> None:
        self.silent = as_json
        self.live = not as_json and sys.stdout.isatty()
        self._tenth = 0
        self._bar: Any = None
        self._bar_id: Any = None
        self._screen: Any = None

    def say(self, text: str) -> None:
        """One line."""
        if self.silent:
            return
        if self._bar is not None:
            self._screen.console.print(text, markup=False, highlight=False)
        else:
            click.echo(text)

    @contextmanager
    def progress(self, total: int) -> Iterator[None]:
        """A bar with a table of the queues below it, on a terminal."""
        if not self.live:
            yield
            return
        from rich.live import Live
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        self._bar = Progress(
            TextColumn("files"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.0f}/s"),
            TimeElapsedColumn(),
        )
        self._bar_id = self._bar.add_task("files", total=total, rate=0.0)
        with Live(self._bar) as self._screen:
            yield
        self._bar = None

    def update(self, progress: Progress, labels: dict[str, str], rate: float) -> None:
        """After a look."""
        if self._bar is not None:
            self._bar.update(self._bar_id, completed=progress.finished, rate=rate)
            self._screen.update(self._picture(progress, labels))
            return
        counts = "  ".join(
            f"{labels[name]}: {info.pending} waiting, {info.active} running, "
            f"{info.scheduled} later, {info.retry} retry, {info.archived} dead"
            for name, info in sorted(progress.infos.items())
        )
        tenth = 10 * progress.finished // max(1, progress.total)
        if tenth > self._tenth:
            self._tenth = tenth
            self.say(f"{tenth * 10:3}%  {rate:.0f}/s  {counts}")

    def _picture(self, progress: Progress, labels: dict[str, str]) -> Any:
        from rich.console import Group

        columns = ("queue", ">waiting", ">running", ">later", ">retry", ">dead", ">done", ">share")
        rows = []
        for name, info in sorted(progress.infos.items()):
            share = progress.shares.of(name)
            counts = (info.pending, info.active, info.scheduled, info.retry, info.archived)
            rows.append(
                [
                    labels[name],
                    *map(str, (*counts, info.completed)),
                    "" if share is None else f"{share:.1%}",
                ]
            )
        return Group(self._bar, make_rich_table(columns, rows, self._screen.console.width))


def size(count: int) -> str:
    """Bytes in a unit that reads well."""
    value = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")
