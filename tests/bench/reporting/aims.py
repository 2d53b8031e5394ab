"""The aims, and what was reached of each: reeve's figure, the best peer's figure, met or not."""

from __future__ import annotations

import statistics
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reporting.data import (
    LIMIT,
    NAMES,
    OURS,
    PEERS,
    PYTHON_PEERS,
    Data,
    DataError,
    Runs,
    number,
    paired,
)


@dataclass(frozen=True)
class Figure:
    """A value with its rounds."""

    value: float
    runs: Runs = ()
    bound_only: bool = False  #: longer than that, not seen


Measure = Callable[[Data, str], Figure | None]


def pick(row: str, metric: str, *points: dict[str, Any]) -> Measure:
    """A record's figure, at the first of the points of the axes that was measured."""

    def measure(data: Data, system: str) -> Figure | None:
        for axes in points or ({},):
            record = data.one(row, metric, system, **axes)
            if record is not None:
                return Figure(record.median, record.runs, record.bound_only)
        return None

    return measure


def combined(first: Measure, second: Measure, how: Callable[[float, float], float]) -> Measure:
    """Of two figures round by round; of the medians where no round has both."""

    def measure(data: Data, system: str) -> Figure | None:
        one, other = first(data, system), second(data, system)
        if one is None or other is None:
            return None
        runs = [how(a, b) for a, b in paired(one.runs, other.runs)]
        value = statistics.median(runs) if runs else how(one.value, other.value)
        return Figure(value, runs)

    return measure


def total(first: Measure, second: Measure) -> Measure:
    return combined(first, second, lambda a, b: a + b)


def times(first: Measure, second: Measure) -> Measure:
    return combined(first, second, lambda a, b: a / b if b else float("inf"))


def to_limit(measure: Measure) -> Measure:
    """As a multiple of what the bare list costs."""

    def of_limit(data: Data, system: str) -> Figure | None:
        return measure(data, LIMIT)

    return times(measure, of_limit)


def most_of(*measures: Measure) -> Measure:
    """The highest of several points that were measured."""

    def measure(data: Data, system: str) -> Figure | None:
        found = [figure for figure in (one(data, system) for one in measures) if figure]
        return max(found, key=lambda figure: figure.value, default=None)

    return measure


def least_of(*measures: Measure) -> Measure:
    """The lowest of several points that were measured."""

    def measure(data: Data, system: str) -> Figure | None:
        found = [figure for figure in (one(data, system) for one in measures) if figure]
        return min(found, key=lambda figure: figure.value, default=None)

    return measure


def first_of(*measures: Measure) -> Measure:
    """The first that was measured."""

    def measure(data: Data, system: str) -> Figure | None:
        return next((figure for one in measures if (figure := one(data, system))), None)

    return measure


def punctual(measure: Measure, *points: dict[str, Any]) -> Measure:
    """No figure for a system that starts most tasks before their time."""
    middle = pick("lateness", "p50", *points)

    def of_punctual(data: Data, system: str) -> Figure | None:
        usual = middle(data, system)
        return measure(data, system) if usual and usual.value >= EARLY_MS else None

    return of_punctual


@dataclass(frozen=True)
class Aim:
    """One line of the table. `key` is what reasons.toml calls it."""

    key: str
    what: str
    bound: float
    unit: str
    ours: str
    measure: Measure
    peers: tuple[str, ...] = PEERS
    more: bool = False  #: more is better
    paced: bool = False  #: it is Redis's work that takes the time


@dataclass(frozen=True)
class Outcome:
    """An aim and what was measured. pace: how many times what it took where the aims were set this
    machine takes for the bare list."""

    aim: Aim
    ours: Figure | None
    peer: str
    theirs: Figure | None
    pace: float | None = None

    @property
    def paced_bound(self) -> float | None:
        """The aim for a machine as fast as this one."""
        if not self.aim.paced or self.pace is None:
            return None
        return self.aim.bound / self.pace if self.aim.more else self.aim.bound * self.pace

    @property
    def met(self) -> bool | None:
        """None: not measured, or not for as long as it may take."""
        return self._meets(self.aim.bound)

    @property
    def met_at_pace(self) -> bool | None:
        """The same, for a machine as fast as this one."""
        bound = self.paced_bound
        return self.met if bound is None else self._meets(bound)

    def _meets(self, bound: float) -> bool | None:
        if self.ours is None:
            return None
        if self.ours.bound_only:
            return None if self.ours.value <= bound else False
        if self.aim.more:
            return self.ours.value >= bound
        return self.ours.value <= bound


