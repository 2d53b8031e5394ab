"""The systems under measurement: where their drivers are, how they are built, what they can do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from referee.processes import PhaseError, versions

BENCH = Path(__file__).resolve().parents[1]
ROOT = BENCH.parents[1]
PEERS = BENCH / "peers"

#: In the order of tables and rounds. The number is a guess of tasks/s with a no-op handler, for
#: the first try of a phase.
GUESSES = {
    "reeve": 40_000,
    "reeve-c": 200_000,
    "reeve-lua": 100_000,
    "asynq": 8_000,
    "bullmq": 5_000,
    "celery": 1_000,
    "rq": 150,
    "dramatiq": 1_500,
    "arq": 1_500,
    "taskiq": 2_000,
    "huey": 3_000,
    "limit": 500_000,
}
#: Not a task queue: only the bytes.
LIMIT = "limit"


@dataclass
class System:
    """One system with its built driver."""

    name: str
    command: list[str]
    about: dict[str, Any] = field(default_factory=dict)
    why_not: str = ""  #: why it cannot be measured

    @property
    def guess(self) -> int:
        return GUESSES[self.name]

    def handlers(self) -> list[str]:
        return list(self.about.get("handlers", ()))

    def settings(self) -> list[str]:
        """Default, and best where it differs."""
        given = self.about.get("settings", {})
        same = given.get("default") == given.get("best")
        return ["best"] if same else ["default", "best"]


def run_quietly(command: list[str], folder: Path, **environment: str) -> None:
    """A build step; raises PhaseError with the end of its output."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()[-3:]
        raise PhaseError(f"{' '.join(command[:3])} failed: {' | '.join(lines)}")


def stamp_of(files: list[Path]) -> str:
    return " ".join(f"{path.name}:{path.stat().st_mtime_ns}" for path in sorted(files))


def is_made(marker: Path, stamp: str) -> bool:
    return marker.exists() and marker.read_text() == stamp


def make_python(name: str, build: Path) -> list[str]:
    """A virtual environment each: peers want versions of one client that exclude each other."""
    folder, venv = PEERS / name, build / "venvs" / name
    python, marker = venv / "bin" / "python", venv / ".made"
    listed = [folder / "requirements.txt"]
    sources = [*(ROOT / "bindings" / "python").rglob("*.[pc]*"), *(ROOT / "core").rglob("*.[chl]*")]
    own = [
        path for path in sources if path.is_file() and path.suffix in (".py", ".c", ".h", ".lua")
    ]
    stamp = stamp_of(listed + (own if name == "reeve" else []))
    if not is_made(marker, stamp):
        print(f"bench: making {venv.name}'s virtual environment", flush=True)
        if not python.exists():
            run_quietly([sys.executable, "-m", "venv", str(venv)], ROOT)
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        run_quietly([*pip, "-r", str(listed[0])], ROOT)
        if name == "reeve":
            for stale in ROOT.glob("build/lib*"):  # setuptools would pack what is no longer there
                shutil.rmtree(stale)
            run_quietly([*pip, "."], ROOT)
            run_quietly([*pip, "--force-reinstall", "--no-deps", "."], ROOT)
        marker.write_text(stamp)
    return [str(python), str(folder / "driver.py")]


def make_go(name: str, build: Path) -> list[str]:
    if shutil.which("go") is None:
        raise PhaseError("go is not installed")
    binary = build / "peers" / name / "driver"
    binary.parent.mkdir(parents=True, exist_ok=True)
    run_quietly(["go", "build", "-o", str(binary.resolve()), "."], PEERS / name)
    return [str(binary)]


def make_node(name: str, build: Path) -> list[str]:
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise PhaseError("node and npm are not installed")
    folder = build / "peers" / name
    sources = [path for path in (PEERS / name).iterdir() if path.is_file()]
    stamp = stamp_of([path for path in sources if path.name.startswith("package")])
    folder.mkdir(parents=True, exist_ok=True)
    for path in sources:
        shutil.copy2(path, folder)
    marker = folder / ".made"
    if not is_made(marker, stamp):
        print(f"bench: npm ci for {name}", flush=True)
        run_quietly(["npm", "ci", "--no-audit", "--no-fund"], folder)
        marker.write_text(stamp)
    return ["node", str(folder / "driver.js")]


def make_c(name: str, build: Path) -> list[str]:
    binary = build / "programs" / f"bench_{name}"
    if not binary.exists():
        raise PhaseError(f"{binary} is not built")
    return [str(binary)]


def make_lua(name: str, build: Path) -> list[str]:
    lua = shutil.which("lua5.4")
    if lua is None:
        raise PhaseError("lua5.4 is not installed")
    module = build / "programs" / "bench_slots.so"
    if not module.exists():
        raise PhaseError(f"{module} is not built")
    paths = [
        f"LUA_PATH={ROOT}/lua/?.lua;;",
        f"LUA_CPATH={build.resolve()}/lua/5.4/?.so;{module.parent.resolve()}/?.so;;",
    ]
    return ["env", *paths, lua, str(PEERS / name / "driver.lua")]


MAKERS = {
    "driver.py": make_python,
    "go.mod": make_go,
    "package.json": make_node,
    "driver.c": make_c,
    "driver.lua": make_lua,
}


def load(name: str, build: Path) -> System:
    """The system, built; with `why_not` when that failed."""
    system = System(name, [])
    try:
        entry = next((file for file in MAKERS if (PEERS / name / file).exists()), None)
        if entry is None:
            raise PhaseError("it has no driver")
        system.command = MAKERS[entry](name, build)
        system.about = versions(system.command)
    except (PhaseError, OSError, ValueError, subprocess.TimeoutExpired) as error:
        system.why_not = str(error)
    return system
