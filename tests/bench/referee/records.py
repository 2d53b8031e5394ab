"""What was measured, in the flat form that tests/bench/README.md describes."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]

Axes = dict[str, str | int]

UNITS = {
    "rate": "tasks/s",
    "client_cpu": "µs/task",
    "worker_cpu": "µs/task",
    "redis_cpu": "µs/task",
    "memory": "bytes/task",
    "rss": "bytes",
    "p50": "ms",
    "p99": "ms",
    "early": "tasks",
    "seconds": "s",
}


@dataclass
class Record:
    """One metric of one row, of one system at one setting and one point of the axes."""

    row: str
    metric: str
    system: str
    setting: str
    axes: Axes
    note: str = ""
    runs: dict[int, float] = field(default_factory=dict)  #: by round

    @property
    def median(self) -> float:
        return statistics.median(self.runs.values())

    def as_json(self) -> dict[str, Any]:
        values = list(self.runs.values())
        listed = [self.runs.get(number) for number in range(max(self.runs) + 1)]
        return {
            "row": self.row,
            "metric": self.metric,
            "system": self.system,
            "setting": self.setting,
            "axes": self.axes,
            "unit": UNITS[self.metric],
            "figures": {
                "median": rounded(self.median),
                "min": rounded(min(values)),
                "max": rounded(max(values)),
                "runs": [None if value is None else rounded(value) for value in listed],
            },
            "note": self.note,
        }


def rounded(value: float) -> float:
    """Four significant digits are more than a measurement has."""
    return float(f"{value:.4g}")


class Records:
    """All records of one call, in the order in which they came up."""

    def __init__(self) -> None:
        self._records: dict[tuple[object, ...], Record] = {}
        self.skipped: list[dict[str, str]] = []

    def add(
        self,
        row: str,
        system: str,
        setting: str,
        axes: Axes,
        figures: dict[str, float],
        round_: int,
        note: str = "",
    ) -> None:
        for metric, value in figures.items():
            key = (row, metric, system, setting, tuple(sorted(axes.items())))
            record = self._records.setdefault(key, Record(row, metric, system, setting, axes))
            record.runs[round_] = value
            record.note = note or record.note

    def skip(self, system: str, row: str, why: str) -> None:
        # where the checkout stands is the machine's own business
        self.skipped.append({"system": system, "row": row, "why": why.replace(f"{ROOT}/", "")})

    def all(self) -> list[Record]:
        return list(self._records.values())

    def as_json(self, head: dict[str, Any]) -> str:
        found = {
            "head": {**head, "skipped": self.skipped},
            "records": [record.as_json() for record in self.all()],
        }
        return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def machine() -> dict[str, Any]:
    """What the figures depend on; no names of hosts."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(),
        "cpu": cpu,
        "memory_bytes": memory,
        "kernel": platform.release(),
    }


def today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())
