"""The exported names: the public headers, core/abi/reeve.map and the built
libreeve.so must say the same. REEVE_BUILD_DIR names the build (default
build-dev)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from source import ROOT, files, without_comments


def declared(headers: list[str]) -> set[str]:
    """Functions declared REEVE_EXTERN in the texts of headers."""
    names: set[str] = set()
    for text in headers:
        text = without_comments(text)
        text = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", "", text, flags=re.M)
        for match in re.finditer(r"\bREEVE_EXTERN\b([^;{]*)[;{]", text):
            name = re.search(r"(\w+)\s*\(", match[1])
            names.add(name[1] if name else match[1].split()[-1])
    return names


def mapped(text: str) -> set[str]:
    """Names in a linker version script."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    names: set[str] = set()
    for body in re.findall(r"global:(.*?)(?:local:|\})", text, flags=re.S):
        names |= set(re.findall(r"[\w*?]+", body))
    return names


def nm(library: Path, *options: str) -> list[tuple[str, str]]:
    """(type, name) of each dynamic symbol."""
    out = subprocess.run(
        ["nm", "-D", *options, str(library)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    rows = [line.split() for line in out.splitlines()]
    return [(row[-2], row[-1].split("@")[0]) for row in rows if len(row) >= 2]


def exported(library: Path) -> set[str]:
    """Names the library defines, without the version's own symbol."""
    return {name for kind, name in nm(library, "--defined-only") if kind != "A"}


def missing_inside(library: Path) -> set[str]:
    """Our own names that the library uses but nobody defined."""
    return {name for _, name in nm(library, "--undefined-only") if name.startswith("reeve_")}


def compare(sets: dict[str, set[str]]) -> list[str]:
    """One line for each name that is not in every set."""
    problems = []
    for name in sorted(set().union(*sets.values())):
        absent = [where for where, names in sets.items() if name not in names]
        if absent:
            present = [where for where in sets if where not in absent]
            problems.append(f"{name}: in {' and '.join(present)}, not in {' or '.join(absent)}")
    return problems


def main() -> int:
    build = ROOT / os.environ.get("REEVE_BUILD_DIR", "build-dev")
    library = build / "libreeve.so"
    if not library.exists():
        print(f"{library} is missing; run `make build` first")
        return 1
    headers = files(ROOT / "core" / "include", ".h")
    sets = {
        "headers": declared([path.read_text() for path in headers]),
        "reeve.map": mapped((ROOT / "core" / "abi" / "reeve.map").read_text()),
        "libreeve.so": exported(library),
    }
    problems = compare(sets)
    problems += [
        f"{name}: used by libreeve.so but defined nowhere"
        for name in sorted(missing_inside(library))
    ]
    for problem in problems:
        print(problem)
    counts = ", ".join(f"{where} {len(names)}" for where, names in sets.items())
    print(f"abi: {counts}; {len(problems)} wrong")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
