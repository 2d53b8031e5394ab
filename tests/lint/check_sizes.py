"""Sizes of functions and files: figures for each part, a list of the long
ones, and exit 1 when something is past the hard bound."""

from __future__ import annotations

import sys
from pathlib import Path

from source import (
    ROOT,
    Function,
    c_functions,
    code_only,
    files,
    py_functions,
    relative,
)

LONG_FUNCTION, MAX_FUNCTION = 80, 120
LONG_FILE, MAX_FILE = 500, 800
PARTS = ("core", "bindings", "tests", "tools", "docs/examples")


def percentile(values: list[int], percent: int) -> int:
    """Nearest-rank percentile; 0 of nothing."""
    if not values:
        return 0
    rank = -(-percent * len(values) // 100)
    return sorted(values)[max(rank, 1) - 1]


def figures(kind: str, values: list[int]) -> str:
    """One line of a table."""
    return (
        f"{kind:<28}{len(values):>6}{percentile(values, 50):>6}"
        f"{percentile(values, 90):>6}{max(values, default=0):>6}"
    )


def functions_of(path: Path, text: str) -> list[Function]:
    return py_functions(path, text) if path.suffix == ".py" else c_functions(path, text)


def judge(functions: list[Function], sizes: dict[Path, int]) -> tuple[list[str], list[str]]:
    """(too long, long) as lines to print."""
    bad: list[str] = []
    long: list[str] = []
    for f in functions:
        line = f"{relative(f.path)}:{f.line}: {f.name} has {f.lines} lines"
        if f.lines > MAX_FUNCTION:
            bad.append(f"{line}, the bound is {MAX_FUNCTION}")
        elif f.lines > LONG_FUNCTION:
            long.append(line)
    for path, size in sizes.items():
        line = f"{relative(path)}: file has {size} lines"
        if size > MAX_FILE:
            bad.append(f"{line}, the bound is {MAX_FILE}")
        elif size > LONG_FILE:
            long.append(line)
    return bad, long


def code_lines(folder: Path) -> int:
    """Lines of C with code on them, headers included."""
    return sum(
        1
        for path in files(folder, ".c", ".h")
        for line in code_only(path.read_text()).split("\n")
        if line.strip()
    )


def glue_line() -> str:
    """How large the Python glue is against the core."""
    glue = code_lines(ROOT / "bindings" / "python" / "src")
    core = code_lines(ROOT / "core" / "src")
    share = 100 * glue / core if core else 0.0
    return f"python glue {glue} code lines, core {core}: {share:.0f} %"


def main() -> int:
    functions: list[Function] = []
    sizes: dict[Path, int] = {}
    print(f"{'':<28}{'count':>6}{'p50':>6}{'p90':>6}{'max':>6}")
    for part in PARTS:
        for language, suffixes in (("C", (".c", ".h")), ("Python", (".py",))):
            paths = files(ROOT / part, *suffixes)
            if not paths:
                continue
            texts = {path: path.read_text() for path in paths}
            found = [f for p, text in texts.items() for f in functions_of(p, text)]
            lines = {p: text.count("\n") for p, text in texts.items()}
            print(figures(f"{part} {language} functions", [f.lines for f in found]))
            print(figures(f"{part} {language} files", list(lines.values())))
            functions += found
            sizes |= lines
    bad, long = judge(functions, sizes)
    for line in long:
        print(f"long: {line}")
    for line in bad:
        print(line)
    print(glue_line())
    print(f"sizes: {len(long)} long, {len(bad)} past the bound")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
