"""Which charts the page has, and what stands in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reporting.aims import ACTIVE, ANY_RATE, BACKLOG, BYTES, FLAT, MANY, ONE, WORK, Measure, pick
from reporting.curves import Curve, curves
from reporting.data import LIMIT, NAMES, OURS, Data, Record, number
from reporting.svg import Bar, bars, parted, spans

#: Stacked bars are cut where they are this many times the second best peer's.
CUT = 6.0
SHORTEST_MS = 0.01


@dataclass(frozen=True)
class Chart:
    """A picture with its file's name and the words for those who do not see it."""

    name: str
    title: str
    text: str
    svg: str


def kind_of(system: str) -> str:
    if system in OURS:
        return "ours"
    return "limit" if system == LIMIT else "peer"


def measured_or_told(data: Data, row: str) -> list[str]:
    """Systems that were meant to be measured, in the order of tables."""
    told = set(data.about()) | {skip["system"].split(" ")[0] for skip in data.skipped()}
    told |= {record.system for record in data.matching(row)}
    return [name for name in NAMES if name in told]


def collect(
    data: Data, row: str, values: Callable[[str], tuple[float, ...]], text: Callable[[str], str]
) -> list[Bar]:
    """A bar a system; those without a figure say why."""
    found = []
    for system in measured_or_told(data, row):
        given = values(system)
        if given:
            found.append(Bar(NAMES[system], kind_of(system), given, text(system)))
        elif system != LIMIT:
            why = data.why_missing(system, row)
            found.append(Bar(NAMES[system], kind_of(system), why=why))
    return found


def ordered(lines: list[Bar], *, more: bool) -> list[Bar]:
    """The best first, those without a figure last."""
    sign = -1 if more else 1
    return sorted(lines, key=lambda bar: (not bar.values, sign * sum(bar.values)))


def figures_of(data: Data, row: str, measure: Measure) -> list[Bar]:
    def values(system: str) -> tuple[float, ...]:
        figure = measure(data, system)
        return (figure.value,) if figure else ()

    def text(system: str) -> str:
        figure = measure(data, system)
        assert figure is not None
        return ("> " if figure.bound_only else "") + number(figure.value)

    return collect(data, row, values, text)


def bar_chart(
    data: Data,
    name: str,
    title: str,
    subtitle: str,
    row: str,
    measure: Measure,
    *,
    more: bool,
    log: bool = True,
    aim: float | None = None,
) -> list[Chart]:
    lines = ordered(figures_of(data, row, measure), more=more)
    if not any(bar.values for bar in lines):
        return []
    if log:
        subtitle += ", logarithmic scale"
    return [Chart(name, title, subtitle, bars(title, subtitle, lines, log=log, aim=aim))]


def work_point(data: Data, system: str) -> tuple[Record, Record] | None:
    """Worker and Redis CPU of a no-op, at the point where they are least together."""
    found = []
    for row, points in (("noop", WORK), ("anoop", WORK)):
        for axes in points:
            worker = data.one(row, "worker_cpu", system, **axes)
            redis = data.one(row, "redis_cpu", system, **axes)
            if worker and redis:
                found.append((worker, redis))
    return min(found, key=lambda pair: pair[0].median + pair[1].median, default=None)


def cpu_chart(data: Data) -> list[Chart]:
    def values(system: str) -> tuple[float, ...]:
        pair = work_point(data, system)
        return (pair[0].median, pair[1].median) if pair else ()

    def text(system: str) -> str:
        worker, redis = values(system)
        return f"{number(worker)} + {number(redis)}"

    lines = ordered(collect(data, "noop", values, text), more=False)
    totals = [sum(bar.values) for bar in lines if bar.values and bar.kind == "peer"]
    if not totals:
        totals = [sum(bar.values) for bar in lines if bar.values]
    if not totals:
        return []
    title = "CPU of a no-op task"
    subtitle = "µs a task, worker + Redis; cut bars are longer"
    svg = parted(title, subtitle, lines, ("worker", "Redis"), CUT * sorted(totals)[:2][-1])
    return [Chart("cpu", title, "µs a task of the worker's processes and of Redis", svg)]


