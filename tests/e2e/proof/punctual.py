"""Due times, and how long a new task waits for an idle worker."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

from proof.journal import read_acks
from proof.stage import Program, Stage, spread

HOUR_OFF = ("+1h", "-1h")


def _fake_clock(offset: str) -> dict[str, str]:
    """Environment of a program whose wall clock is off; its monotonic clock is not."""
    places = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    library = next(iter(places), None)
    if library is None:
        raise FileNotFoundError("libfaketime is not installed; run make test")
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def _lateness(stage: Stage, journal: Path, acks: Path) -> tuple[list[float], int]:
    """Milliseconds from due to start by the true wall clock, and the number of tasks not run."""
    wall_minus_mono_ms = time.time_ns() / 1e6 - time.monotonic_ns() / 1e6
    started = {run.id: run.mono_ns / 1e6 for run in stage.journal(journal).starts}
    dues = [(ack.id, ack.due_at_ms) for ack in read_acks(acks)]
    late = [
        started[task] + wall_minus_mono_ms - due for task, due in dues if task in started and due
    ]
    return late, sum(task not in started for task, _ in dues)


def _delayed(
    stage: Stage, url: str, name: str, tasks: int, span_ms: int, env: dict[str, str] | None = None
) -> None:
    journal, acks = stage.path("journal"), stage.path("acks")
    worker = stage.worker(env, url=url, concurrency=16, journal=journal).ready()
    stage.produce(
        env, url=url, count=tasks, batch=500, delay_ms=500, delay_max_ms=span_ms, acks=acks
    )
    stage.wait_runs(journal, tasks, 60 + span_ms / 1000, "E")
    worker.stop()
    late, missing = _lateness(stage, journal, acks)
    # Due times are whole milliseconds, and the two clocks are read apart: half of one is slack.
    early = sum(value < -0.5 for value in late)
    stage.check(
        name,
        early == 0 and missing == 0,
        tasks=tasks,
        early=early,
        missing=missing,
        aim_p99_ms=10,
        late_ms=spread(late, 2),
    )


def delayed(stage: Stage, tasks: int, scheduled: int) -> None:
    """Random due times; again beside a heap of far ones; again with clocks an hour off."""
    span_ms = 10000 if tasks >= 10000 else 1500
    with stage.store() as url:
        _delayed(stage, url, f"{stage.broker}: none early", tasks, span_ms)
        if scheduled:
            stage.produce(
                url=url, count=scheduled, batch=5000, label="far", delay_ms=86400000, timeout_s=900
            )
            name = f"{stage.broker}: none early beside {scheduled} scheduled"
            _delayed(stage, url, name, tasks, span_ms)
        # With SQLite the clients' host is the server; and a sanitizer does not see what
        # libfaketime does to its clocks and condition variables.
        if stage.broker == "redis" and not stage.sanitizer:
            for offset in HOUR_OFF:
                name = f"redis: clocks of producer and worker {offset}"
                _delayed(stage, url, name, tasks // 5, span_ms, _fake_clock(offset))


def _wakeups(stage: Stage, where: str, samples: int) -> list[float]:
    program = str(stage.build / "programs" / "check_wakeup")
    command = [*(["setarch", "-R"] if stage.sanitizer else []), program, where, str(samples)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(f"check_wakeup: {done.stderr[-800:]}")
    spans: list[float] = json.loads(done.stdout)
    return spans


def wakeup(stage: Stage, samples: int) -> None:
    """The wake-up alone: from before the ring until the other process's wait is over. The floor is
    a bare datagram between two processes."""
    with stage.store() as url:
        spans = _wakeups(stage, url, samples)
        stage.check(
            f"{stage.broker}: each ring ended a wait",
            len(spans) == samples,
            samples=samples,
            wake_us=spread(spans, 1),
            floor_us=spread(_wakeups(stage, "floor", samples), 1),
        )


# --- idle workers -----------------------------------------------------------------------------


def _cpu_ms(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def _switches(pid: int) -> int:
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in status.read_text().splitlines():
            if "ctxt_switches" in line:
                total += int(line.split()[1])
    return total


def _idle(stage: Stage, worker: Program, seconds: float) -> dict[str, float]:
    cpu, switches, start = _cpu_ms(worker.pid), _switches(worker.pid), time.monotonic()
    time.sleep(seconds)
    span = time.monotonic() - start
    return {
        "cpu_ms_per_s": round((_cpu_ms(worker.pid) - cpu) / span, 2),
        "wakeups_per_s": round((_switches(worker.pid) - switches) / span, 1),
    }


def latency(stage: Stage, samples: int) -> None:
    """From the enqueue call's begin to the handler's start, across processes."""
    with stage.store() as url:
        journal, acks = stage.path("journal"), stage.path("acks")
        worker = stage.worker(url=url, concurrency=4, journal=journal).ready()
        time.sleep(0.2)
        stage.produce(url=url, count=samples, gap_max_us=6000, acks=acks)
        stage.wait_runs(journal, samples, what="E")
        started = {run.id: run.mono_ns for run in stage.journal(journal).starts}
        known = read_acks(acks)
        waits = [(started[ack.id] - ack.before_ns) / 1e3 for ack in known]
        calls = [(ack.after_ns - ack.before_ns) / 1e3 for ack in known]
        stage.check(
            f"{stage.broker}: every sample ran",
            len(waits) == samples,
            samples=samples,
            start_us=spread(waits, 0),
            enqueue_call_us=spread(calls, 0),
        )
        quiet = _idle(stage, worker, 1.0 if samples < 1000 else 5.0)
        # A busy loop would show as a thousand; a tenth of a core is generous to a loaded machine.
        stage.check(f"{stage.broker}: an idle worker sleeps", quiet["cpu_ms_per_s"] <= 100, **quiet)
        worker.stop()
