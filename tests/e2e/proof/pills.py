"""A task that kills every worker that runs it, among tasks that workers hold ahead."""

from __future__ import annotations

from collections import Counter

from proof.stage import Program, Stage, wait_for

LEASE_MS = 200
AHEAD = 3000
BESIDE = 199
MAX_CRASHES = 3


def pills(stage: Stage, rounds: int) -> None:
    """Only the pill is archived; what its workers held beside it runs with one crash at most."""
    deaths = innocents_hit = 0
    worst = 0
    good = True
    with stage.store() as url:
        for number in range(rounds):
            queue = f"q{number}"
            figures = _round(stage, url, queue)
            deaths += figures["deaths"]
            innocents_hit += figures["hit"]
            worst = max(worst, figures["worst"])
            good = good and figures["archived"] == 1 and figures["pill"] == 1
            good = good and figures["completed"] == AHEAD + BESIDE
            good = good and figures["deaths"] == MAX_CRASHES
            stage.progress(f"round {number + 1} of {rounds}: {figures}")
    stage.check(
        f"{stage.broker}: a pill is archived alone",
        good and worst <= 1,
        rounds=rounds,
        deaths=deaths,
        crashes_counted_against_others=innocents_hit,
        most_crashes_of_one=worst,
    )


def _round(stage: Stage, url: str, queue: str) -> dict[str, int]:
    shared = {"url": url, "queues": queue, "retention_ms": 600000, "batch": 1000}
    stage.produce(**shared, count=AHEAD, label=f"{queue}-ahead")
    stage.produce(**shared, count=1, label=f"{queue}-pill", type="pill")
    stage.produce(**shared, count=BESIDE, label=f"{queue}-beside")

    def start() -> Program:
        return stage.worker(
            url=url, queues=queue, concurrency=1, lease_ms=LEASE_MS, deadly_type="pill"
        )

    workers = [start(), start()]
    deaths = 0

    def over() -> bool:
        nonlocal deaths
        for i, worker in enumerate(workers):
            if worker.process.poll() is not None:
                deaths += 1
                workers[i] = start()
        return stage.left(url) == 0

    wait_for(over, 120, "an empty queue", every_s=0.05)
    for worker in workers:
        worker.ready().stop()
    archived = stage.ctl(url, "tasks", queue, "archived")
    crashes = Counter(task["crashes"] for task in stage.ctl(url, "tasks", queue, "completed"))
    return {
        "deaths": deaths,
        "archived": len(archived),
        "pill": sum("pill" in task["id"] for task in archived),
        "completed": sum(crashes.values()),
        "hit": sum(crashes.values()) - crashes[0],
        "worst": max(crashes, default=0),
    }