MANY, ONE = {"batch": 100, "aof": "off"}, {"batch": 1, "aof": "off"}
WORK = [{"concurrency": 100, "aof": "off"}, {"concurrency": 10, "aof": "off"}]
ALONE = {"concurrency": 1, "aof": "off"}
NOOP_RATE = most_of(*(pick("noop", "rate", point) for point in WORK))
#: Some systems have async handlers only: where any handler will do, those count, too.
ANY_RATE = most_of(NOOP_RATE, pick("anoop", "rate"))
ANY_CPU = least_of(pick("noop", "worker_cpu", *WORK), pick("anoop", "worker_cpu"))
#: Redis CPU of a task's whole way: many a call, and one a call.
BATCHED = total(
    pick("enqueue", "redis_cpu", MANY),
    first_of(pick("noop", "redis_cpu", *WORK), pick("anoop", "redis_cpu")),
)
SINGLE = total(pick("enqueue", "redis_cpu", ONE), pick("noop", "redis_cpu", ALONE))
MILLION = {"scheduled": 1_000_000}
BACKLOG = times(
    pick("backlog", "redis_cpu", {"backlog": 1_000_000}),
    pick("backlog", "redis_cpu", {"backlog": 0}),
)
ACTIVE = times(
    pick("active", "redis_cpu", {"active": 10_000}),
    pick("active", "redis_cpu", {"active": 1}),
)
FLAT, BYTES = 1.2, 450.0
EARLY_MS = -1.0  # clocks and due times are whole milliseconds to many systems


def detail(metric: str, what: str, broker: str = "redis") -> Measure:
    return pick("detail", metric, {"what": what, "broker": broker})


#: Redis CPU of LPUSH and RPOP, 32 tasks a command, where the aims were set, µs a task.
REFERENCE = 0.34


def pace(data: Data) -> float | None:
    """How many times that this machine takes."""
    bare = detail("redis_cpu", "cycle, batch 32")(data, LIMIT)
    return bare.value / REFERENCE if bare else None


def both_rates(first: Measure, second: Measure) -> Measure:
    """Of tasks that go through one and then the other."""
    return combined(first, second, lambda a, b: a * b / (a + b))


AIMS = [
    Aim("redis-batched", "Redis CPU, enqueue to settled, batched", 2, "µs/task", "reeve-c",
        BATCHED, paced=True),
    Aim("redis-single", "Redis CPU, enqueue to settled, one at a time", 11, "µs/task",
        "reeve-c", SINGLE, paced=True),
    Aim("limit", "the same as a multiple of the bare list, batched", 6, "×", "reeve-c",
        to_limit(BATCHED)),
    Aim("c-producer", "C producer, 100 a call", 400_000, "tasks/s", "reeve-c",
        pick("enqueue", "rate", MANY), more=True, paced=True),
    Aim("c-worker", "C worker, no-op, one process", 300_000, "tasks/s", "reeve-c", ANY_RATE,
        more=True, paced=True),
    Aim("c-enqueue-cpu", "client CPU, enqueue, 100 a call", 0.5, "µs/task", "reeve-c",
        pick("enqueue", "client_cpu", MANY)),
    Aim("c-worker-cpu", "worker CPU, claim and settle", 1.5, "µs/task", "reeve-c", ANY_CPU),
    Aim("python-one", "Python enqueue, one a call", 40_000, "tasks/s", "reeve",
        pick("enqueue", "rate", ONE), PYTHON_PEERS, more=True),
    Aim("python-many", "Python enqueue, 100 a call", 300_000, "tasks/s", "reeve",
        pick("enqueue", "rate", MANY), PYTHON_PEERS, more=True),
    Aim("python-async", "Python worker, async no-op, one process", 60_000, "tasks/s", "reeve",
        pick("anoop", "rate"), PYTHON_PEERS, more=True),
    Aim("python-async-cpu", "its CPU", 12, "µs/task", "reeve", pick("anoop", "worker_cpu"),
        PYTHON_PEERS),
    Aim("python-sync", "Python worker, sync no-op on threads, one process", 40_000, "tasks/s",
        "reeve", NOOP_RATE, PYTHON_PEERS, more=True),
    Aim("python-sync-cpu", "its CPU", 20, "µs/task", "reeve",
        pick("noop", "worker_cpu", *WORK), PYTHON_PEERS),
    Aim("lua-worker", "Lua worker, no-op, one process", 150_000, "tasks/s", "reeve-lua",
        NOOP_RATE, (), more=True),
    Aim("nginx-one", "nginx, CPU of an enqueue", 15, "µs/task", "reeve-lua",
        detail("client_cpu", "nginx enqueue"), ()),
    Aim("nginx-many", "nginx, CPU of an enqueue, 20 a call", 1.5, "µs/task", "reeve-lua",
        detail("client_cpu", "nginx enqueue_many of 20"), ()),
    Aim("latency-p50", "start latency on an idle worker, p50", 0.3, "ms", "reeve-c",
        pick("latency", "p50")),
    Aim("latency-p99", "start latency on an idle worker, p99", 1, "ms", "reeve-c",
        pick("latency", "p99")),
    Aim("lateness", "lateness with 1,000,000 scheduled, p99", 10, "ms", "reeve-c",
        punctual(pick("lateness", "p99", MILLION), MILLION)),
    Aim("memory", "Redis memory of a queued task", BYTES, "bytes", "reeve-c",
        pick("enqueue", "memory", MANY)),
    Aim("backlog", "Redis CPU, 1,000,000 queued to none", FLAT, "×", "reeve-c", BACKLOG),
    Aim("active", "Redis CPU, 10,000 running to one", FLAT, "×", "reeve-c", ACTIVE),
    Aim("sqlite", "SQLite, one process, enqueue to settled", 50_000, "tasks/s", "reeve-c",
        both_rates(detail("rate", "C enqueue_many, 100 a call", "sqlite"),
                   detail("rate", "C worker, poll face, concurrency 100", "sqlite")),
        (), more=True),
    Aim("recovery", "a killed worker's task runs elsewhere", 31, "s", "reeve",
        pick("recovery", "seconds")),
    Aim("child", "a killed child's task runs again", 0.1, "s", "reeve",
        detail("seconds", "kill -9 of a supervised child"), ()),
]  # fmt: skip


