"""Counts what a task costs; check.py compares it with the budgets.

Nothing here is a time: instructions are callgrind's, system calls are strace's, commands and bytes
are the server's own, allocations are those of the library's allocator hook. Each function measures
one subject and gives its costs by name.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))

from support.servers import RedisServer  # noqa: E402

Costs = dict[str, float]

COUNT = 640
BATCHES = (1, 32)
IDLE_S = 20.0
#: libc's choice by processor, so that another processor counts the same.
TUNABLES = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX2,-AVX,-ERMS,-FSRM"
#: Calls that depend on when an answer comes, or on how malloc grows.
MOODY = {"poll", "ppoll", "brk", "mmap", "munmap", "mremap", "madvise", "futex"}


class CheckError(Exception):
    """Why nothing could be counted."""


def run(command: list[str], env: dict[str, str] | None = None) -> str:
    """Its output; CheckError when it failed."""
    try:
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **(env or {})}, capture_output=True, text=True
        )
    except FileNotFoundError:
        raise CheckError(f"{command[0]} is missing: tools/setup.sh count installs it") from None
    if done.returncode:
        text = (done.stderr + done.stdout).strip()[-2000:]
        raise CheckError(f"{' '.join(command)} failed: {text}")
    return done.stdout


@dataclass(frozen=True)
class Bench:
    """Where programs are and files may be."""

    build: Path
    scratch: Path

    @property
    def program(self) -> str:
        return str(self.build / "programs" / "check_cost")

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """A folder of one measurement's own."""
        with tempfile.TemporaryDirectory(dir=self.scratch) as name:
            yield Path(name)

    def plain(self, case: str, url: str, count: int, batch: int) -> dict[str, int]:
        """What the program says of itself."""
        said: dict[str, int] = json.loads(run([self.program, case, url, str(count), str(batch)]))
        return said

    def about(self) -> dict[str, object]:
        if not Path(self.program).exists():
            raise CheckError(f"{self.program} is missing: run make build first")
        said: dict[str, object] = json.loads(run([self.program, "about"]))
        if not said["plain"]:
            raise CheckError(
                f"{self.build} is built without optimisation or with a sanitizer: its counts say"
                " nothing"
            )
        return said


def machine(bench: Bench) -> dict[str, str]:
    """What instruction counts depend on."""
    about = bench.about()
    redis = re.search(r"v=(\d+\.\d+)", run(["redis-server", "--version"]))
    lua = re.search(r"(\d+\.\d+)", run(["lua5.4", "-v"]))
    libc = "".join(platform.libc_ver()[:1]) + " " + platform.libc_ver()[1]
    return {
        "processor": platform.machine(),
        "compiler": str(about["compiler"]) + (", asserts" if about["asserts"] else ""),
        "libc": libc,
        "sqlite": str(about["sqlite"]).rsplit(".", 1)[0],
        "hiredis": str(about["hiredis"]),
        "redis": redis[1] if redis else "unknown",
        "lua": lua[1] if lua else "unknown",
        "python": ".".join(platform.python_version_tuple()[:2]),
    }


# Instruments


def callgrind(
    folder: Path, command: list[str], region: str | None = None, env: dict[str, str] | None = None
) -> int:
    """Instructions of a run, or of a function in it."""
    out = folder / "callgrind.out"
    words = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={out}"]
    words += [f"--toggle-collect={region}"] if region else []
    run([*words, *command], {"GLIBC_TUNABLES": TUNABLES, **(env or {})})
    return read_totals(out)


def read_totals(path: Path) -> int:
    found = re.search(r"^totals: (\d+)", path.read_text(), re.M)
    if not found or int(found[1]) == 0:
        raise CheckError(f"callgrind has counted nothing in {path}")
    return int(found[1])


def strace(folder: Path, command: list[str]) -> tuple[int, int]:
    """(calls, bytes written to files) between the program's two marks."""
    out = folder / "strace.out"
    run(["strace", "-o", str(out), *command])
    return count_calls(out.read_text())


