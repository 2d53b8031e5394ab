"""`reeve worker --processes`: a child that dies gives its tasks back at once."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from proof.stage import ROOT, Program, Stage, spread, wait_for


def _python() -> str:
    """The interpreter that has reeve: the project's own environment, else this one."""
    own = ROOT / ".venv" / "bin" / "python"
    return str(own) if own.exists() else sys.executable


def _round(stage: Stage, url: str) -> tuple[float, int, int]:
    """(milliseconds from kill to start elsewhere, exit code of the supervisor, tasks left)"""
    journal = stage.path("journal")
    journal.touch()
    env = {
        **os.environ,
        "REEVE_PROVE_URL": url,
        "REEVE_PROVE_JOURNAL": str(journal),
        "PYTHONPATH": str(Path(__file__).parent),
    }
    words = ["worker", "held_app:app", "--processes", "3", "-c", "2", "--log-level", "error"]
    supervisor = Program([_python(), "-m", "reeve", *words], env, stage.path("supervisor.log"))
    stage.programs.append(supervisor)
    wait_for(lambda: len(stage.ctl(url, "workers")) == 3, 30, "three workers", every_s=0.05)
    stage.produce(url=url, type="hold", payload="{}")
    stage.wait_runs(journal, 1)
    killed_ns = time.monotonic_ns()
    os.kill(int(stage.journal(journal).starts[0].worker), signal.SIGKILL)
    stage.wait_runs(journal, 2)
    start_ns = stage.journal(journal).starts[1].mono_ns
    supervisor.send(signal.SIGTERM)
    return (start_ns - killed_ns) / 1e6, supervisor.wait(), stage.left(url)


def supervised(stage: Stage, rounds: int) -> None:
    """kill -9 of a child: its task runs in another within 100 ms. A new supervisor each round: one
    whose children die again and again waits longer and longer before it starts the next."""
    waits, left, codes = [], 0, 0
    for number in range(rounds):
        with stage.store() as url:
            wait_ms, code, still = _round(stage, url)
        waits.append(wait_ms)
        left += still
        codes += code != 0
        stage.progress(f"round {number + 1} of {rounds}")
    stage.check(
        f"{stage.broker}: a supervised child dies, its task runs elsewhere",
        # The lease of 30 s would be the alternative: no threshold on a loaded machine.
        max(waits) < 5000 and codes == 0 and left == 0,
        rounds=rounds,
        aim_ms=100,
        left=left,
        bad_exits=codes,
        **{f"{name}_ms": value for name, value in spread(waits, 1).items()},
    )
