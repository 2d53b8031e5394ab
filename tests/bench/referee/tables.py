"""The tables that `make bench` prints: one a row and point of the axes, against reeve."""

from __future__ import annotations

import statistics

from referee.records import Axes, Record, Records
from referee.systems import GUESSES

TITLES = {
    "rate": "tasks/s",
    "client_cpu": "client µs",
    "worker_cpu": "worker µs",
    "redis_cpu": "redis µs",
    "memory": "bytes/task",
    "rss": "RSS MiB",
    "p50": "p50 ms",
    "p99": "p99 ms",
    "early": "early",
    "seconds": "seconds",
}
MAIN = ("rate", "p50", "seconds", "redis_cpu")
REFERENCE = "reeve"


def shown(metric: str, value: float) -> str:
    if metric == "rss":
        return f"{value / 2**20:,.1f}"
    if metric in ("rate", "memory", "early"):
        return f"{value:,.0f}"
    return f"{value:,.2f}" if value < 1000 else f"{value:,.0f}"


def ratio(record: Record, reference: Record | None) -> str:
    """Median of the ratios to the reference, round by round."""
    if reference is None:
        return ""
    pairs = [
        value / reference.runs[number]
        for number, value in record.runs.items()
        if value > 0 and reference.runs.get(number, 0) > 0
    ]
    return f"{statistics.median(pairs):.3g}×" if pairs else ""


def lines(records: Records) -> list[str]:
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records.all():
        groups.setdefault((record.row, titled(record.axes)), []).append(record)
    found: list[str] = []
    for (row, axes), members in groups.items():
        found += ["", f"{row}  {axes}".rstrip(), *table(members)]
    return found


def titled(axes: Axes) -> str:
    return ", ".join(f"{name} {value}" for name, value in axes.items())


def table(members: list[Record]) -> list[str]:
    metrics = list(dict.fromkeys(record.metric for record in members))
    main = next((metric for metric in MAIN if metric in metrics), metrics[0])
    by_line: dict[tuple[str, str], dict[str, Record]] = {}
    for record in members:
        by_line.setdefault((record.system, record.setting), {})[record.metric] = record
    reference = by_line.get((REFERENCE, "best"), {}).get(main)
    head = f"  {'':<20}" + "".join(f"{TITLES[metric]:>13}" for metric in metrics)
    out = [f"{head}{'to reeve':>11}  spread of {TITLES[main]}"]
    order = list(GUESSES)
    for (system, setting), cells in sorted(
        by_line.items(), key=lambda pair: order.index(pair[0][0])
    ):
        text = f"  {system + ' ' + setting:<20}"
        for metric in metrics:
            value = shown(metric, cells[metric].median) if metric in cells else ""
            text += f"{value:>13}"
        if main in cells:
            chief = cells[main]
            low, high = min(chief.runs.values()), max(chief.runs.values())
            spread = f"{shown(main, low)} … {shown(main, high)}" if len(chief.runs) > 1 else ""
            text += f"{ratio(chief, reference):>11}  {spread}  {chief.note}"
        out.append(text.rstrip())
    return out
