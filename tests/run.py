"""Runs the test suites, shows progress, prints a table, and as its last line
`N passed, N failed`. Exit 1 when anything failed.

    python3 tests/run.py [--suite c,python,lua,lint,bench-check,fuzz] [--build DIR]
                         [--wrapper "valgrind -q"] [--seconds N | --runs N]
                         [NAME…]

NAME… keeps only C tests, Lua specs, fuzz targets and checks whose name contains
one of them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINT = ROOT / "tests" / "lint"
C_TIMEOUT_S = 300
LUA_TIMEOUT_S = 600
PYTEST_TIMEOUT_S = 3600
FUZZ_TIMEOUT_S = 7200
# Debian's busted runs under whatever `lua` is, so they are named.
LUAS = ("lua5.4", "luajit")
SHOW_BUSTED = ROOT / "tests" / "lua" / "support" / "report.lua"
# Runs a spec inside nginx, in each of these phases.
NGINX_BUSTED = ROOT / "tests" / "support" / "busted_nginx.py"
NGINX_PHASES = ("request", "timer")
SOURCE_FOLDERS = ("core", "bindings", "tests", "docs/examples")


@dataclass
class Tally:
    """What one suite has counted."""

    name: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    broken: list[str] = field(default_factory=list)

    def add(self, what: str, passed: int, failed: int, skipped: int = 0) -> None:
        self.passed += passed
        self.failed += failed
        self.skipped += skipped
        if failed:
            self.broken.append(what)


@dataclass(frozen=True)
class Plan:
    """The command line."""

    build: Path
    wrapper: list[str]
    seconds: int
    runs: int
    names: list[str]

    def wants(self, name: str) -> bool:
        return not self.names or any(part in name for part in self.names)


@dataclass(frozen=True)
class Outcome:
    """How one command ended; code is None when it ran out of time."""

    code: int | None
    output: str
    seconds: float

    @property
    def verdict(self) -> str:
        if self.code is None:
            return "timed out"
        return f"signal {-self.code}" if self.code < 0 else f"exit {self.code}"


def run(command: list[str], timeout_s: float, env: dict[str, str] | None = None) -> Outcome:
    """Runs a command in the root folder, output and errors merged."""
    start = time.monotonic()
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
        )
        code, raw = done.returncode, done.stdout
    except subprocess.TimeoutExpired as expired:
        code, raw = None, expired.stdout or b""
    except FileNotFoundError as missing:
        code, raw = 127, str(missing).encode()
    text = raw.decode("utf-8", "replace")
    return Outcome(code, text, time.monotonic() - start)


def show(tally: Tally, name: str, counts: tuple[int, int, int], out: Outcome) -> None:
    """One line of progress, and all output of what failed."""
    passed, failed, skipped = counts
    tally.add(name, passed, failed, skipped)
    words = f"{passed} passed"
    words += f", {failed} failed" if failed else ""
    words += f", {skipped} skipped" if skipped else ""
    mark = "FAIL" if failed else "ok"
    print(f"  {mark:<5}{name:<34}{words:<28}{out.seconds:7.1f} s", flush=True)
    if failed:
        print(f"{out.output.rstrip()}\n  ({name}: {out.verdict})", flush=True)


def count_cmocka(output: str, code: int | None) -> tuple[int, int, int]:
    """(passed, failed, skipped) from cmocka's text. A crash, a time-out and a
    failing fixture are one failure more than the tests that say so."""

    def single(word: str) -> int:
        return len(re.findall(rf"^\[ +{word} +\] (?!\d+ test)", output, re.M))

    def total(word: str) -> int:
        found = re.findall(rf"^\[ +{word} +\] (\d+) test\(s\)", output, re.M)
        return sum(int(number) for number in found)

    passed, skipped = single("OK"), total("SKIPPED")
    # The summary lists the failed once more, so it is counted by its total.
    failed = total("FAILED")
    if not re.search(r"^\[ +PASSED +\] ", output, re.M):
        failed = single("FAILED") + 1
    elif failed == 0 and (code != 0 or passed + skipped == 0):
        failed = 1
    return passed, failed, skipped


def c_suite(tally: Tally, plan: Plan) -> None:
    """Every test that ctest knows, run directly so that its own tests are
    counted."""
    listed = run(["ctest", "--test-dir", str(plan.build), "--show-only=json-v1"], 60)
    try:
        tests = json.loads(listed.output)["tests"]
    except (json.JSONDecodeError, KeyError):
        show(tally, f"ctest in {plan.build}", (0, 1, 0), listed)
        return
    env = {"CMOCKA_MESSAGE_OUTPUT": "stdout", "REEVE_TESTS_DIR": str(ROOT / "tests")}
    timeout_s = C_TIMEOUT_S * (10 if plan.wrapper else 1)
    for test in tests:
        if plan.wants(test["name"]):
            command = test.get("command")
            if command is None:  # ctest found no executable
                show(tally, test["name"], (0, 1, 0), Outcome(127, "not built", 0.0))
                continue
            out = run([*plan.wrapper, *command], timeout_s, env)
            show(tally, test["name"], count_cmocka(out.output, out.code), out)


def count_junit(path: Path, code: int | None) -> tuple[int, int, int]:
    """(passed, failed, skipped) from pytest's XML."""
    total = failed = skipped = 0
    if path.exists() and path.stat().st_size:
        for suite in ElementTree.parse(path).getroot().iter("testsuite"):
            total += int(suite.get("tests", 0))
            failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            skipped += int(suite.get("skipped", 0))
    if failed == 0 and code != 0:
        failed, total = 1, total + 1
    return total - failed - skipped, failed, skipped