def count_calls(text: str) -> tuple[int, int]:
    calls = written = marks = 0
    for line in text.splitlines():
        found = re.match(r"(\w+)\(.*\) += (-?\d+)(?: (E\w+))?", line)
        if not found:
            continue
        name, value, error = found[1], int(found[2]), found[3]
        if name == "getppid":
            marks += 1
        elif marks == 1 and name not in MOODY and error != "EAGAIN":
            calls += 1
            written += value if name == "pwrite64" else 0
    if marks != 2:
        raise CheckError(f"strace saw {marks} marks of the program, not 2")
    return calls, written


def server_figures(server: RedisServer) -> Costs:
    """What a server has done since its statistics were reset."""
    stats = server.info("stats")
    calls = {
        name.removeprefix("cmdstat_"): int(value.split(",")[0].removeprefix("calls="))
        for name, value in server.info("commandstats").items()
    }
    return {
        "commands": float(sum(calls.values())),
        "scripts": float(calls.get("evalsha", 0) + calls.get("eval", 0)),
        "bytes to the server": float(stats["total_net_input_bytes"]),
        "bytes from the server": float(stats["total_net_output_bytes"]),
        "bytes stored": float(server.info("memory")["used_memory"]),
    }


def server_run(
    bench: Bench, server: RedisServer, case: str, count: int, batch: int
) -> tuple[Costs, dict[str, int]]:
    server.command("FLUSHALL")
    server.command("CONFIG", "RESETSTAT")
    said = bench.plain(case, server.url, count, batch)
    return server_figures(server), said


def server_instructions(bench: Bench, folder: Path, case: str, count: int, batch: int) -> int:
    """All that a server executes from its start to its end, around one run."""
    out = folder / f"server-{count}.out"
    server = RedisServer(folder / "server", hz="1", dynamic_hz="no")
    server.wrapper = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={out}"]
    server.start()
    try:
        bench.plain(case, server.url, count, batch)
    finally:
        server.stop()
    return read_totals(out)


# Subjects


def allocations(said: dict[str, int], count: int) -> Costs:
    return {
        "allocations": said["allocs"] / count,
        "bytes allocated": said["alloc_bytes"] / count,
        "peak bytes of all": float(said["peak_bytes"]),
    }


def pure(bench: Bench, case: str) -> Costs:
    """A function that does no I/O."""
    with bench.folder() as folder:
        command = [bench.program, case, "-", str(COUNT), "32"]
        costs = {"instructions": callgrind(folder, command, "check_region") / COUNT}
        return costs | {"allocations": bench.plain(case, "-", COUNT, 32)["allocs"] / COUNT}


def in_memory(bench: Bench, case: str, batch: int) -> Costs:
    with bench.folder() as folder:
        command = [bench.program, case, "mem://check", str(COUNT), str(batch)]
        costs = {"instructions": callgrind(folder, command, "check_region") / COUNT}
        costs["system calls"] = strace(folder, command)[0] / COUNT
        return costs | allocations(bench.plain(case, "mem://check", COUNT, batch), COUNT)


def on_sqlite(bench: Bench, case: str, batch: int) -> Costs:
    costs: Costs = {}
    with bench.folder() as folder:
        for instrument in ("callgrind", "strace", "plain"):
            url = f"sqlite://{folder}/{instrument}.db"
            command = [bench.program, case, url, str(COUNT), str(batch)]
            if instrument == "callgrind":
                costs["instructions"] = callgrind(folder, command, "check_region") / COUNT
            elif instrument == "strace":
                calls, written = strace(folder, command)
                costs["system calls"] = calls / COUNT
                costs["bytes written"] = written / COUNT
            else:
                costs |= allocations(bench.plain(case, url, COUNT, batch), COUNT)
    return costs


def on_redis(bench: Bench, case: str, batch: int) -> Costs:
    """The client's side, and what the server counts of it."""
    with bench.folder() as folder:
        server = RedisServer(folder / "server").start()
        try:
            command = [bench.program, case, server.url, str(COUNT), str(batch)]
            costs = {"instructions": callgrind(folder, command, "check_region") / COUNT}
            server.command("FLUSHALL")
            costs["system calls"] = strace(folder, command)[0] / COUNT
            low, _ = server_run(bench, server, case, COUNT, batch)
            high, said = server_run(bench, server, case, 2 * COUNT, batch)
        finally:
            server.stop()
    for name, value in high.items():
        costs[name] = (value - low[name]) / COUNT
    if case != "enqueue":
        del costs["bytes stored"]
    return costs | allocations(said, 2 * COUNT)


