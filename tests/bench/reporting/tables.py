"""Markdown tables of all records, of the systems, and of what was not measured."""

from __future__ import annotations

from typing import Any

from reporting.data import NAMES, Data, Record, number, ratio

#: Rows that compare systems, with what they are, in the order of the page.
ROWS = {
    "enqueue": "Enqueue",
    "noop": "No-op, a plain handler",
    "anoop": "No-op, an async handler",
    "sleep": "1 ms of sleep",
    "cpu": "1 ms of CPU",
    "latency": "Start latency on an idle worker",
    "lateness": "Lateness of delayed tasks",
    "recovery": "A killed worker's task runs elsewhere",
    "backlog": "With a backlog",
    "active": "With others running",
    "limit": "The bare list",
}
METRICS = {
    "rate": "tasks/s",
    "client_cpu": "client CPU, µs",
    "worker_cpu": "worker CPU, µs",
    "redis_cpu": "Redis CPU, µs",
    "redis_core": "Redis's core, %",
    "memory": "bytes a task",
    "rss": "worker's memory, MiB",
    "p50": "p50, ms",
    "p99": "p99, ms",
    "early": "started early",
    "seconds": "s",
}
MAIN = ("rate", "p50", "seconds", "redis_cpu")
REFERENCE = "reeve"
SETTINGS = {"best": 0, "default": 1}
MIB = 2.0**20


def cell(record: Record | None) -> str:
    """Median, and least to most where there are several runs."""
    if record is None:
        return ""
    by = MIB if record.metric == "rss" else 1.0
    text = number(record.median / by)
    if record.bound_only:
        return f"> {text}"
    if sum(run is not None for run in record.runs) > 1:
        text += f" ({number(record.least / by)} … {number(record.most / by)})"
    return text


def axes_text(axes: dict[str, Any]) -> str:
    shown = {name: value for name, value in axes.items() if (name, value) != ("aof", "off")}
    return ", ".join(
        f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}".removeprefix("what ")
        for name, value in shown.items()
    )


def to_reference(record: Record | None, reference: Record | None) -> str:
    """A ratio of two figures, where it says something."""
    if record is None or reference is None or record.bound_only or reference.bound_only:
        return ""
    if record.median < 0 or reference.median <= 0:
        return ""
    found = ratio(record, reference)
    return "" if found is None else f"{number(found)}×"


def compare(members: list[Record]) -> list[str]:
    """One table: a line a system and setting, a column a metric."""
    metrics = [metric for metric in METRICS if any(r.metric == metric for r in members)]
    main = next((metric for metric in MAIN if metric in metrics), metrics[0])
    lines: dict[tuple[str, str], dict[str, Record]] = {}
    for record in members:
        lines.setdefault((record.system, record.setting), {})[record.metric] = record
    order = list(NAMES)
    keys = sorted(lines, key=lambda key: (order.index(key[0]), SETTINGS.get(key[1], 2)))
    reference = lines.get((REFERENCE, "best"), lines.get((REFERENCE, "default"), {})).get(main)
    titles = [METRICS[metric] for metric in metrics]
    head = ["system", "settings", *titles]
    if reference is not None:
        head.append(f"{METRICS[main]} to {NAMES[REFERENCE]}")
    out = ["| " + " | ".join(head) + " |", "|---|---|" + "--:|" * (len(head) - 2)]
    for key in keys:
        row = [NAMES[key[0]], key[1], *(cell(lines[key].get(metric)) for metric in metrics)]
        if reference is not None:
            row.append(to_reference(lines[key].get(main), reference))
        out.append("| " + " | ".join(row) + " |")
    notes = {f"{NAMES[r.system]}: {r.note}" for r in members if r.note and not r.bound_only}
    return [*out, *(["", *sorted(f"- {note}" for note in notes)] if notes else [])]


def alone(members: list[Record]) -> list[str]:
    """One table of a row that knows no peers: a line a point of the axes, a column a metric."""
    titles = {
        record.metric: f"{record.metric}, {record.unit}".replace("_", " ") for record in members
    }
    titles |= {metric: METRICS[metric] for metric in titles if metric in METRICS}
    lines: dict[tuple[str, str], dict[str, Record]] = {}
    for record in members:
        lines.setdefault((record.system, axes_text(record.axes)), {})[record.metric] = record
    out = [
        "| system | at | " + " | ".join(titles.values()) + " |",
        "|---|---|" + "--:|" * len(titles),
    ]
    for (system, text), cells in lines.items():
        row = [NAMES[system], text, *(cell(cells.get(metric)) for metric in titles)]
        out.append("| " + " | ".join(row) + " |")
    return out


def all_rows(data: Data) -> list[str]:
    """Every record, row by row."""
    out: list[str] = []
    others = dict.fromkeys(r.row for r in data.records if r.row not in ROWS)
    for row in [*ROWS, *others]:
        members = data.matching(row)
        if not members:
            continue
        if row not in ROWS:
            out += [f"### reeve alone: {row}", "", *alone(members), ""]
            continue
        out += [f"### {ROWS[row]}", ""]
        points: dict[str, list[Record]] = {}
        for record in members:
            points.setdefault(axes_text(record.axes), []).append(record)
        for text, at_point in points.items():
            out += [f"{text[:1].upper()}{text[1:]}:", ""] if text else []
            out += [*compare(at_point), ""]
    return out


def settings_text(found: dict[str, Any]) -> str:
    return "; ".join(f"{name} {value}" for name, value in found.items()) or "as it comes"


def escaped(text: str) -> str:
    """Text for a cell: no bars, no tags."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def systems(data: Data) -> list[str]:
    about = data.about()
    out = [
        "| system | version | runtime | default settings | best settings |",
        "|---|---|---|---|---|",
    ]
    names = [name for name in NAMES if name in about and about[name].get("version")]
    for name in names:
        found = about[name]
        settings = found.get("settings", {})
        texts = [escaped(settings_text(settings.get(key, {}))) for key in ("default", "best")]
        if texts[0] == texts[1]:
            texts[1] = "the same"
        row = [NAMES[name], str(found["version"]), escaped(found.get("runtime", "")), *texts]
        out.append("| " + " | ".join(row) + " |")
    notes = [f"- {NAMES[name]}: {escaped(about[name]['notes'])}" for name in names
             if about[name].get("notes")]  # fmt: skip
    return [*out, *(["", *notes] if notes else [])]


def skipped(data: Data) -> list[str]:
    found = data.skipped()
    if not found:
        return ["Nothing was left out."]
    out = ["| system | row | why |", "|---|---|---|"]
    for skip in found:
        name, _, setting = skip["system"].partition(" ")
        system = f"{NAMES.get(name, name)} {setting}".strip()
        out.append(f"| {system} | {skip['row']} | {escaped(skip['why'].rstrip(': '))} |")
    return out
