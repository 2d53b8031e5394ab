"""How the demo shows itself: a live bar on a terminal, lines elsewhere, one table at the end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from reeve.demo.watch import Progress


class Show:
    """Prints; silent for --json."""

    def __init__(self, as_json: bool) -> None:
        self.silent = as_json
        self.live = not as_json and sys.stdout.isatty()
        self._tenth = 0
        self._bar: Any = None
        self._bar_id: Any = None

    def say(self, text: str) -> None:
        """One line."""
        if self.silent:
            return
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            click.echo(text)

    @contextmanager
    def progress(self, total: int) -> Iterator[None]:
        """A bar on a terminal."""
        if not self.live:
            yield
            return
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:>7.0f}/s"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[counts]}"),
        )
        with Progress(*columns) as bar:
            self._bar = bar
            self._bar_id = bar.add_task("files", total=total, rate=0.0, counts="")
            yield
            self._bar = None

    def update(self, progress: Progress, labels: dict[str, str], rate: float) -> None:
        """After a look."""
        counts = "  ".join(
            f"{labels[name]}: {info.pending} waiting, {info.active} running, {info.retry} retry, "
            f"{info.archived} dead"
            for name, info in sorted(progress.infos.items())
        )
        if self._bar is not None:
            self._bar.update(self._bar_id, completed=progress.finished, rate=rate, counts=counts)
            return
        tenth = 10 * progress.finished // max(1, progress.total)
        if tenth > self._tenth:
            self._tenth = tenth
            self.say(f"{tenth * 10:3}%  {rate:.0f}/s  {counts}")


def size(count: int) -> str:
    """Bytes in a unit that reads well."""
    value = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")
