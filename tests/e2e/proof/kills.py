"""Workers that die: killed at random, frozen past their lease, stopped politely, taken over."""

from __future__ import annotations

import random
import signal
import time
from typing import Any

from proof.stage import Program, Stage, spread

WORKERS = 4
TASKS = 2000
CONCURRENCY = 8
SETTLE_COUNT = 64
LEASE_MS = 500


def _round(stage: Stage, url: str, number: int, politely: bool) -> dict[str, int]:
    """2 000 tasks while random workers die and are started again; what came of it."""
    rng = random.Random()
    queue, journal, acks = f"q{number}", stage.path("journal"), stage.path("acks")

    def start() -> Program:
        return stage.worker(
            url=url,
            queues=queue,
            concurrency=CONCURRENCY,
            lease_ms=LEASE_MS,
            settle_count=SETTLE_COUNT,
            work_max_us=20000,
            fail_percent=2,
            journal=journal,
        )

    workers = [start().ready() for _ in range(WORKERS)]
    producer = stage.start(
        "e2e_producer",
        url=url,
        queues=queue,
        count=TASKS,
        batch=50,
        label=queue,
        acks=acks,
        max_crashes=-1,
        gap_max_us=20000,
    )
    deaths = 0
    for moment in sorted(rng.uniform(0.0, 1.0) for _ in range(rng.randint(2, 6))):
        # Moments are of the run, not of the clock: wait for that share of the starts.
        stage.wait_runs(journal, int(moment * TASKS), 120)
        victim = rng.randrange(WORKERS)
        if politely:
            workers[victim].ready().stop()
        else:
            workers[victim].kill()
        deaths += 1
        workers[victim] = start()
    if producer.wait():
        raise RuntimeError(f"producer failed: {producer.errors()[-500:]}")
    stage.wait_empty(url)
    done = stage.queues(url)[queue]["done"]
    for worker in workers:
        worker.ready()
        worker.send(signal.SIGTERM)
    for worker in workers:
        worker.wait()
    runs = stage.journal(journal)
    result = {
        "deaths": deaths,
        "lost": len(runs.lost(stage.acks(acks))),
        "acked": len(stage.acks(acks)),
        "done": done,
        "cut_runs": runs.repeated_starts(),
        "repeated": runs.repeated_ends(),
        "token_faults": runs.token_faults(),
    }
    for path in (journal, acks):
        path.unlink()
    return result


def _rounds(stage: Stage, rounds: int, politely: bool) -> dict[str, int]:
    total: dict[str, int] = {}
    options = {"appendonly": "yes", "appendfsync": "everysec"}
    with stage.store(**({} if stage.broker == "sqlite" else options)) as url:
        for number in range(rounds):
            for name, value in _round(stage, url, number, politely).items():
                total[name] = total.get(name, 0) + value
            stage.progress(f"round {number + 1} of {rounds}: {total}")
    return total


def kills(stage: Stage, rounds: int) -> None:
    """SIGKILL of random workers at random moments."""
    start = time.monotonic()
    total = _rounds(stage, rounds, politely=False)
    # A dead worker repeats what it held, and what it had finished but not yet stored: at most
    # its slots and the two batches of outcomes that may be unstored.
    bound = total["deaths"] * (CONCURRENCY + 2 * SETTLE_COUNT)
    good = total["lost"] == 0 and total["acked"] == rounds * TASKS
    good = good and total["done"] == total["acked"] and total["token_faults"] == 0
    stage.check(
        f"{stage.broker}: SIGKILL loses none, settles each once",
        good,
        rounds=rounds,
        **total,
        seconds=round(time.monotonic() - start, 1),
    )
    stage.check(
        f"{stage.broker}: repeated runs are bounded",
        total["repeated"] <= bound,
        finished_twice_per_kill=round(total["repeated"] / max(1, total["deaths"]), 3),
        started_twice_per_kill=round(total["cut_runs"] / max(1, total["deaths"]), 3),
        bound_per_kill=CONCURRENCY + 2 * SETTLE_COUNT,
    )


def terms(stage: Stage, rounds: int) -> None:
    """SIGTERM of random workers at random moments: nothing is lost or repeated."""
    total = _rounds(stage, rounds, politely=True)
    good = total["lost"] == 0 and total["repeated"] == 0 and total["cut_runs"] == 0
    good = good and total["done"] == total["acked"] == rounds * TASKS
    stage.check(f"{stage.broker}: SIGTERM loses and repeats none", good, rounds=rounds, **total)


