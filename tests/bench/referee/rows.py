"""The rows: which phase, at which points of the axes, at which settings, how often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from referee import phases
from referee.phases import Case, Figures
from referee.records import Axes
from referee.systems import LIMIT, System

#: The row needs a no-op handler, whichever.
ANY = "noop or anoop"
#: A backlog is only made where it takes less than this.
BACKLOG_S = 30.0
#: More tasks at a time than this are for systems with handlers that are not threads.
THREADS_MOST = 500
THREADED = ("celery", "rq", "dramatiq", "huey")


@dataclass(frozen=True)
class Row:
    """One row at one point of its axes."""

    name: str
    axes: Axes
    phase: Callable[[Case], Figures]
    handler: str
    settings: tuple[str, ...] = ("default", "best")
    share: float = 1.0  #: of the wished runs; at least one
    quick: bool = True  #: part of --quick
    aof: str = "off"
    refuses: Callable[[Case], str] = field(default=lambda case: "")  #: why not, or ""

    def runs(self, wished: int) -> int:
        return max(round(wished * self.share), 1)


def slow_producer(count: int) -> Callable[[Case], str]:
    """Refuses systems that would enqueue that many for minutes."""

    def refuses(case: Case) -> str:
        key = ("enqueue", case.system.name, case.setting, 100)
        rate = case.bounds.rates.get(key, case.system.guess * 2)
        if count / rate <= BACKLOG_S:
            return ""
        return f"{count:,} tasks would take {count / rate:.0f} s to enqueue at {rate:,.0f}/s"

    return refuses


def too_many(held: int) -> Callable[[Case], str]:
    """Refuses systems whose tasks each need a thread or process of an interpreter."""

    def refuses(case: Case) -> str:
        if held <= THREADS_MOST or case.system.name not in THREADED:
            return ""
        return f"each of {held:,} running tasks would be a thread or a process"

    return refuses


def enqueue(batch: int, aof: str = "off", **more: object) -> Row:
    return Row(
        "enqueue",
        {"batch": batch, "aof": aof},
        lambda case: phases.enqueue(case, batch=batch, handler=plain(case)),
        ANY,
        aof=aof,
        **more,  # type: ignore[arg-type]
    )


def run(
    name: str,
    concurrency: int,
    aof: str = "off",
    guess: float = 1e9,
    processes: int = 1,
    **more: object,
) -> Row:
    return Row(
        name,
        {"concurrency": concurrency, "processes": processes, "aof": aof},
        lambda case: phases.run(
            case,
            handler=name,
            concurrency=concurrency,
            processes=processes,
            guess=min(guess, case.system.guess),
        ),
        name,
        aof=aof,
        **more,  # type: ignore[arg-type]
    )


def backlog(count: int, **more: object) -> Row:
    return Row(
        "backlog",
        {"backlog": count, "concurrency": 10},
        lambda case: phases.backlog(case, handler=plain(case), concurrency=10, count=count),
        ANY,
        settings=("best",),
        refuses=slow_producer(count),
        **more,  # type: ignore[arg-type]
    )


def active(held: int, **more: object) -> Row:
    return Row(
        "active",
        {"active": held, "concurrency": 10},
        lambda case: phases.active(case, handler=plain(case), held=held, concurrency=10),
        "hold",
        settings=("best",),
        refuses=too_many(held),
        **more,  # type: ignore[arg-type]
    )


def lateness(scheduled: int, **more: object) -> Row:
    return Row(
        "lateness",
        {"scheduled": scheduled, "concurrency": 10},
        lambda case: phases.lateness(case, concurrency=10, scheduled=scheduled),
        "stamp",
        refuses=slow_producer(scheduled),
        **more,  # type: ignore[arg-type]
    )


LATENCY = Row(
    "latency",
    {"concurrency": 10},
    lambda case: phases.latency(case, concurrency=10),
    "stamp",
    share=0.5,
)

BEST = ("best",)
ROWS = [
    enqueue(1),
    enqueue(100),
    run("noop", 10),
    run("anoop", 100),
    LATENCY,
    lateness(0, share=0.3),
    run("noop", 1, settings=BEST, share=0.3, quick=False),
    run("noop", 100, settings=BEST, share=0.3, quick=False),
    run("sleep", 10, guess=8000, settings=BEST, share=0.5, quick=False),
    run("cpu", 5, guess=1500, processes=2, settings=BEST, share=0.5, quick=False),
    enqueue(1, "everysec", settings=BEST, share=0.3, quick=False),
    enqueue(100, "everysec", settings=BEST, share=0.3, quick=False),
    run("noop", 10, "everysec", settings=BEST, share=0.3, quick=False),
    backlog(0, share=0.3, quick=False),
    backlog(10_000, share=0.3, quick=False),
    backlog(1_000_000, share=0.2, quick=False),
    lateness(1_000_000, settings=BEST, share=0.2, quick=False),
    active(1, share=0.2, quick=False),
    active(10_000, share=0.2, quick=False),
]
RECOVERY = "recovery"
DETAIL = "detail"
NAMES = [*dict.fromkeys(row.name for row in ROWS), RECOVERY, DETAIL]


def plain(case: Case) -> str:
    """The no-op handler where any will do: an async one where a system has no other."""
    return "noop" if "noop" in case.system.handlers() else "anoop"


def why_not(row: Row, system: System) -> str:
    """Why a system has no figure in a row, or ""."""
    known = system.handlers()
    if row.handler == ANY and {"noop", "anoop"} & set(known):
        return ""
    if row.handler not in known:
        what = "the bare bytes" if system.name == LIMIT else system.name
        return f"{what} has no handler `{row.handler}`"
    return ""