def outcome(aim: Aim, data: Data) -> Outcome:
    """reeve's figure, and the best of the peers'."""
    found = {peer: aim.measure(data, peer) for peer in aim.peers}
    seen = {peer: figure for peer, figure in found.items() if figure}
    sign = -1 if aim.more else 1

    def rank(peer: str) -> tuple[bool, float]:
        return seen[peer].bound_only, sign * seen[peer].value

    best = min(seen, key=rank, default="")
    return Outcome(aim, aim.measure(data, aim.ours), best, seen.get(best), pace(data))


def read_reasons(path: Path) -> dict[str, str]:
    """Why an aim is not met, by its key."""
    try:
        found = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path.name}: {error}") from error
    known = {aim.key for aim in AIMS}
    for key, reason in found.items():
        if key not in known:
            raise DataError(f"{path.name}: there is no aim {key!r}: {', '.join(sorted(known))}")
        if not isinstance(reason, str):
            raise DataError(f"{path.name}: {key}: not a text")
    return found


def shown(figure: Figure | None, unit: str) -> str:
    if figure is None:
        return ""
    text = number(figure.value) + ("×" if unit == "×" else f" {unit}")
    return f"> {text}" if figure.bound_only else text


def compared(result: Outcome) -> str:
    """How many times better reeve is than the best peer."""
    ours, theirs = result.ours, result.theirs
    if ours is None or theirs is None or not ours.value or not theirs.value:
        return ""
    if min(ours.value, theirs.value) < 0:
        return ""
    better = ours.value / theirs.value if result.aim.more else theirs.value / ours.value
    return f"{number(better)}×"


def table(results: list[Outcome], reasons: dict[str, str]) -> list[str]:
    lines = [
        "| what | aim | at this pace | reeve | best peer | reeve is better by | met | why not |",
        "|---|--:|--:|--:|--:|--:|---|---|",
    ]
    for result in results:
        aim = result.aim
        sign = "≥" if aim.more else "≤"
        bound = f"{aim.bound:,g}" + ("×" if aim.unit == "×" else f" {aim.unit}")
        paced = "" if result.paced_bound is None else f"{sign} {number(result.paced_bound)}"
        peer = f"{shown(result.theirs, aim.unit)}, {NAMES[result.peer]}" if result.peer else ""
        met = {True: "yes", False: "no", None: "not measured"}[result.met]
        if result.met is False and result.met_at_pace:
            met = "at this pace"
        why = reasons.get(aim.key, "") if not result.met else ""
        ours = shown(result.ours, aim.unit)
        if ours and aim.ours != OURS[0]:
            ours += f", {NAMES[aim.ours].removeprefix('reeve ').strip('()')}"
        lines.append(
            f"| {aim.what} | {sign} {bound} | {paced} | {ours} | {peer} | {compared(result)} "
            f"| {met} | {why} |"
        )
    return [
        *lines,
        "",
        *pace_note(results),
        "Lateness compares only systems that do not start most tasks before their time. The bare "
        "list is Redis's LPUSH and RPOP of as many bytes, with no guarantee.",
    ]


def pace_note(results: list[Outcome]) -> list[str]:
    """What the third column is, when there is one."""
    factor = next((result.pace for result in results if result.pace is not None), None)
    if factor is None:
        return []
    return [
        f"Where the aims were set, Redis spent {REFERENCE} µs on a task of the bare list (32 a "
        f"command); here it spends {number(factor * REFERENCE)}. The third column is the aim times "
        "or by that ratio, for figures that are Redis's own work or bound by it.",
        "",
    ]


def unexplained(results: list[Outcome], reasons: dict[str, str]) -> list[str]:
    """Keys of aims that were measured, not met, and have no reason."""
    return [
        result.aim.key
        for result in results
        if result.met_at_pace is False and not reasons.get(result.aim.key)
    ]