def python_suite(tally: Tally, plan: Plan) -> None:
    """pytest over the folders that have tests; its output is shown live."""
    folders = [ROOT / "tests" / name for name in ("python", "e2e")]
    folders = [f for f in folders if any(f.rglob("test_*.py"))]
    if not folders:
        return
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "pytest.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}"]
        command += [str(f) for f in folders]
        if plan.names:
            command += ["-k", " or ".join(plan.names)]
        start = time.monotonic()
        code: int | None
        try:
            env = {**os.environ, "REEVE_BUILD_DIR": str(plan.build)}
            done = subprocess.run(command, cwd=ROOT, env=env, timeout=PYTEST_TIMEOUT_S)
            code = done.returncode
        except subprocess.TimeoutExpired:
            code = None
        out = Outcome(code, "", time.monotonic() - start)
        show(tally, "pytest", count_junit(report, code), out)


def count_unittest(output: str, code: int | None) -> tuple[int, int, int]:
    """(passed, failed, skipped) from unittest's text."""
    ran = re.search(r"^Ran (\d+) tests?", output, re.M)
    total = int(ran[1]) if ran else 0
    found = re.findall(r"(failures|errors)=(\d+)", output)
    failed = sum(int(number) for _, number in found)
    if failed == 0 and (code != 0 or total == 0):
        return total, 1, 0
    return total - failed, failed, 0


def count_busted(path: Path, code: int | None) -> tuple[int, int, int]:
    """(passed, failed, skipped) from what report.lua wrote."""
    try:
        counts = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return 0, 1, 0
    passed, failed = int(counts["passed"]), int(counts["failed"])
    if failed == 0 and (code != 0 or passed == 0):
        failed = 1
    return passed, failed, int(counts["skipped"])


def lua_env(build: Path, interpreter: str) -> dict[str, str]:
    """Where an interpreter finds the sources and the module of its version."""
    version = "5.4" if interpreter == "lua5.4" else "5.1"
    lua, specs = ROOT / "lua", ROOT / "tests" / "lua"
    return {
        "LUA_PATH": f"{lua}/?.lua;{specs}/?.lua;;",
        "LUA_CPATH": f"{build}/lua/{version}/?.so;;",
        "REEVE_LUA": interpreter,
        "REEVE_TESTS_DIR": str(ROOT / "tests"),
    }