def in_redis(bench: Bench, case: str, batch: int) -> Costs:
    """The server's own instructions."""
    count = COUNT if batch == 1 else 3 * COUNT
    with bench.folder() as folder:
        low = server_instructions(bench, folder, case, COUNT // 5, batch)
        high = server_instructions(bench, folder, case, COUNT // 5 + count, batch)
    return {"instructions": (high - low) / count}


def idle_redis(bench: Bench) -> Costs:
    """What a worker that has nothing to do asks of the server."""
    with bench.folder() as folder:
        server = RedisServer(folder).start()
        worker = subprocess.Popen(
            [bench.program, "idle", server.url, "10", "10"], stdout=subprocess.PIPE, text=True
        )
        try:
            assert worker.stdout is not None
            if worker.stdout.readline() != "idle\n":
                raise CheckError("the idle worker did not start")
            time.sleep(1)  # what a start asks is over
            server.command("CONFIG", "RESETSTAT")
            start = time.monotonic()
            time.sleep(IDLE_S)
            span_s = time.monotonic() - start
            figures = server_figures(server)
        finally:
            worker.kill()
            worker.communicate()
            server.stop()
    return {name: figures[name] / span_s for name in ("commands", "bytes to the server")}


def growth(folder: Path, command: list[str], env: dict[str, str]) -> Costs:
    """Instructions of one task more: the start of an interpreter does not count."""
    low = callgrind(folder, [*command, str(COUNT)], env=env)
    high = callgrind(folder, [*command, str(3 * COUNT)], env=env)
    return {"instructions": (high - low) / (2 * COUNT)}


def in_lua(bench: Bench, case: str) -> Costs:
    env = {
        "LUA_PATH": f"{ROOT}/lua/?.lua;;",
        "LUA_CPATH": f"{bench.build}/lua/5.4/?.so;;",
    }
    with bench.folder() as folder:
        return growth(folder, ["lua5.4", str(HERE / "check_cost.lua"), case], env)


def in_python(bench: Bench, case: str) -> Costs:
    script = str(HERE / "check_cost_python.py")
    with bench.folder() as folder:
        return growth(folder, [sys.executable, script, case], {"PYTHONHASHSEED": "0"})


Subject = Callable[[Bench], Costs]


def subjects() -> dict[str, Subject]:
    """All, those first that take longest."""
    found: dict[str, Subject] = {"idle worker on redis, a second": idle_redis}
    for case in ("turn", "enqueue"):
        for batch in BATCHES:
            name = f"redis {case}, {batch} a call, server"
            found[name] = partial(in_redis, case=case, batch=batch)
    for case in ("run", "enqueue", "many"):
        found[f"python {case}"] = partial(in_python, case=case)
    for case in ("enqueue", "turn"):
        for batch in BATCHES:
            name = f"{case}, {batch} a call"
            found[f"redis {name}"] = partial(on_redis, case=case, batch=batch)
            found[f"sqlite {name}"] = partial(on_sqlite, case=case, batch=batch)
    for case in ("enqueue", "work"):
        for batch in BATCHES:
            found[f"mem {case}, {batch} a call"] = partial(in_memory, case=case, batch=batch)
    for case in ("enqueue", "many", "encode"):
        found[f"lua {case}"] = partial(in_lua, case=case)
    for case in ("build", "decode", "select", "settle"):
        found[f"core {case}"] = partial(pure, case=case)
    return found


def instruments() -> None:
    """CheckError when one is missing."""
    for name in ("valgrind", "strace", "redis-server", "redis-cli", "lua5.4"):
        if shutil.which(name) is None:
            raise CheckError(f"{name} is missing: tools/setup.sh count test installs it")