def span_chart(data: Data, name: str, title: str, row: str, axes: dict[str, int]) -> list[Chart]:
    def both(system: str) -> tuple[float, ...]:
        first, second = (data.one(row, metric, system, **axes) for metric in ("p50", "p99"))
        return (first.median, second.median) if first and second else ()

    def text(system: str) -> str:
        first, second = both(system)
        return f"{number(first)} / {number(second)}"

    lines = collect(data, row, both, text)
    if not any(bar.values for bar in lines):
        return []
    # Too early is as wrong as too late.
    lines.sort(key=lambda bar: (not bar.values, max(map(abs, bar.values), default=0)))
    subtitle = "ms, p50 / p99, logarithmic scale"
    return [Chart(name, title, subtitle, spans(title, subtitle, lines, least=SHORTEST_MS))]


def process_curves(data: Data, row: str, title: str) -> list[Chart]:
    """Tasks a second by processes, a line a system and number of queues or batch."""
    series: dict[str, list[tuple[float, float]]] = {}
    for record in data.matching(row, "rate"):
        rest = {k: v for k, v in record.axes.items() if k != "processes"}
        more = ", ".join(
            f"{value} {key if value != 1 else key[:-1]}" if key == "queues" else f"{key} {value}"
            for key, value in rest.items()
        )
        label = f"{NAMES[record.system]}, {more}".removesuffix(", ")
        series.setdefault(label, []).append((float(record.axes["processes"]), record.median))
    found = [Curve(name, tuple(sorted(points))) for name, points in series.items()]
    if not any(len(curve.points) > 1 for curve in found):
        return []
    subtitle = "tasks/s on one Redis, no-op"
    return [Chart(row, title, subtitle, curves(title, subtitle, "processes", found))]


def depth_curves(data: Data, row: str, title: str, axis: str) -> list[Chart]:
    """Redis CPU of each operation by how much is stored."""
    series: dict[str, list[tuple[float, float]]] = {}
    for record in data.matching(row, broker="redis"):
        if record.metric.endswith("_cpu") and record.unit == "µs/task":
            label = record.metric.removesuffix("_cpu").replace("_", " ")
            series.setdefault(label, []).append((float(record.axes["depth"]), record.median))
    found = [Curve(name, tuple(sorted(points))) for name, points in series.items()]
    if not any(len(curve.points) > 1 for curve in found):
        return []
    subtitle = "Redis CPU, µs a task, batches of 32"
    return [Chart(row, title, subtitle, curves(title, subtitle, axis, found))]


def all_charts(data: Data) -> list[Chart]:
    return [
        *bar_chart(data, "enqueue-one", "Enqueue, one a call", "tasks/s, more is better",
                   "enqueue", pick("enqueue", "rate", ONE), more=True),
        *bar_chart(data, "enqueue-many", "Enqueue, 100 a call", "tasks/s, more is better",
                   "enqueue", pick("enqueue", "rate", MANY), more=True),
        *bar_chart(data, "noop", "No-op tasks, one worker process", "tasks/s, more is better",
                   "noop", ANY_RATE, more=True),
        *cpu_chart(data),
        *span_chart(data, "latency", "Start latency on an idle worker", "latency", {}),
        *span_chart(data, "lateness", "Lateness of delayed tasks", "lateness", {"scheduled": 0}),
        *span_chart(data, "lateness-million", "Lateness with 1,000,000 scheduled", "lateness",
                    {"scheduled": 1_000_000}),
        *bar_chart(data, "memory", "Redis memory of a queued task of 200 bytes",
                   "bytes, less is better", "enqueue", pick("enqueue", "memory", MANY),
                   more=False, log=False, aim=BYTES),
        *bar_chart(data, "recovery", "A killed worker's task runs elsewhere",
                   "s from kill -9, less is better", "recovery", pick("recovery", "seconds"),
                   more=False),
        *bar_chart(data, "backlog", "With 1,000,000 tasks queued",
                   "Redis CPU of a task, as a multiple of that with none queued", "backlog",
                   BACKLOG, more=False, log=False, aim=FLAT),
        *bar_chart(data, "active", "With 10,000 tasks running",
                   "Redis CPU of a task, as a multiple of that with one running", "active",
                   ACTIVE, more=False, log=False, aim=FLAT),
        *process_curves(data, "scale-workers", "More worker processes"),
        *process_curves(data, "scale-producers", "More producers"),
        *depth_curves(data, "scale-backlog", "reeve with a backlog", "queued tasks"),
        *depth_curves(data, "scale-active", "reeve with others running", "running tasks"),
        *depth_curves(data, "scale-scheduled", "reeve with a schedule", "scheduled tasks"),
        *depth_curves(data, "scale-queues", "reeve with many queues", "queues"),
    ]  # fmt: skip
