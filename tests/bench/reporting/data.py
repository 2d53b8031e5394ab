"""Reads records (tests/bench/README.md has their form) and answers questions about them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Axes = dict[str, Any]
Runs = Sequence[float | None]

#: Names as a reader knows them, in the order of tables.
NAMES = {
    "reeve-c": "reeve (C)",
    "reeve": "reeve (Python)",
    "reeve-lua": "reeve (Lua)",
    "asynq": "asynq (Go)",
    "bullmq": "BullMQ (Node)",
    "celery": "Celery",
    "rq": "RQ",
    "dramatiq": "Dramatiq",
    "arq": "arq",
    "taskiq": "taskiq",
    "huey": "Huey",
    "limit": "bare list",
}
OURS = ("reeve-c", "reeve", "reeve-lua")
PYTHON_PEERS = ("celery", "rq", "dramatiq", "arq", "taskiq", "huey")
PEERS = ("asynq", "bullmq", *PYTHON_PEERS)
LIMIT = "limit"


class DataError(Exception):
    """The records cannot be read."""


@dataclass(frozen=True)
class Record:
    """One metric of one row, of one system at one setting and one point of the axes."""

    row: str
    metric: str
    system: str
    setting: str
    axes: Axes
    unit: str
    median: float
    least: float
    most: float
    runs: Runs
    note: str

    @property
    def bound_only(self) -> bool:
        """The figure was not seen: it is longer than the median says."""
        return self.note.startswith("> ")


def record_of(found: dict[str, Any]) -> Record:
    figures = found["figures"]
    return Record(
        found["row"],
        found["metric"],
        found["system"],
        found["setting"],
        found["axes"],
        found["unit"],
        figures["median"],
        figures["min"],
        figures["max"],
        figures["runs"],
        found["note"],
    )


class Data:
    """All records, and what their heads say."""

    def __init__(self, records: list[Record], heads: list[dict[str, Any]]) -> None:
        self.records = records
        self.heads = heads

    @property
    def head(self) -> dict[str, Any]:
        return self.heads[0]

    def about(self) -> dict[str, dict[str, Any]]:
        """What each system's driver said of itself."""
        found: dict[str, dict[str, Any]] = {}
        for head in self.heads:
            found.update(head.get("systems", {}))
        return found

    def skipped(self) -> list[dict[str, str]]:
        return [skip for head in self.heads for skip in head.get("skipped", [])]

    def matching(
        self, row: str, metric: str = "", system: str = "", setting: str = "", **axes: Any
    ) -> list[Record]:
        """Those that agree with all that is given."""
        return [
            record
            for record in self.records
            if record.row == row
            and metric in ("", record.metric)
            and system in ("", record.system)
            and setting in ("", record.setting)
            and all(record.axes.get(name) == value for name, value in axes.items())
        ]

    def one(self, row: str, metric: str, system: str, **axes: Any) -> Record | None:
        """At the best settings, else at the default ones."""
        for setting in ("best", "default"):
            found = self.matching(row, metric, system, setting, **axes)
            if found:
                return found[0]
        return None

    def why_missing(self, system: str, row: str) -> str:
        """Why a system has no figure in a row."""
        for skip in self.skipped():
            who, what = skip["system"].split(" ")[0], skip["row"].split(",")[0]
            if who == system and what in (row, "all"):
                return skip["why"]
        return "no record"


def load(paths: Iterable[Path]) -> Data:
    """Reads files that run.py and scale.py wrote, the main one first."""
    records: list[Record] = []
    heads: list[dict[str, Any]] = []
    for path in paths:
        try:
            found = json.loads(path.read_text())
            heads.append(found.get("head", {}))
            records += [record_of(record) for record in found["records"]]
        except OSError as error:
            raise DataError(
                f"{path}: {error.strerror}: `make bench BENCH=--record` makes docs/benchmarks.json"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: not records: {error!r}") from error
    if not records:
        raise DataError("no records")
    return Data(records, heads)


def paired(first: Runs, second: Runs) -> list[tuple[float, float]]:
    """Rounds that both have."""
    return [
        (one, other)
        for one, other in zip(first, second, strict=False)
        if one is not None and other is not None
    ]


def ratio(record: Record, reference: Record) -> float | None:
    """Median of the ratios round by round; of the medians where no round has both."""
    pairs = [(a, b) for a, b in paired(record.runs, reference.runs) if b]
    if pairs:
        return statistics.median(a / b for a, b in pairs)
    return record.median / reference.median if reference.median else None


def number(value: float) -> str:
    """Three significant digits: 412,000, 41.2, 0.412."""
    if value == 0:
        return "0"
    text = f"{float(f'{value:.3g}'):,.12f}".rstrip("0").rstrip(".")
    digits = len(text.replace("-", "").replace(",", "").replace(".", "").lstrip("0"))
    if "." in text or abs(value) < 100:
        missing = 3 - digits
        if missing > 0:
            text += ("" if "." in text else ".") + "0" * missing
    return text.replace("-", "−")
