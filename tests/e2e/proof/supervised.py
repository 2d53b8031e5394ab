"""`reeve worker --processes`: a child that dies gives its tasks back at once."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from proof.stage import ROOT, Program, Stage, spread


def _python() -> str:
    """The interpreter that has reeve: the project's own environment, else this one."""
    own = ROOT / ".venv" / "bin" / "python"
    return str(own) if own.exists() else sys.executable


def supervised(stage: Stage, rounds: int) -> None:
    """kill -9 of a child: its task runs in another within 100 ms."""
    with stage.store() as url:
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
        waits = []
        for number in range(rounds):
            stage.produce(url=url, label=f"h{number}", type="hold", payload="{}")
            stage.wait_runs(journal, 2 * number + 1)
            victim = int(stage.journal(journal).starts[-1].worker)
            killed_ns = time.monotonic_ns()
            os.kill(victim, signal.SIGKILL)
            stage.wait_runs(journal, 2 * number + 2)
            again = stage.journal(journal).starts[-1]
            waits.append((again.mono_ns - killed_ns) / 1e6)
            stage.progress(f"round {number + 1} of {rounds}")
        supervisor.send(signal.SIGTERM)
        code = supervisor.wait()
        left = stage.left(url)
    stage.check(
        f"{stage.broker}: a supervised child dies, its task runs elsewhere",
        # The lease of 30 s would be the alternative: no threshold on a loaded machine.
        max(waits) < 5000 and code == 0 and left == 0,
        rounds=rounds,
        aim_ms=100,
        left=left,
        exit=code,
        **{f"{name}_ms": value for name, value in spread(waits, 1).items()},
    )
