"""The same proofs with workers in Lua 5.4: killed, stopped politely, and their server killed."""

from __future__ import annotations

import os
import subprocess
from typing import Any

from proof import kills, outages
from proof.stage import ROOT, Program, Stage

SCRIPT = ROOT / "tests" / "lua" / "scripts" / "journal.lua"

RUNTIMES = {"address": "libasan.so", "thread": "libtsan.so"}


def _preload(sanitizer: str) -> dict[str, str]:
    """The interpreter is not instrumented, so the module's runtime has to come first."""
    for word, library in RUNTIMES.items():
        if word in sanitizer:
            command = ["gcc", f"-print-file-name={library}"]
            path = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            return {"LD_PRELOAD": path.strip()}
    return {}


def _use_lua(stage: Stage) -> None:
    """Lets the stage start Lua scripts where it would start e2e_worker."""

    def worker(env: dict[str, str] | None = None, **options: Any) -> Program:
        paths = {
            "LUA_PATH": f"{ROOT}/lua/?.lua;;",
            "LUA_CPATH": f"{stage.build}/lua/5.4/?.so;;",
            **_preload(stage.sanitizer),
        }
        fixed = ["setarch", "-R"] if stage.sanitizer else []
        command = [*fixed, "lua5.4", str(SCRIPT)]
        for name, value in options.items():
            command += ["--" + name.replace("_", "-"), str(value)]
        started = Program(command, {**os.environ, **paths, **(env or {})}, stage.path("lua.log"))
        stage.programs.append(started)
        return started

    stage.worker = worker  # type: ignore[method-assign]


def lua_kills(stage: Stage, rounds: int) -> None:
    """SIGKILL of random Lua workers at random moments."""
    _use_lua(stage)
    kills.kills(stage, rounds)


def lua_terms(stage: Stage, rounds: int) -> None:
    """SIGTERM of random Lua workers at random moments."""
    _use_lua(stage)
    kills.terms(stage, rounds)


def lua_crashes(stage: Stage, rounds: int) -> None:
    """SIGKILL of redis-server under Lua workers."""
    _use_lua(stage)
    outages.crashes(stage, rounds)