def show_spec(tally: Tally, name: str, command: list[str], env: dict[str, str]) -> None:
    """Runs a spec by a command in which REPORT stands for the file of counts."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "busted.json"
        words = [str(report) if word == "REPORT" else word for word in command]
        out = run(words, LUA_TIMEOUT_S, env)
        show(tally, name, count_busted(report, out.code), out)


def lua_suite(tally: Tally, plan: Plan) -> None:
    """Each spec of tests/lua under each interpreter, those of tests/lua/nginx inside nginx."""
    busted = shutil.which("busted")
    if busted is None:
        show(tally, "busted", (0, 1, 0), Outcome(127, "busted is missing", 0.0))
        return
    for interpreter in LUAS:
        env = lua_env(plan.build, interpreter)
        command = [interpreter, busted, "-o", str(SHOW_BUSTED), "-Xoutput", "REPORT"]
        for path in sorted((ROOT / "tests" / "lua").glob("*_spec.lua")):
            if plan.wants(path.stem):
                show_spec(tally, f"{interpreter} {path.stem}", [*command, str(path)], env)
    env = {"REEVE_BUILD_DIR": str(plan.build)}
    for path in sorted((ROOT / "tests" / "lua" / "nginx").glob("*_spec.lua")):
        for phase in NGINX_PHASES if plan.wants(path.stem) else ():
            command = [sys.executable, str(NGINX_BUSTED), str(path), "REPORT", "--phase", phase]
            show_spec(tally, f"nginx {phase} {path.stem}", command, env)


def c_files() -> list[str]:
    """All C of the project, for clang-format."""
    return [
        str(path) for folder in SOURCE_FOLDERS for path in sorted((ROOT / folder).rglob("*.[ch]"))
    ]


def lint_commands() -> Iterator[tuple[str, list[str]]]:
    """(name, command) of each check."""
    python = sys.executable
    for path in sorted(LINT.glob("check_*.py")):
        yield path.stem, [python, str(path)]
    formatter = str(Path(python).with_name("clang-format"))
    lua = [str(ROOT / part) for part in ("lua", "tests/lua", "bin/reeve-lua")]
    yield "luacheck", ["luacheck", "--no-color", *lua]
    yield "clang-format", [formatter, "--dry-run", "-Werror", *c_files()]
    yield "ruff check", [python, "-m", "ruff", "check", "."]
    yield "ruff format", [python, "-m", "ruff", "format", "--check", "."]
    own = [str(LINT), str(ROOT / "tests" / "run.py")]
    yield "mypy tools", [python, "-m", "mypy", "--strict", *own]
    # pyproject.toml names the package's files.
    yield "mypy reeve", [python, "-m", "mypy"]


def lint_suite(tally: Tally, plan: Plan) -> None:
    """Each check is one test; the checks' own tests are counted singly."""
    env = {"REEVE_BUILD_DIR": str(plan.build)}
    for path in sorted(LINT.glob("test_*.py")):
        if plan.wants(path.stem):
            out = run([sys.executable, str(path)], 300)
            show(tally, path.stem, count_unittest(out.output, out.code), out)
    for name, command in lint_commands():
        if plan.wants(name):
            out = run(command, 600, env)
            good = out.code == 0
            show(tally, name, (int(good), int(not good), 0), out)
            if good and name.startswith("check_"):
                print(f"         {out.output.strip().splitlines()[-1]}")