def _freeze(stage: Stage, worker: Program, url: str) -> None:
    """Stops a worker, but not inside a transaction: an SQLite file would be locked by it."""
    while True:
        worker.send(signal.SIGSTOP)
        try:
            stage.ctl(url, "pause", "probe", "0", timeout_ms=100)
            return
        except RuntimeError:
            worker.send(signal.SIGCONT)
            time.sleep(0.003)


def fencing(stage: Stage, rounds: int) -> None:
    """A worker frozen past its lease cannot overwrite what its successor stored. A claim that it
    had left at the doorbell may take the task once more, and is refused as well."""
    refused = kept = done = 0
    with stage.store() as url:
        for number in range(rounds):
            queue, journal = f"f{number}", stage.path("journal")
            common: dict[str, Any] = {"url": url, "queues": queue, "journal": journal}
            common["lease_ms"] = 300
            frozen = stage.worker(id=f"frozen{number}", work_us=900000, settle_ms=-1, **common)
            frozen.ready()
            stage.produce(url=url, queues=queue, label=queue, retention_ms=600000)
            stage.wait_runs(journal, 1)
            _freeze(stage, frozen, url)
            heir = stage.worker(id=f"heir{number}", work_us=1000, **common).ready()
            stage.wait_done(url, queue, 1)
            frozen.send(signal.SIGCONT)
            stage.wait_runs(journal, 2, what="EC")
            frozen.wait_idle()
            refused += frozen.stop()["lease_lost"]
            heir.stop()
            task = stage.ctl(url, "find", queue, f"{queue}-0")[0]
            kept += task["state"] == "completed" and task["result"].startswith(f"heir{number} ")
            done += stage.queues(url)[queue]["done"]
    stage.check(
        f"{stage.broker}: a frozen worker is refused (LEASE_LOST)",
        refused >= rounds and kept == done == rounds,
        rounds=rounds,
        refused=refused,
        heirs_result_kept=kept,
        done=done,
    )


def _handover(stage: Stage, rounds: int, lease_ms: int, reclaims: bool) -> list[float]:
    """Milliseconds from the kill of a worker in mid-task to the task's start in another."""
    waits = []
    with stage.store() as url:
        for number in range(rounds):
            queue, journal, heirs = f"q{number}", stage.path("journal"), stage.path("journal")
            common: dict[str, Any] = {"url": url, "queues": queue, "lease_ms": lease_ms}
            name = f"victim{number}"
            victim = stage.worker(
                None, id=name, work_us=60000000, journal=journal, **common
            ).ready()
            stage.produce(url=url, queues=queue, label=f"t{number}")
            stage.wait_runs(journal, 1)
            heir = stage.worker(None, journal=heirs, **common).ready()
            time.sleep(random.uniform(0, min(lease_ms, 1000) / 1000))
            killed_ns = time.monotonic_ns()
            victim.kill()
            if reclaims:  # what a supervisor does, with the start of a process on top
                stage.ctl(url, "reclaim", name)
            stage.wait_runs(heirs, 1)
            waits.append((stage.journal(heirs).starts[0].mono_ns - killed_ns) / 1e6)
            heir.stop()
            stage.progress(f"round {number + 1} of {rounds}")
    return waits


def takeover(stage: Stage, rounds: int) -> None:
    """kill -9 of a worker: its task runs elsewhere within lease + 1 s."""
    lease_ms = 1000
    waits = _handover(stage, rounds, lease_ms, reclaims=False)
    stage.check(
        f"{stage.broker}: kill -9 to running elsewhere within lease + 1 s",
        max(waits) <= lease_ms + 1000,
        rounds=rounds,
        lease_ms=lease_ms,
        **{f"{name}_ms": value for name, value in spread(waits, 1).items()},
    )


def reclaimed(stage: Stage, rounds: int) -> None:
    """A supervisor that has seen its child die hands the tasks back at once."""
    waits = _handover(stage, rounds, 30000, reclaims=True)
    stage.check(
        f"{stage.broker}: reclaimed by its supervisor, running elsewhere",
        # The lease of 30 s would be the alternative: no threshold on a loaded machine.
        max(waits) < 5000,
        rounds=rounds,
        aim_ms=100,
        **{f"{name}_ms": value for name, value in spread(waits, 1).items()},
    )
