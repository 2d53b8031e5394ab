"""Makes the page and the pictures of what `make bench` recorded: `make bench-report`, or

    python tests/bench/report.py [--json FILE]… [--out DIR] [--reasons FILE] [--check]

Reads docs/benchmarks.json (and docs/benchmarks-scale.json, if it is there) and writes
docs/benchmarks.md and docs/benchmarks/*.svg. With --check it writes nothing and exits 1 when they
are not what it would write. Needs nothing but Python.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from reporting import aims, tables
from reporting.charts import Chart, all_charts
from reporting.data import Data, DataError, load

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent.parent / "docs"
MAIN, SCALE = DOCS / "benchmarks.json", DOCS / "benchmarks-scale.json"

INTRO = """\
<!-- written by tests/bench/report.py: do not edit -->
# Benchmarks

reeve and its peers on one machine: the same Redis, the same tasks with a JSON payload of 200
bytes, the same no-op handler that counts. One harness starts every system through the same small
driver and looks at it from outside: processes' CPU from the kernel, Redis's CPU and memory from
`INFO`, counts and times from memory and files that the handlers write. Systems are interleaved
round by round; figures are medians, with least and most in brackets; ratios are of the same round.
Each system runs at its defaults and at the best settings that its documentation names, and the
charts show the best ones.

`make bench` measures, `make bench BENCH=--record` keeps the records, `make bench-report` writes
this page. Absolute figures are this machine's: judge by ratios and by CPU a task."""


def machine(head: dict[str, Any]) -> list[str]:
    found = head.get("machine", {})
    memory = found.get("memory_bytes", 0) / 2**30
    rows = {
        "date": head.get("date", ""),
        "machine": f"{found.get('cores', '?')} cores, {found.get('cpu', '?')}, {memory:.0f} GiB, "
        f"Linux {found.get('kernel', '?')}",
        "Redis": f"{head.get('redis', '?')}, one instance on loopback, without persistence "
        "unless a table says everysec",
        "runs": f"{head.get('runs', '?')} rounds in {head.get('seconds', 0) / 60:.0f} minutes, "
        f"profile {head.get('profile', '?')}",
        "command": f"`{head.get('command', '?')}`",
    }
    return ["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows.items())]


def page(data: Data, results: list[aims.Outcome], reasons: dict[str, str], charts: list[Chart],
         folder: str) -> str:  # fmt: skip
    lines = [INTRO, "", *machine(data.head), "", "## Aims", ""]
    lines += [*aims.table(results, reasons), "", "## Charts", ""]
    for chart in charts:
        lines += [f"![{chart.title}: {chart.text}]({folder}/{chart.name}.svg)", ""]
    lines += ["## Systems and settings", "", *tables.systems(data), ""]
    lines += ["## All figures", "", *tables.all_rows(data)]
    lines += ["## Not measured", "", *tables.skipped(data), ""]
    return "\n".join(lines)


def make(paths: list[Path], reasons_path: Path, out: Path) -> tuple[dict[Path, str], list[str]]:
    """Every file with its text, and the aims that still need a reason."""
    data = load(paths)
    reasons = aims.read_reasons(reasons_path)
    results = [aims.outcome(aim, data) for aim in aims.AIMS]
    charts = all_charts(data)
    files = {out / "benchmarks" / f"{chart.name}.svg": chart.svg for chart in charts}
    files[out / "benchmarks.md"] = page(data, results, reasons, charts, "benchmarks")
    return files, aims.unexplained(results, reasons)


def strays(files: dict[Path, str], out: Path) -> list[Path]:
    """Pictures of an earlier call that this one does not make."""
    return sorted(path for path in (out / "benchmarks").glob("*.svg") if path not in files)


def write(files: dict[Path, str], out: Path) -> None:
    (out / "benchmarks").mkdir(parents=True, exist_ok=True)
    for path in strays(files, out):
        path.unlink()
    for path, text in files.items():
        path.write_text(text)


def check(files: dict[Path, str], out: Path) -> int:
    stale = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    for path in [*stale, *strays(files, out)]:
        print(f"{path.name}: not what tests/bench/report.py writes: run `make bench-report`")
    return 1 if stale or strays(files, out) else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="append", type=Path, help="records; the main ones first")
    parser.add_argument("--out", type=Path, default=DOCS, help="default: docs")
    parser.add_argument("--reasons", type=Path, default=HERE / "reasons.toml")
    parser.add_argument("--check", action="store_true", help="write nothing, say what is stale")
    options = parser.parse_args()
    paths = options.json or [MAIN, *([SCALE] if SCALE.exists() else [])]
    try:
        files, unexplained = make(paths, options.reasons, options.out)
    except DataError as error:
        print(f"report: {error}", file=sys.stderr)
        return 1
    if options.check:
        return check(files, options.out)
    write(files, options.out)
    print(f"report: {options.out / 'benchmarks.md'} and {len(files) - 1} pictures")
    if unexplained:
        print(f"report: not met and without a reason: {', '.join(unexplained)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
