"""Shares of queues, strict order with ageing, weights changed while it runs."""

from __future__ import annotations

import time
from collections import Counter

from proof.journal import Run
from proof.stage import Stage

WEIGHTS = {"a": 6, "b": 3, "c": 1}


def _shares(runs: list[Run]) -> dict[str, float]:
    counts = Counter(run.queue for run in runs)
    return {queue: round(counts[queue] / max(1, len(runs)), 5) for queue in sorted(counts)}


def _fill(stage: Stage, url: str, counts: dict[str, int]) -> None:
    for queue, count in counts.items():
        stage.produce(url=url, queues=queue, count=count, batch=1000, label=queue)


def weights(stage: Stage, tasks: int) -> None:
    """6:3:1 over a backlog of all three, by two workers."""
    whole = sum(WEIGHTS.values())
    with stage.store() as url:
        spare = tasks // 20
        _fill(stage, url, {q: tasks * w // whole + spare for q, w in WEIGHTS.items()})
        journal = stage.path("journal")
        queues = ",".join(f"{queue}={weight}" for queue, weight in WEIGHTS.items())
        workers = [
            stage.worker(url=url, queues=queues, concurrency=32, journal=journal) for _ in range(2)
        ]
        stage.wait_empty(url, 600)
        for worker in workers:
            worker.stop()
        starts = sorted(stage.journal(journal).starts, key=lambda run: run.mono_ns)
        shares = _shares(starts[:tasks])
        worst = max(abs(shares.get(q, 0) * whole / w - 1) for q, w in WEIGHTS.items())
        stage.check(
            f"{stage.broker}: weights 6:3:1 within 1 %",
            worst <= 0.01,
            tasks=tasks,
            shares=shares,
            worst_relative=round(worst, 5),
        )


def ageing(stage: Stage, tasks: int) -> None:
    """Strict order, where a passed-over queue still moves."""
    with stage.store() as url:
        _fill(stage, url, {"high": tasks, "low": 100})
        journal = stage.path("journal")
        worker = stage.worker(
            url=url,
            queues="high,low",
            strict=1,
            ageing_ms=50,
            concurrency=8,
            work_us=1000,
            journal=journal,
        )
        stage.wait_empty(url, 600)
        worker.stop()
        starts = sorted(stage.journal(journal).starts, key=lambda run: run.mono_ns)
        last_high = max(i for i, run in enumerate(starts) if run.queue == "high")
        early = [run for run in starts[:last_high] if run.queue == "low"]
        span_ms = (starts[last_high].mono_ns - starts[0].mono_ns) / 1e6
        expected = span_ms / 50
        stage.check(
            f"{stage.broker}: strict order with ageing lets the low queue move",
            1 <= len(early) <= expected * 1.5 + 8,
            high=tasks,
            ms=round(span_ms),
            low_runs_meanwhile=len(early),
            one_per_ageing_would_be=round(expected),
        )


def changed(stage: Stage, tasks: int) -> None:
    """Weights changed by the inspector reach running workers."""
    with stage.store() as url:
        _fill(stage, url, dict.fromkeys(WEIGHTS, tasks))
        journal = stage.path("journal")
        queues = ",".join(f"{queue}={weight}" for queue, weight in WEIGHTS.items())
        worker = stage.worker(
            url=url, queues=queues, concurrency=16, work_us=2000, journal=journal
        ).ready()
        # While each queue has backlog: at these weights a task in ten is c's, then six.
        stage.wait_runs(journal, int(tasks * 0.8), 300)
        before_ns = time.monotonic_ns()
        for queue, weight in (("a", 1), ("b", 3), ("c", 6)):
            stage.ctl(url, "weight", queue, str(weight))
        after_ns = time.monotonic_ns() + 200_000_000
        stage.wait_runs(journal, int(tasks * 1.9), 300)
        worker.kill()
        starts = stage.journal(journal).starts
        first = _shares([run for run in starts if run.mono_ns < before_ns])
        second = _shares([run for run in starts if run.mono_ns > after_ns])
        good = abs(first["a"] - 0.6) <= 0.02 and abs(second["a"] - 0.1) <= 0.02
        good = good and abs(first["c"] - 0.1) <= 0.02 and abs(second["c"] - 0.6) <= 0.02
        stage.check(
            f"{stage.broker}: changed weights reach a running worker",
            good,
            before=first,
            after=second,
        )