def fuzz_suite(tally: Tally, plan: Plan) -> None:
    """Each libFuzzer target for plan.runs inputs or plan.seconds, from its
    seeds; what it finds stays in the build folder."""
    targets = sorted(path for path in (plan.build / "fuzz").glob("fuzz_*"))
    for target in targets:
        if target.is_file() and plan.wants(target.name):
            found = plan.build / "corpus" / target.name
            found.mkdir(parents=True, exist_ok=True)
            folders = [str(found)]
            subject = target.name.removeprefix("fuzz_")
            seeds = ROOT / "tests" / "fuzz" / "corpus" / subject
            folders += [str(seeds)] if seeds.is_dir() else []
            command = [
                str(target),
                f"-runs={plan.runs}" if plan.runs else f"-max_total_time={plan.seconds}",
                f"-artifact_prefix={found.parent}/{target.name}-",
                "-print_final_stats=1",
                *folders,
            ]
            out = run(command, FUZZ_TIMEOUT_S if plan.runs else plan.seconds + 120)
            good = out.code == 0
            show(tally, target.name, (int(good), int(not good), 0), out)
            runs = re.search(r"number_of_executed_units: *(\d+)", out.output)
            if runs:
                print(f"         {runs[1]} inputs")
    if not targets:
        empty = Outcome(1, f"no fuzz targets in {plan.build / 'fuzz'}", 0.0)
        show(tally, "fuzz", (0, 1, 0), empty)


def show_guard(tally: Tally, out: Outcome) -> None:
    """Counts each cost as a test; tells which are too high, and the guard's note."""
    try:
        said = json.loads(out.output.splitlines()[-1])
        costs, note = said["costs"], said["note"]
    except (IndexError, KeyError, TypeError, json.JSONDecodeError):
        show(tally, "bench-check", (0, 1, 0), out)
        return
    problems = [cost["problem"] for cost in costs if cost["problem"]]
    failed = len(problems) or int(out.code != 0)
    told = Outcome(out.code, "\n".join(problems), out.seconds)
    show(tally, "bench-check", (len(costs) - len(problems), failed, 0), told)
    if note:
        print(f"         {note}")


def bench_check_suite(tally: Tally, plan: Plan) -> None:
    """The guard over counted costs, its own tests and those of the benchmark's harness."""
    env = {"REEVE_BUILD_DIR": str(plan.build)}
    bench = ROOT / "tests" / "bench"
    for name in ("test_check", "test_referee"):
        if plan.wants(name):
            out = run([sys.executable, str(bench / f"{name}.py")], 300, env)
            show(tally, name, count_unittest(out.output, out.code), out)
    if plan.wants("bench-check"):
        show_guard(tally, run([sys.executable, str(bench / "check.py"), "--json"], 900, env))


SUITES: dict[str, Callable[[Tally, Plan], None]] = {
    "c": c_suite,
    "python": python_suite,
    "lua": lua_suite,
    "lint": lint_suite,
    "bench-check": bench_check_suite,
    "fuzz": fuzz_suite,
}


def print_table(tallies: list[Tally]) -> tuple[int, int]:
    """The table of suites and the last line; gives (passed, failed)."""
    print(f"\n{'suite':<12}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>10}")
    for t in tallies:
        print(f"{t.name:<12}{t.passed:>8}{t.failed:>8}{t.skipped:>9}{t.seconds:>10.1f}")
    for t in tallies:
        for name in t.broken:
            print(f"failed: {t.name}: {name}")
    passed = sum(t.passed for t in tallies)
    failed = sum(t.failed for t in tallies)
    print(f"{passed} passed, {failed} failed", flush=True)
    return passed, failed


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the test suites.")
    parser.add_argument("--suite", default="c,python,lua,lint,bench-check")
    parser.add_argument("--build", default="build-dev", type=Path)
    parser.add_argument("--wrapper", default="", help="runs each C test")
    parser.add_argument("--seconds", default=30, type=int, help="per fuzz target")
    parser.add_argument("--runs", default=0, type=int, help="per fuzz target, instead")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    plan = Plan(
        (ROOT / args.build).resolve(),
        shlex.split(args.wrapper),
        args.seconds,
        args.runs,
        args.names,
    )
    chosen = args.suite.split(",")
    unknown = [name for name in chosen if name not in SUITES]
    if unknown:
        parser.error(f"no suite {unknown[0]}; there are {', '.join(SUITES)}")
    tallies = []
    for name in chosen:
        print(f"{name}:", flush=True)
        tally = Tally(name)
        start = time.monotonic()
        SUITES[name](tally, plan)
        tally.seconds = time.monotonic() - start
        tallies.append(tally)
    passed, failed = print_table(tallies)
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
